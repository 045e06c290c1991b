"""A small real HTTP proxy: CONNECT and plain requests, Basic sign-in, and a log of all that it was asked."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Asked:
    """One request that came."""

    method: str
    host: str
    port: int
    signed_in: bool


class Proxy:
    """`async with Proxy("user", "p@ss")`: on loopback. Every host and port leads to `sandbox`, where it is given."""

    def __init__(self, user: str | None = None, password: str = "", sandbox: tuple[str, int] | None = None) -> None:
        self.asked: list[Asked] = []
        self.port = 0
        self._sandbox = sandbox
        self.expected: str | None = None
        if user is not None:
            self.expect(user, password)

    def expect(self, user: str, password: str) -> None:
        self.expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    async def __aenter__(self) -> Proxy:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """On the port of the first start, also after stop()."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Also ends what runs through it."""
        self._server.close()
        for task in list(self._tasks):
            task.cancel()

    _tasks: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def hosts(self) -> dict[str, int]:
        """How often each host was asked for."""
        return {host: sum(one.host == host for one in self.asked) for host in {one.host for one in self.asked}}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):  # cancelled by stop()
                await self._answer(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, version = lines[0].split(" ")
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        given = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("proxy-authorization:")]
        signed_in = self.expected is None or given == [self.expected]
        self.asked.append(Asked(method, parts.hostname or "", parts.port or 80, signed_in))
        if not signed_in:
            writer.write(b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="p"\r\nContent-Length: 0\r\n\r\n')
            await writer.drain()
            return
        far_reader, far_writer = await asyncio.open_connection(*(self._sandbox or (parts.hostname, parts.port or 80)))
        try:
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                kept = [line for line in lines[1:-2] if not line.lower().startswith("proxy-")]
                far_writer.write("\r\n".join([f"{method} {path} {version}", *kept, "", ""]).encode("latin-1"))
            both = [asyncio.ensure_future(_copy(reader, far_writer)), asyncio.ensure_future(_copy(far_reader, writer))]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in both:
                    one.cancel()
        finally:
            far_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
