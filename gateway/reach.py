"""Why WhatsApp cannot be reached from here: asks once, the way Chromium would, and says in one sentence what fails."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway import upstream
from gateway.proxy import Proxy
from gateway.settings import Settings

#: Seconds that all of it may take, and the look-up of a name alone.
DEADLINE, LOOK_UP = 8.0, 4.0
#: A flag by which Chromium asks loopback through a proxy, too.
LOOPBACK_TOO = "<-loopback>"
_DOWN = "nothing to do if WhatsApp is down, else "
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EPERM, errno.EACCES)


@dataclass(frozen=True, slots=True)
class Trouble:
    """`cause`: dns, refused, no_route, timeout, closed, tls, certificate; the same after `proxy_`; proxy_sign_in, proxy_refuses."""

    cause: str
    said: str  #: a clause without a full stop
    todo: str

    def __str__(self) -> str:
        return f"{self.said}: {self.todo}"


@dataclass(frozen=True, slots=True)
class Server:
    """Where WhatsApp Web is."""

    host: str
    port: int
    tls: bool

    @classmethod
    def of(cls, url: str) -> Server:
        parts = urlsplit(url)
        tls = parts.scheme != "http"
        return cls(parts.hostname or "", parts.port or (443 if tls else 80), tls)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def way(settings: Settings) -> Proxy | None:
    """The proxy through which Chromium asks for WhatsApp Web; None if it asks directly, as it does for loopback."""
    if is_loopback(Server.of(settings.whatsapp_url).host) and LOOPBACK_TOO not in settings.chromium_args:
        return None
    return settings.upstream


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def find_trouble(url: str, proxy: Proxy | None, deadline: float = DEADLINE) -> Trouble | None:
    """The first thing that fails on the way to `url`; None: it is reached. Asks for nothing there but a TLS handshake."""
    server = Server.of(url)
    try:
        async with asyncio.timeout(deadline):
            first = (server.host, server.port) if proxy is None else (proxy.host, proxy.port)
            if not await _resolves(*first):
                return proxy_trouble(proxy, "dns") if proxy else trouble(server, "dns")
            return await (_direct(server) if proxy is None else _through(server, proxy))
    except TimeoutError:
        return proxy_trouble(proxy, "timeout") if proxy else trouble(server, "timeout")


async def _resolves(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(LOOK_UP):
            await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError, TimeoutError):
        return False
    return True


async def _direct(server: Server) -> Trouble | None:
    try:
        _, writer = await asyncio.open_connection(server.host, server.port, ssl=server.tls or None)
    except OSError as error:
        return _judged(server, error)
    writer.close()
    return None


def _judged(server: Server, error: OSError) -> Trouble | None:
    """Chromium brings its own list of authorities: a machine without one can judge no certificate."""
    cause = cause_of(error)
    return None if cause == "certificate" and not _has_authorities() else trouble(server, cause)


def _has_authorities() -> bool:
    paths = ssl.get_default_verify_paths()
    return Path(paths.cafile or "/nowhere").exists() or any(Path(paths.capath or "/nowhere").glob("*"))


async def _through(server: Server, proxy: Proxy) -> Trouble | None:
    try:
        # a proxy may forbid CONNECT to a server without TLS: then its being there has to do
        plain = not server.tls and proxy.scheme in ("http", "https")
        reader, writer = await upstream.connect(proxy, None if plain else (server.host, server.port))
    except upstream.SignIn:
        return proxy_trouble(proxy, "sign_in")
    except upstream.NoWay as error:
        return refusal(server, proxy, str(error))
    except OSError as error:
        return proxy_trouble(proxy, cause_of(error))
    try:
        if plain:
            return await _plain(server, proxy, reader, writer)
        if server.tls:
            await writer.start_tls(ssl.create_default_context(), server_hostname=server.host)
    except OSError as error:
        return _judged(server, error)
    finally:
        writer.close()
    return None


async def _plain(server: Server, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Trouble | None:
    """Without TLS the proxy is asked for the page's head."""
    head = [f"HEAD http://{server}/ HTTP/1.1", f"Host: {server}", "Connection: close"]
    if proxy.authorization is not None:
        head.append(f"Proxy-Authorization: {proxy.authorization}")
    writer.write("\r\n".join([*head, "", ""]).encode())
    status = (await reader.readline()).decode("latin-1").partition(" ")[2].strip()
    if status.startswith("407"):
        return proxy_trouble(proxy, "sign_in")
    if status[:3] in ("403", "502", "503", "504"):
        return refusal(server, proxy, f"it answers {status[:100]}")
    return None


def cause_of(error: OSError) -> str:
    """The word for an error of a connection."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "certificate"
    if isinstance(error, ssl.SSLError):
        return "tls"
    if isinstance(error, socket.gaierror):
        return "dns"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return "timeout"
    return "no_route" if error.errno in _NO_ROUTE else "closed"


def trouble(server: Server, cause: str) -> Trouble:
    """The sentence for a cause on the way to the server itself."""
    said, todo = {
        "dns": (f"the name {server.host} cannot be resolved", "see to this machine's DNS (/etc/resolv.conf)"),
        "refused": (f"{server} refuses the connection", f"{_DOWN}see whether a firewall forbids it"),
        "no_route": (f"there is no route to {server}", "see to this machine's network, and whether a firewall forbids it"),
        "timeout": (f"{server} does not answer", f"{_DOWN}see whether a firewall swallows what is sent there"),
        "closed": (f"{server} closes the connection without an answer", f"{_DOWN}see whether a firewall cuts it"),
        "tls": (f"{server} is reached, but does not speak TLS", "see what stands in its place: a firewall's or a provider's page perhaps"),
        "certificate": (
            f"the certificate that {server} shows is not trusted",
            "see whether something on the way opens TLS, and whether the clock is right",
        ),
    }[cause]
    return Trouble(cause, said, todo)


def refusal(server: Server, proxy: Proxy, answer: str) -> Trouble:
    """The sentence for a proxy that answers, and does not connect."""
    said = f"the proxy {proxy} does not connect to {server} ({answer})"
    return Trouble("proxy_refuses", said, f"see whether it reaches WhatsApp, and have it allow {server.host}")


def proxy_trouble(proxy: Proxy, cause: str) -> Trouble:
    """The sentence for a cause on the way to the proxy."""
    sign_in = (
        (f"the proxy {proxy} does not accept the name and password of GATEWAY_PROXY (407)", "correct them")
        if proxy.user is not None
        else (f"the proxy {proxy} asks for a name and a password (407)", "set GATEWAY_PROXY=http://NAME:PASSWORD@HOST:PORT")
    )
    correct = "see whether it runs, or correct GATEWAY_PROXY"
    said, todo = {
        "sign_in": sign_in,
        "dns": (f"the name of the proxy {proxy} cannot be resolved", "correct GATEWAY_PROXY, or see to this machine's DNS"),
        "refused": (f"the proxy {proxy} refuses the connection", correct),
        "no_route": (f"there is no route to the proxy {proxy}", correct),
        "timeout": (f"nothing is answered through the proxy {proxy}", correct),
        "closed": (f"the proxy {proxy} closes the connection without an answer", correct),
        "tls": (f"the proxy {proxy} does not speak TLS", "write http:// in GATEWAY_PROXY if it is a plain one"),
        "certificate": (f"the certificate of the proxy {proxy} is not trusted", "install its authority on this machine"),
    }[cause]
    return Trouble(f"proxy_{cause}", said, todo)
