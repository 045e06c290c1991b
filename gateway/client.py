"""A small HTTP client of the gateway's own API, for the command line and the demo. Loopback by default."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from gateway.settings import Settings


class Refused(Exception):
    """The gateway answered with an error: `status` and its sentence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Unreachable(Exception):
    """Nobody answers at that address."""


class Client:
    """Calls of one JSON API. Not for concurrent use."""

    def __init__(self, base: str, key: str | None = None) -> None:
        self.base = base.rstrip("/")
        self._key = key
        # no proxy of the environment between us and loopback
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    @classmethod
    def of(cls, settings: Settings) -> Client:
        """For the gateway with these settings."""
        host, port = settings.addresses[0]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
        return cls(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}", settings.key)

    def get(self, path: str, *, raw: bool = False, timeout: float = 20.0) -> Any:
        return self._call("GET", path, None, {}, timeout, raw)

    def post(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None, timeout: float = 20.0) -> Any:
        return self._call("POST", path, body, headers or {}, timeout, False)

    def delete(self, path: str, timeout: float = 20.0) -> Any:
        return self._call("DELETE", path, None, {}, timeout, False)

    def _call(self, method: str, path: str, body: Any, headers: Mapping[str, str], timeout: float, raw: bool) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + quote(path, safe="/?=&,%@.:+"), data, dict(headers), method=method)  # noqa: S310
        if data is not None:
            request.add_header("Content-Type", "application/json")
        if self._key:
            request.add_header("Authorization", f"Bearer {self._key}")
        try:
            with self._opener.open(request, timeout=timeout) as answer:
                text = answer.read().decode()
                return text if raw else json.loads(text or "null")
        except urllib.error.HTTPError as error:
            raise Refused(error.code, _sentence(error.read().decode(errors="replace"), error.code)) from None
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"nobody answers at {self.base}: {getattr(error, 'reason', error)}") from None


def _sentence(text: str, status: int) -> str:
    try:
        error = json.loads(text)["error"]
        return str(error if isinstance(error, str) else error["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip()[:500] or f"HTTP {status}"
