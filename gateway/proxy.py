"""The proxy that GATEWAY_PROXY names. Pure; its password appears in no text that this module makes."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

#: Schemes as Chromium's --proxy-server knows them, what they mean, and the port that each stands for.
SCHEMES = {
    "http": ("http", 80), "https": ("https", 443), "socks": ("socks5", 1080), "socks5": ("socks5", 1080), "socks5h": ("socks5", 1080),
    "socks4": ("socks4", 1080), "socks4a": ("socks4", 1080),
}  # fmt: skip
_SHAPE = "write http://HOST:PORT, http://NAME:PASSWORD@HOST:PORT, https://… or socks5://HOST:PORT"


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy. `str()` leaves name and password out."""

    scheme: str  #: http, https, socks5 or socks4
    host: str
    port: int
    user: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def authorization(self) -> str | None:
        """Value of the header Proxy-Authorization (Basic, RFC 7617); None without a name."""
        if self.user is None:
            return None
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")


def parse(text: str) -> Proxy:
    """The proxy that `text` names. Raises ValueError with a sentence that holds nothing of `text` but its scheme."""
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = "http", text.strip()
    if scheme.lower() not in SCHEMES:
        raise ValueError(f"the scheme before :// is none of {', '.join(SCHEMES)}: {_SHAPE}")
    kind, default_port = SCHEMES[scheme.lower()]
    sign_in, at, address = rest.rpartition("@")
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?/?", address)
    if match is None or not 0 < int(match[2] or default_port) < 65536:
        raise ValueError(f"this names no single proxy: {_SHAPE}; in a name or a password write @ as %40, : as %3A, / as %2F and % as %25")
    user, _, password = sign_in.partition(":")
    if at and kind.startswith("socks"):
        raise ValueError(
            "a SOCKS proxy with a name and a password is not supported (Chromium cannot sign in to one): use an HTTP proxy,"
            " or let this machine use the SOCKS proxy without"
        )
    if ":" in unquote(user):
        raise ValueError("the name of a proxy's user may hold no colon (RFC 7617): choose another user")
    return Proxy(kind, match[1].strip("[]"), int(match[2] or default_port), unquote(user) if at else None, unquote(password))
