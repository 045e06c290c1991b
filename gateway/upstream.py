"""Connections to and through a proxy, with a deadline each."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import struct

from gateway.proxy import Proxy

#: Seconds for the connection to a proxy, and for each of its answers before the first byte of the far end.
DEADLINE = 15.0
_SOCKS5_REPLIES = {
    1: "general failure", 2: "its rules forbid it", 3: "network unreachable", 4: "host unreachable", 5: "connection refused",
    6: "TTL expired", 7: "command not supported", 8: "address type not supported",
}  # fmt: skip


class NoWay(Exception):
    """The proxy answers, and does not connect; the text says what it answers."""


class SignIn(NoWay):
    """The proxy asks for a name and a password, or takes no others."""


async def connect(
    proxy: Proxy, target: tuple[str, int] | None = None, deadline: float = DEADLINE
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the proxy; with `target`, one through it. Raises OSError (ssl.SSLError among them), TimeoutError, NoWay."""
    async with asyncio.timeout(deadline):
        tls = ssl.create_default_context() if proxy.scheme == "https" else None
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port, ssl=tls, limit=1 << 16)
        try:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if target is not None:
                await _TUNNELS[proxy.scheme](reader, writer, proxy, *target)
        except BaseException:
            writer.close()
            raise
    return reader, writer


async def _http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, proxy: Proxy, host: str, port: int) -> None:
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    writer.write("\r\n".join([*lines, "", ""]).encode())
    try:
        status = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0].decode("latin-1").partition(" ")[2]
    except asyncio.IncompleteReadError:
        raise NoWay("it closes the connection without an answer") from None
    except asyncio.LimitOverrunError:
        raise NoWay("it does not answer as an HTTP proxy") from None
    if status.startswith("407"):
        raise SignIn(status)
    if not status.startswith("2"):
        raise NoWay(f"it answers {status[:100] or 'no HTTP'}")


async def _socks5(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, proxy: Proxy, host: str, port: int) -> None:
    """RFC 1928, without authentication; the proxy resolves the name."""
    name = host.encode("idna")
    try:
        writer.write(b"\x05\x01\x00")
        version, method = await reader.readexactly(2)
        if version != 5:
            raise NoWay("it does not answer as a SOCKS5 proxy")
        if method != 0:
            raise SignIn("it asks for a name and a password")
        writer.write(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + struct.pack(">H", port))
        _, reply, _, kind = await reader.readexactly(4)
        if reply != 0:
            raise NoWay(f"it answers {_SOCKS5_REPLIES.get(reply, f'reply {reply}')}")
        await reader.readexactly({1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0])
        await reader.readexactly(2)
    except asyncio.IncompleteReadError:
        raise NoWay("it closes the connection without an answer") from None


async def _socks4(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, proxy: Proxy, host: str, port: int) -> None:
    """SOCKS4, and 4a for a name: the proxy resolves it."""
    try:
        address, name = ipaddress.IPv4Address(host).packed, b""
    except ValueError:
        address, name = b"\x00\x00\x00\x01", host.encode("idna") + b"\x00"
    writer.write(b"\x04\x01" + struct.pack(">H", port) + address + b"\x00" + name)
    try:
        reply = (await reader.readexactly(8))[1]
    except asyncio.IncompleteReadError:
        raise NoWay("it closes the connection without an answer") from None
    if reply in (92, 93):
        raise SignIn("it asks for a user that it can identify")
    if reply != 90:
        raise NoWay(f"it answers reply {reply}")


_TUNNELS = {"http": _http, "https": _http, "socks5": _socks5, "socks4": _socks4}
