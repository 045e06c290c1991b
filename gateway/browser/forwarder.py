"""Chromium's way to the proxy that GATEWAY_PROXY names: a process on loopback that signs in there, and forwards to allowed hosts only.

Chromium takes no name and password for a proxy by any flag, and signs in over DevTools only what a page asks for while a host is
attached (docs/decisions/0010). The launcher forks this process just before it becomes Chromium; it ends with Chromium. If it
ends alone, the host sees it and the watchdog relaunches Chromium.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import structlog

from gateway import upstream
from gateway.browser.hosts import is_below
from gateway.proxy import Proxy

#: Seconds for Chromium's request to arrive, and for the proxy to answer it: an HTTP server may take its time.
HEAD, ANSWER = 30.0, 300.0
#: Connections at once; Chromium opens 32 to one proxy at most.
CONNECTIONS = 256
#: Bytes that are read at once, and of the head of a request or an answer at most.
CHUNK = 1 << 16
#: Hosts that are named in the log when they are refused, once each.
NAMED = 100
#: Headers that hold for one hop alone.
_HOP = (b"proxy-authorization:", b"proxy-connection:", b"connection:", b"keep-alive:")
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Started:
    """A forwarder that runs."""

    pid: int
    port: int


def start(proxy: Proxy, domains: tuple[str, ...]) -> Started:
    """Fork the process. It listens when this returns, is in the caller's process group, and dies with the caller. Raises OSError."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    port, parent = listener.getsockname()[1], os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(listener, parent, proxy, domains)
    listener.close()
    return Started(pid, port)


def _become(listener: socket.socket, parent: int, proxy: Proxy, domains: tuple[str, ...]) -> NoReturn:
    status = 1
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        libc.prctl(_PR_SET_NAME, b"gateway-proxy")
        if os.getppid() == parent:
            fd = listener.detach()
            os.dup2(fd, 3)  # the lock of the launcher's name, among others, must not live on here
            os.closerange(4, os.sysconf("SC_OPEN_MAX"))
            asyncio.run(Forwarder(proxy, domains).serve(socket.socket(fileno=3)))
            status = 0
    except BaseException:
        log.exception("The forwarder to the proxy failed")
    finally:
        os._exit(status)


class Forwarder:
    """Serves Chromium's requests; `domains` as hosts.allowed_domains() gives them."""

    def __init__(self, proxy: Proxy, domains: tuple[str, ...]) -> None:
        self._proxy, self._domains = proxy, domains
        self._open = 0
        self._refused: set[str] = set()

    async def serve(self, listener: socket.socket) -> None:
        """For ever."""
        server = await asyncio.start_server(self._connected, sock=listener, limit=CHUNK)
        async with server:
            await server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= CONNECTIONS and is_ours(writer.get_extra_info("peername"), writer.get_extra_info("sockname")):
                await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, upstream.NoWay):
            pass  # Chromium sees the end of its connection, and the host asks why (reach.py)
        finally:
            self._open -= 1
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD):
            request = Request.read(await reader.readuntil(b"\r\n\r\n"))
        if not is_below(request.host, self._domains):
            self._say(request.host)
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return
        far_reader, far_writer = await upstream.connect(self._proxy, None if self._speaks_http else (request.host, request.port))
        sending = None
        try:
            if self._speaks_http:
                far_writer.write(request.for_proxy(self._proxy.authorization))
                sending = None if request.tunnel else asyncio.ensure_future(copy(reader, far_writer))
                if not await self._answered(far_reader, writer, request.tunnel):
                    return
            elif request.tunnel:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                far_writer.write(request.for_server())
            sending = sending or asyncio.ensure_future(copy(reader, far_writer))
            receiving = asyncio.ensure_future(copy(far_reader, writer))
            await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
            receiving.cancel()
        finally:
            if sending is not None:
                sending.cancel()
            far_writer.close()

    @property
    def _speaks_http(self) -> bool:
        return self._proxy.scheme in ("http", "https")

    async def _answered(self, far: asyncio.StreamReader, writer: asyncio.StreamWriter, tunnel: bool) -> bool:
        """Pass on how the proxy answered; whether there is more to come.

        Nothing of a 407 is passed on: Chromium would ask a person who is not there.
        """
        async with asyncio.timeout(ANSWER):
            head = await far.readuntil(b"\r\n\r\n")
        status = head.split(None, 2)[1]
        if status == b"407" or (tunnel and not status.startswith(b"2")):
            if tunnel:
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await writer.drain()
            return False
        writer.write(head)
        return True

    def _say(self, host: str) -> None:
        if host not in self._refused and len(self._refused) < NAMED and not host.endswith(".invalid"):
            self._refused.add(host)
            log.info("A request to a host that is none of WhatsApp's was refused: GATEWAY_CHROMIUM_HOSTS allows further ones", host=host)


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request as Chromium sends it to a proxy."""

    method: bytes
    target: bytes
    version: bytes
    headers: tuple[bytes, ...]
    host: str
    port: int

    @classmethod
    def read(cls, head: bytes) -> Request:
        """Raises ValueError for what is no request to a proxy."""
        lines = head[:-4].split(b"\r\n")
        method, target, version = lines[0].split(b" ")
        parts = urlsplit(f"//{target.decode('ascii')}" if method == b"CONNECT" else target.decode("ascii"))
        if parts.hostname is None or (method != b"CONNECT" and parts.scheme != "http"):
            raise ValueError("no request to a proxy")
        headers = tuple(line for line in lines[1:] if not line.lower().startswith(_HOP))
        return cls(method, target, version, headers, parts.hostname, parts.port or 80)

    @property
    def tunnel(self) -> bool:
        return self.method == b"CONNECT"

    def for_proxy(self, authorization: str | None) -> bytes:
        """The head for a proxy that speaks HTTP. One request to a connection, so that each carries the credentials."""
        own = [] if self.tunnel else [b"Connection: close"]
        if authorization is not None:
            own.append(b"Proxy-Authorization: " + authorization.encode())
        return self._head(self.target, own)

    def for_server(self) -> bytes:
        """The head for the server itself, behind a SOCKS proxy."""
        parts = urlsplit(self.target.decode("ascii"))
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return self._head(path.encode(), [b"Connection: close"])

    def _head(self, target: bytes, own: list[bytes]) -> bytes:
        return b"\r\n".join([b" ".join((self.method, target, self.version)), *self.headers, *own, b"", b""])


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until either end closes."""
    with contextlib.suppress(OSError, ssl.SSLError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()


def is_ours(peer: tuple[str, int], own: tuple[str, int]) -> bool:
    """Whether a connection on loopback comes from a process of this user: others must not use the proxy under our name."""
    try:
        table = Path("/proc/net/tcp").read_text()
    except OSError:
        return False
    return owner_of(table, peer[1], own[1]) == os.getuid()


def owner_of(table: str, port: int, other: int) -> int | None:
    """Uid of the socket on 127.0.0.1:`port` that is connected to 127.0.0.1:`other`; `table` as /proc/net/tcp gives it."""
    ours = f" 0100007F:{port:04X} 0100007F:{other:04X} "
    for line in table.splitlines():
        if ours in line:
            return int(line.split()[7])
    return None


