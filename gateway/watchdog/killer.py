"""Kills a program through supervisord, after a look at who holds the database's write lock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from gateway import beat
from gateway.beat import boot_time
from gateway.settings import Settings
from gateway.slot import stopped
from gateway.supervision import Fault, Program, Supervisor, Unreachable
from gateway.watchdog.locks import write_lock_holder

#: Tries, and seconds between them, while supervisord does not answer.
TRIES, PAUSE = 5, 1.0
#: Seconds that a sleep may take longer before it counts as a stop of our own.
GAP = 2.0
#: Seconds after a lock holder's death before others are judged: a silence that it caused ends by then.
AFTER_HOLDER = 2.0

log = structlog.get_logger()


class Killer:
    """The only hand that kills. `programs` is the watchdog's newest list."""

    def __init__(self, settings: Settings, supervisor: Supervisor) -> None:
        self._settings, self._supervisor = settings, supervisor
        self.programs: dict[str, Program] = {}
        self._killed: dict[str, Program] = {}  # program → the process of it that we killed last

    def has_killed(self, program: Program) -> bool:
        """Whether this process was killed here: its end is no surprise. A number that was given away again is another process."""
        last = self._killed.get(program.name)
        return last is not None and (last.pid, last.since) == (program.pid, program.since)

    async def kill(self, program: Program, still: Callable[[], bool] | None = None) -> bool:
        """Kill this process of the program, and nothing that came after it. False if it was spared, or is gone already.

        A stopped or silent holder of the write lock dies first; the program is judged anew two seconds later, by
        `still` (default: whether it is silent), and spared if it was the lock that ailed it. Raises Unreachable, Fault, TimeoutError.
        """
        holder = self._guilty_holder()
        if holder is not None and holder.name != program.name:
            log.warning("The database's write lock is held by a process that does not move", process=holder.name, pid=holder.pid)
            await self._kill(holder)
            slept_at = boot_time()
            await asyncio.sleep(AFTER_HOLDER)
            if boot_time() - slept_at > AFTER_HOLDER + GAP:
                return False  # we stood still, and so did the others: the next looks judge
            if not (still() if still else self._silent(program)):
                log.info("A process is spared: it was the lock that ailed it", process=program.name, pid=program.pid)
                return False
        return await self._kill(program)

    def _guilty_holder(self) -> Program | None:
        pid = write_lock_holder(self._settings.database)
        for program in self.programs.values():
            if pid is not None and program.pid == pid and (stopped(pid) or self._silent(program)):
                return program
        return None

    def _silent(self, program: Program) -> bool:
        found = beat.read(self._settings.beat(program.name))
        return found is None or found.pid != program.pid or found.age() > beat.SILENT

    async def _kill(self, program: Program) -> bool:
        assert program.pid is not None
        self._killed[program.name] = program
        log.warning("Killing a process", process=program.name, pid=program.pid)
        for left in reversed(range(TRIES)):
            try:
                return await self._supervisor.kill(program.name, program.pid)
            except Unreachable:
                if not left:
                    raise
            except Fault:
                return False  # supervisord does not know it (any more)
            await asyncio.sleep(PAUSE)
        return False
