"""A small HTTP client of the gateway's own API, for the command line and the demo. Loopback by default."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from gateway.listening import reached_at
from gateway.settings import Settings


class Refused(Exception):
    """The gateway answered with an error: `status`, its sentence, and the body that came with it (JSON, else None)."""

    def __init__(self, status: int, text: str, body: Any = None) -> None:
        super().__init__(text)
        self.status, self.body = status, body


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
        return cls(f"http://{reached_at(*settings.addresses[0])[2]}", settings.key)

    def get(self, path: str, *, raw: bool = False, timeout: float = 20.0) -> Any:
        return self._call("GET", path, None, {}, timeout, raw)

    def health(self, timeout: float = 20.0) -> dict[str, Any]:
        """/api/health. It is an answer also with 503, where no message can be accepted (a full disk). Raises Refused, Unreachable."""
        try:
            found = self.get("/api/health", timeout=timeout)
        except Refused as error:
            if not isinstance(error.body, dict) or "session_health" not in error.body:
                raise
            found = error.body
        if not isinstance(found, dict) or "session_health" not in found:
            raise _not_ours(200, self.base)
        return found

    def post(self, path: str, body: Any = None, headers: Mapping[str, str] | None = None, timeout: float = 20.0) -> Any:
        return self._call("POST", path, body, headers or {}, timeout, False)

    def delete(self, path: str, timeout: float = 20.0) -> Any:
        return self._call("DELETE", path, None, {}, timeout, False)

    def _parsed(self, text: str, status: int) -> Any:
        try:
            return json.loads(text or "null")
        except ValueError:
            raise _not_ours(status, self.base) from None

    def _call(self, method: str, path: str, body: Any, headers: Mapping[str, str], timeout: float, raw: bool) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + quote(path, safe="/?=&,%@.:+"), data, dict(headers), method=method)  # noqa: S310
        if data is not None:
            request.add_header("Content-Type", "application/json")
        if self._key:
            request.add_header("Authorization", f"Bearer {self._key}")
        try:
            with self._opener.open(request, timeout=timeout) as answer:
                text = answer.read().decode(errors="replace")
                return text if raw else self._parsed(text, answer.status)
        except urllib.error.HTTPError as error:
            raise _refused(error, self.base) from None
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"nobody answers at {self.base}: {getattr(error, 'reason', error)}") from None


def _refused(error: urllib.error.HTTPError, base: str) -> Refused:
    body, text = None, ""
    try:
        text = error.read().decode(errors="replace")
        body = json.loads(text)
        said = body["error"]
        sentence = str(said if isinstance(said, str) else said["message"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        if text and body is None:
            return _not_ours(error.code, base)
        sentence = text.strip()[:500] or f"HTTP {error.code}"
    return Refused(error.code, sentence, body)


def _not_ours(status: int, base: str) -> Refused:
    return Refused(status, f"what answers at {base} is not this gateway (HTTP {status}): see who uses the port (`gateway doctor`)")
