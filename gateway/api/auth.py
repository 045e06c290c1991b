"""The rule on keys (INTERFACES): who may ask what. Pure but for reading the request's head.

With a key set, everything but the two probes asks for it. Without one the gateway serves this
machine alone, and turns away what a web page or a proxy could bring in from elsewhere.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from aiohttp.http import HttpVersion, HttpVersion11
from multidict import CIMultiDictProxy

from gateway.api.errors import Problem
from gateway.api.root_path import without
from gateway.listening import split_address
from gateway.settings import Settings

#: They tell nothing but their status, so an orchestrator needs no key.
PROBES = frozenset({"/healthz", "/readyz"})
#: A browser cannot put a header on the page it opens, so these also take the key as a Basic password.
DOCS = ("/api/docs", "/api/openapi.json")
#: Headers that only a proxy adds: without a key we must not be reachable through one.
PROXY_HEADERS = frozenset({b"forwarded", b"x-real-ip", b"via"})


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys there are, as bytes."""

    api: bytes | None
    metrics: bytes | None

    @classmethod
    def of(cls, settings: Settings) -> Keys:
        api = settings.key
        metrics = settings.metrics_key.get_secret_value() if settings.metrics_key else None
        return cls(api.encode() if api else None, metrics.encode() if metrics else None)


class Head(Protocol):
    """What the rule looks at: of a request of aiohttp's, or of its head alone."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def version(self) -> HttpVersion: ...
    @property
    def headers(self) -> CIMultiDictProxy[str]: ...
    @property
    def raw_headers(self) -> tuple[tuple[bytes, bytes], ...]: ...


def admit(request: Head, keys: Keys, root: str = "") -> None:
    """Let the request through, or raise the Problem that answers it. `root` is GATEWAY_ROOT_PATH."""
    path = without(root, request.path)
    if path in PROBES and request.method in ("GET", "HEAD"):
        return
    if keys.api is None:
        _only_this_machine(request)
    else:
        _with_key(request, path, keys.api, keys.metrics)


def _with_key(request: Head, path: str, api: bytes, metrics: bytes | None) -> None:
    given = _given(request, path)
    if given is None:
        raise Problem(401, "key_missing", "a key is needed: send it as `Authorization: Bearer <key>` or `X-Api-Key: <key>`")
    if hmac.compare_digest(given, api):
        return
    if metrics is not None and hmac.compare_digest(given, metrics):
        if path == "/metrics":
            return
        raise Problem(403, "key_lacks_scope", "this key opens /metrics only: use the API key")
    raise Problem(401, "key_unknown", "this key is not the gateway's: compare it with GATEWAY_API_KEY")


def _given(request: Head, path: str) -> bytes | None:
    """The key that the request brings, however it brings it."""
    named = request.headers.get("X-Api-Key")
    if named is not None:
        return named.encode("utf-8", "surrogateescape")
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip().encode("utf-8", "surrogateescape")
    if scheme.lower() == "basic" and request.method in ("GET", "HEAD") and path.startswith(DOCS):
        try:
            return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            return None
    return None


def challenge(request: Head, root: str = "") -> str:
    """WWW-Authenticate for a 401: the docs, opened by a person, let the browser ask for the key."""
    if request.method == "GET" and without(root, request.path).startswith(DOCS):
        return 'Basic realm="WhatsApp gateway: any name, the API key as password", charset="UTF-8"'
    return 'Bearer realm="WhatsApp gateway"'


def _only_this_machine(request: Head) -> None:
    headers = request.headers
    if request.version < HttpVersion11:
        raise _turned_away("http_1_0", "HTTP/1.0 is how proxies speak, and no key is set")
    if not loopback(headers.get("Host", "")):
        raise _turned_away("host_not_loopback", "the Host header names no loopback address, and no key is set")
    origin = headers.get("Origin")
    if origin is not None and origin.lower() != f"http://{headers['Host']}".lower():
        raise _turned_away("origin_foreign", "the request comes from a web page of another origin, and no key is set")
    if headers.get("Sec-Fetch-Site") == "cross-site" and headers.get("Sec-Fetch-Mode") != "navigate":
        raise _turned_away("origin_foreign", "the request comes from a web page of another site, and no key is set")
    if any(_of_proxy(name) for name, _ in request.raw_headers):
        raise _turned_away("forwarded", "the request came through a proxy, and no key is set")


@lru_cache(maxsize=256)
def _of_proxy(name: bytes) -> bool:
    name = name.lower()
    return name in PROXY_HEADERS or name.startswith(b"x-forwarded-")


def _turned_away(code: str, why: str) -> Problem:
    return Problem(403, code, f"{why}: set GATEWAY_API_KEY and send it, or ask directly from this machine")


@lru_cache(maxsize=64)
def loopback(host: str) -> bool:
    """Whether a Host header (`localhost:3000`, `127.0.0.1`, `[::1]:3000`) names this machine by its loopback."""
    if host.lower() == "localhost" or host.lower().startswith("localhost:"):
        return _port_fine(host[9:])
    name = host
    if host.startswith("["):
        inside, bracket, port = host[1:].partition("]")
        if not bracket or not _port_fine(port):
            return False
        name = inside
    elif ":" in host:
        try:
            name = split_address(host)[0]
        except ValueError:
            return False
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _port_fine(text: str) -> bool:
    return text == "" or (text[0] == ":" and text[1:].isdigit())
