"""Doorbells: a Unix datagram after a commit says "look". It may get lost; whoever waits also polls.

A waiting process binds `run/NAME.bell`. The directory is addressed by its open descriptor, for a
Unix address holds 107 bytes and data directories can be deeper than that.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path


class Bell:
    """The waiting end, used in one event loop. Owns its socket; close() it. Not enabled, it only sleeps."""

    def __init__(self, run: Path, name: str, enabled: bool = True) -> None:
        self._rung = asyncio.Event()
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        if not enabled:
            return
        path = run / f"{name}.bell"
        path.unlink(missing_ok=True)  # a predecessor's, dead: a name that is bound cannot be bound again
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        with _address(run, name) as address:
            self._socket.bind(address)
        path.chmod(0o600)

    async def wait(self, timeout: float | None = None) -> bool:
        """Sleep until someone rings, at most `timeout` seconds. Returns whether it rang; a ring before the call counts."""
        if self._socket is not None and self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._socket, self._drain)
        try:
            async with asyncio.timeout(timeout):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True

    def _drain(self) -> None:
        assert self._socket is not None
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(1)
        self._rung.set()

    def close(self) -> None:
        """Stop listening. The name stays behind: ringing it is refused, which nobody minds."""
        if self._socket is None:
            return
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._socket)
        self._socket.close()
        self._socket = None


def ring(run: Path, *names: str) -> None:
    """Ring these names ("api", "watchdog", "browser-default"). Never raises: nobody there, or a full buffer, is fine.

    Neither does a name that cannot be an address (ValueError): it is rung after a commit, which must not look undone for it.
    """
    with (
        contextlib.suppress(OSError, ValueError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as sender,
    ):
        for name in names:
            with contextlib.suppress(OSError, ValueError), _address(run, name) as address:
                sender.sendto(b"!", address)


@contextlib.contextmanager
def _address(run: Path, name: str) -> Iterator[str]:
    directory = os.open(run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{name}.bell"
    finally:
        os.close(directory)
