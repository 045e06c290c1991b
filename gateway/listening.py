"""Where the API listens, found without pydantic: `gateway ready` has to be quick, as an image's health check runs for ever."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

PREFIX = "GATEWAY_"
DEFAULT_DATA = "data"
DEFAULT_LISTEN = "127.0.0.1:3000,[::1]:3000"
#: An address on which a server listens for all, and one of those by which it is reached from this machine.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


def split_address(text: str) -> tuple[str, int]:
    """`127.0.0.1:3000`, `[::1]:3000`, `localhost:3000` → (host, port). Raises ValueError with a sentence."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 <= int(port) < 65536:
        raise ValueError(f"{text.strip()!r} is no address: write HOST:PORT, for instance 127.0.0.1:3000 or [::1]:3000")
    return host.strip("[]"), int(port)


def split_addresses(listen: str) -> list[tuple[str, int]]:
    """The (host, port) pairs of a GATEWAY_LISTEN. Raises ValueError with a sentence."""
    return [split_address(item) for item in listen.split(",")]


def reached_at(host: str, port: int) -> tuple[str, int, str]:
    """Host and port by which this machine reaches a server that listens there, and both as a URL writes them."""
    host = _EVERYWHERE.get(host, host)
    return host, port, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def data_directory(text: str) -> Path:
    """The path, `~` expanded. Raises ValueError with a sentence."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"whose home {text} means is unknown (no HOME, no account of that name): write the path in full") from None


def settings_file(environ: Mapping[str, str]) -> Path | None:
    """The file of further settings: GATEWAY_SETTINGS, else `gateway.toml` in the data directory, if it is there. Raises ValueError."""
    if named := environ.get(f"{PREFIX}SETTINGS"):
        return Path(named)
    path = data_directory(environ.get(f"{PREFIX}DATA") or DEFAULT_DATA) / "gateway.toml"
    with suppress(PermissionError):  # the directory is another user's: that is said where it is used
        return path if path.exists() else None
    return None


def read_settings_file(path: Path) -> dict[str, Any]:
    """Its values. Raises ValueError with a sentence."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"the settings file {path} cannot be read: {error}") from None


def addresses(environ: Mapping[str, str]) -> list[tuple[str, int]]:
    """The API's addresses, by the same rules as gateway.settings. Raises ValueError with a sentence."""
    listen = environ.get(f"{PREFIX}LISTEN")
    if not listen:
        file = settings_file(environ)
        listen = str((read_settings_file(file) if file else {}).get("listen") or DEFAULT_LISTEN)
    return split_addresses(listen)
