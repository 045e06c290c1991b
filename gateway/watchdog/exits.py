"""Notices at once that a supervised process ended: supervisord alone takes one to two seconds (FACTS)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable

from gateway.supervision import Program


class Exits:
    """A pidfd for each supervised process; `ended` is called with what was followed from the loop. close() it."""

    def __init__(self, ended: Callable[[Program], None]) -> None:
        self._ended = ended
        self._fds: dict[int, int] = {}  # pid → pidfd

    def follow(self, programs: Iterable[Program]) -> None:
        """Follow all of them that run and are not followed yet."""
        for program in programs:
            if program.pid is None or program.pid in self._fds:
                continue
            try:
                fd = os.pidfd_open(program.pid)
            except ProcessLookupError:
                self._ended(program)
                continue
            self._fds[program.pid] = fd
            asyncio.get_running_loop().add_reader(fd, self._fired, program.pid, program)

    def _fired(self, pid: int, program: Program) -> None:
        self._drop(pid)
        self._ended(program)

    def _drop(self, pid: int) -> None:
        fd = self._fds.pop(pid)
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)

    def close(self) -> None:
        for pid in list(self._fds):
            self._drop(pid)
