"""What runs inside supervisord, as an RPC interface of supervisor.conf that offers no method.

supervisord alone waits up to a second before it starts its first program, reaps a child or heeds a signal; it stops
programs one priority after the other; and it knows nothing of what a killed Chromium leaves behind. With this extension it
acts at once, stops all programs side by side, and ends with a sweep. Nothing depends on it for correctness: without it the
same happens later, or at the next start.

supervisord calls make() before it becomes a daemon, and again after a reload.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from supervisor import events

from gateway.slot import read_launch, sweep

#: Seconds that the sweep waits for the end of what it kills; a process that is stuck in the kernel must not hold up the end.
SWEEP = 2.0


class Namespace:
    """The RPC interface: no methods."""


def make(supervisord: Any, **_: str) -> Namespace:
    """Extend this supervisord. The factory that supervisor.conf names."""
    extension = Extension(supervisord)
    events.subscribe(events.SupervisorRunningEvent, extension.running)
    events.subscribe(events.SupervisorStoppingEvent, extension.stopping)
    events.subscribe(events.ProcessStateEvent, extension.changed)
    return Namespace()


class Extension:
    """The callbacks of one run of supervisord, between its start or reload and its end or next reload."""

    def __init__(self, supervisord: Any) -> None:
        self._supervisord = supervisord
        self._waker: Waker | None = None

    def running(self, _: object) -> None:
        """supervisord enters its loop: what it starts by itself is started in the first pass."""
        self._waker = Waker(self._supervisord.options.get_socket_map())
        self._waker.wake()

    def changed(self, _: object) -> None:
        """A program changed its state: look again at once, as the next state may be due (a successor, the end)."""
        if self._waker is not None:
            self._waker.wake()
        if self._supervisord.stopping:
            self._end_if_all_stopped()

    def stopping(self, _: object) -> None:
        """supervisord stops or reloads: all programs are told to stop now, the highest priority first."""
        for group in sorted(self._supervisord.process_groups.values(), reverse=True):
            group.stop_all()
        self._end_if_all_stopped()

    def _end_if_all_stopped(self) -> None:
        groups = self._supervisord.process_groups.values()
        if self._waker is None or any(group.get_unstopped_processes() for group in groups):
            return
        self._waker.close()  # a reload closes its descriptors, whoever they belong to
        self._waker = None
        for data in self._data_directories():
            self._sweep(data)

    def _data_directories(self) -> set[Path]:
        programs = [program for group in self._supervisord.options.process_group_configs for program in group.process_configs]
        return {Path(program.environment["GATEWAY_DATA"]).resolve() for program in programs if "GATEWAY_DATA" in program.environment}

    def _sweep(self, data: Path) -> None:
        """Kill what is left of each session's Chromium: children that stand still, crash handlers."""
        log = self._supervisord.options.logger
        for record in sorted((data / "run").glob("chromium-*.json")):
            session = record.stem.removeprefix("chromium-")
            if read_launch(data, session) is None:
                continue
            try:
                if swept := sweep(data, session, deadline=SWEEP):
                    log.info(f"swept {swept} processes that the Chromium of session {session} had left behind")
            except (OSError, TimeoutError) as error:
                log.warn(f"what the Chromium of session {session} left behind stays: {error}")


class Waker:
    """Ends supervisord's wait at once on a signal or on wake(). Lies among its sockets; close() takes it out."""

    def __init__(self, sockets: dict[int, Any]) -> None:
        self._sockets = sockets
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        sockets[self._read] = self
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)

    def wake(self) -> None:
        with suppress(BlockingIOError):  # it is full: then it wakes anyway
            os.write(self._write, b"\0")

    def close(self) -> None:
        signal.set_wakeup_fd(-1)
        del self._sockets[self._read]
        os.close(self._read)
        os.close(self._write)

    # -- what supervisord's loop asks of a socket
    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._read, 4096)

    def handle_error(self) -> None:
        """Nothing here fails that could be mended."""
