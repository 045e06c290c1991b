"""Carries out the rungs of one session's ladder: kills programs, or asks the host for what it does itself.

No wait here depends on the database: a command that the database does not take, or whose answer it
does not give, ends by its time, and a command under way can be ended at any moment.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from gateway.beat import RunningDeadline, boot_time
from gateway.store import commands
from gateway.store.writer import QueueFull
from gateway.supervision import Program
from gateway.watchdog.judge import Rung
from gateway.watchdog.killer import Killer
from gateway.watchdog.ladder import PATIENCE, Outcome
from gateway.watchdog.records import Records

#: Seconds that the host has to carry out a command; looking for it costs it at most one, a reload some.
OBEY = {Rung.NUDGE: 5.0, Rung.RELOAD_PAGE: 10.0}
#: Seconds between two looks for its answer; and how many of them count at most: what a look took longer, the database was
#: locked (or we were stopped), and the host could not answer.
LOOK, COUNTED = 0.25, 0.5
#: Seconds that the kills of one rung may take: two programs, each after the holder of the write lock, at a supervisord that is slow.
KILL = 30.0
#: Error of a command that was taken back.
WITHDRAWN = "withdrawn: a graver rung was begun, or the recovery ended"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Target:
    """A program to kill. `still`: asked again after a lock holder's death, whether it has to go all the same."""

    program: Program
    still: Callable[[], bool] | None = None


class Rungs:
    """One rung at a time. `acted_at`: when the last one was begun or, once it has ended, ended (boot clock)."""

    def __init__(self, session: str, records: Records, killer: Killer) -> None:
        self._session, self._records, self._killer = session, records, killer
        self._task: asyncio.Task[Outcome] | None = None
        self._kills = False
        self.acted_at = 0.0
        self.acted_on: dict[str, float] = {}  #: the same for each program that was killed, or had ended

    @property
    def killing(self) -> bool:
        """Whether a kill is under way: it takes seconds, and nothing graver could be done meanwhile."""
        return self._kills and self.outcome is Outcome.UNDER_WAY

    @property
    def outcome(self) -> Outcome:
        """What became of the last rung."""
        task = self._task
        if task is None or (task.done() and task.cancelled()):
            return Outcome.DONE
        return task.result() if task.done() else Outcome.UNDER_WAY

    def note_done(self, names: list[str], now: float) -> None:
        """What a rung would have killed ended by itself."""
        self.acted_at = now
        self.acted_on |= dict.fromkeys(names, now)

    def ask(self, rung: Rung, now: float) -> None:
        """Have the host do a rung."""
        self.acted_at = now
        self._begin(self._ask(rung), kills=False)

    def kill(self, rung: Rung, targets: list[Target], now: float) -> None:
        """Kill programs, one after the other."""
        self.note_done([target.program.name for target in targets], now)
        self._begin(self._kill(rung, targets), kills=True)

    def _begin(self, work: Coroutine[Any, Any, Outcome], kills: bool) -> None:
        self.end()
        self._kills = kills
        self._task = asyncio.create_task(work)

    def end(self) -> None:
        """End a rung under way; a command that the host has not answered is taken back."""
        if self._task is not None:
            self._task.cancel()
        self._task = None

    async def _kill(self, rung: Rung, targets: list[Target]) -> Outcome:
        try:
            async with asyncio.timeout(KILL):
                for target in targets:
                    await self._killer.kill(target.program, target.still)
                    self.acted_on[target.program.name] = boot_time()
        except Exception as error:  # evidence tells what came of it
            reason = f"{type(error).__name__}: {error}"
            log.error("A recovery rung could not be carried out", session=self._session, rung=rung, reason=reason)
        self.acted_at = boot_time()
        return Outcome.DONE

    async def _ask(self, rung: Rung) -> Outcome:
        command = _Command(self._session, rung.value, OBEY[rung])
        try:
            async with asyncio.timeout(PATIENCE[rung]):
                return await self._answered(command, OBEY[rung])
        except (TimeoutError, QueueFull):
            log.warning("The database did not let a command through", session=self._session, rung=rung)
            return Outcome.UNDELIVERED
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            log.error("A recovery rung could not be carried out", session=self._session, rung=rung, reason=reason)
            return Outcome.DONE
        finally:
            self.acted_at = boot_time()
            if not command.answered:
                self._records.note(command.withdraw)

    async def _answered(self, command: _Command, seconds: float) -> Outcome:
        """Ask, and wait for the answer for as long as the host could give one."""
        await self._records.note(command.ask, f"browser-{self._session}")
        patience = RunningDeadline(seconds + 1.0, COUNTED)
        while not patience.passed():
            await asyncio.sleep(LOOK)
            row = await self._records.note(command.look)
            if row is None or row.answered_at is not None:
                command.answered = True
                return Outcome.MISSED if row is not None and row.error == commands.DEADLINE else Outcome.DONE
        return Outcome.MISSED


class _Command:
    """A command row as operations of the store, which may be carried out late or, where their wait was ended before, not at all."""

    def __init__(self, session: str, kind: str, seconds: float) -> None:
        self._session, self._kind, self._seconds = session, kind, seconds
        self._id: int | None = None
        self.answered = False

    def ask(self, conn: sqlite3.Connection) -> None:
        now = time.time()
        self._id = commands.ask(
            conn, session=self._session, target="browser", kind=self._kind, args={}, now=now, deadline=now + self._seconds
        )

    def look(self, conn: sqlite3.Connection) -> commands.CommandRow | None:
        return None if self._id is None else commands.get(conn, self._id)

    def withdraw(self, conn: sqlite3.Connection) -> None:
        if self._id is not None:
            commands.answer(conn, id=self._id, error=WITHDRAWN, now=time.time())
