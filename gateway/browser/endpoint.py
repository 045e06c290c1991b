"""Where this slot's Chromium listens, proven through /proc to be this slot's and nobody else's.

`DevToolsActivePort` survives kill -9, and its port may be another profile's Chromium by now: a
connection to it would send one session's messages from another's account (FACTS, measured).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.slot import Launch, alive, read_launch

_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp


class NotYet(Exception):
    """There is nothing to connect to at present; the text is a sentence that says what is missing."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A Chromium that listens: its launch record and its browser-wide DevTools address."""

    launch: Launch
    url: str


def find_endpoint(data: Path, session: str) -> Endpoint:
    """The slot's Chromium, if it runs and listens. Raises NotYet."""
    launch = read_launch(data.resolve(), session)
    if launch is None or not alive(launch):
        raise NotYet("Chromium is not running")
    if launch.refused:
        raise NotYet(launch.refused)
    try:
        port, path = (data / "sessions" / session / "profile" / "DevToolsActivePort").read_text().split("\n")[:2]
        number = int(port)
    except (OSError, ValueError):
        raise NotYet("Chromium is starting") from None
    if not listens(launch.pid, number):
        raise NotYet(f"nothing of this slot's Chromium listens on port {number}")
    return Endpoint(launch, f"ws://127.0.0.1:{number}{path}")


def listens(pid: int, port: int) -> bool:
    """Whether the process itself holds the socket that listens on 127.0.0.1:port."""
    wanted = {f"socket:[{inode}]" for inode in _listeners(port)}
    if not wanted:
        return False
    try:
        links = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    for link in links:
        with suppress(OSError):
            if str(link.readlink()) in wanted:
                return True
    return False


def _listeners(port: int) -> set[str]:
    """Inodes of the sockets that listen on 127.0.0.1:port."""
    address = f"0100007F:{port:04X}"
    fields = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return {f[9] for f in fields if f[1] == address and f[3] == _LISTEN}
