"""Carries out what operators ask of a session's processes through the API: start, stop, restart, recover."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog

from gateway.beat import RunningDeadline, to_tick
from gateway.store import commands, sessions
from gateway.store.doorbell import Bell
from gateway.supervision import DEADLINE, Fault, Supervisor, Unreachable
from gateway.watchdog.records import Records
from gateway.watchdog.slot_watch import SlotWatch

#: Seconds between two looks for commands, if no doorbell rings.
POLL = 1.0
#: Seconds that a look waits for the database.
PATIENCE = 5.0
#: Seconds that a program may take to stop; supervisord kills it after its stopwaitsecs, which is less.
STOP = 15.0

log = structlog.get_logger()


class Operator:
    """Obeys commands. `slots` gives the watches of all sessions that are supervised, by name."""

    def __init__(self, supervisor: Supervisor, records: Records, slots: Callable[[], Mapping[str, SlotWatch]]) -> None:
        self._supervisor, self._records, self._slots = supervisor, records, slots
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked: asyncio.Future[Any] | None = None
        self._unwanted: set[str] | None = None  # sessions stopped before our start that are not stopped yet; None: not asked yet

    async def run(self, bell: Bell) -> None:
        """Look for commands for ever, each second and when the bell rings. Cancel it to end."""
        try:
            while True:
                await self._look()
                await bell.wait(to_tick(POLL))
        finally:
            for task in self._tasks:
                task.cancel()

    async def _look(self) -> None:
        """Take what is asked. A question that the database does not answer in time is waited for by the next look: it is never cancelled,
        as a command that was taken and not heard of would be carried out by no process."""
        if self._asked is None:
            self._asked = self._records.note(self._question)
        await asyncio.wait({self._asked}, timeout=PATIENCE)
        if not self._asked.done():
            return
        asked, self._asked = self._asked, None
        if asked.exception() is not None:  # logged where it happened; the next look may have more luck
            return
        taken, down = asked.result()
        self._heed(down)
        for command in taken:
            self._spawn(self._obey(command))

    def _question(self, conn: sqlite3.Connection) -> tuple[list[commands.Command], set[str]]:
        down = {row.name for row in sessions.all_(conn) if row.desired == "stopped"}
        return self._records.take(conn), down

    def _heed(self, down: set[str]) -> None:
        """Leave alone what operators stopped; at our start, stop it: supervisord starts every slot."""
        if self._unwanted is None:
            self._unwanted = set(down)
        self._unwanted &= down
        for session, slot in self._slots().items():
            slot.desired_down = session in down
            if session in self._unwanted:
                self._unwanted.discard(session)
                log.info("The session was stopped by the operator", session=session)
                self._spawn(self._stop(slot))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _stop(self, slot: SlotWatch) -> None:
        try:
            await self.stop(slot)
        except (Unreachable, Fault, TimeoutError) as error:
            log.warning("A session could not be stopped", session=slot.session, reason=str(error))

    async def _obey(self, command: commands.Command) -> None:
        error = None
        try:
            slot = self._slots().get(command.session)
            if slot is None:
                error = f"no processes of session {command.session} are supervised here"
            else:
                await self._carry_out(slot, command)
        except (Unreachable, Fault, TimeoutError, ValueError) as failure:
            error = str(failure) or type(failure).__name__
        if error is not None:
            log.warning("A command could not be carried out", session=command.session, command=command.kind, reason=error)
        at = time.time()
        result: dict[str, str] | None = None if error else {}
        self._records.note(lambda conn: commands.answer(conn, id=command.id, result=result, error=error, now=at), "api")

    async def _carry_out(self, slot: SlotWatch, command: commands.Command) -> None:
        match command.kind:
            case commands.RECOVER:
                slot.request(command.args.get("strategy"), command.args.get("recovery"))
            case "start":
                await self.start(slot)
            case "stop":
                await self.stop(slot)
            case "restart":
                await self.stop(slot)
                await self.start(slot)
            case _:
                raise ValueError(f"{command.kind} is no command of the watchdog's")

    async def start(self, slot: SlotWatch) -> None:
        """Start Chromium, then its host; what runs already is left alone. Raises Fault, Unreachable."""
        slot.desired_down = False
        for name in (slot.chromium, slot.host):
            if (await self._supervisor.program(name)).pid is None:
                await self._supervisor.start(name)

    async def stop(self, slot: SlotWatch) -> None:
        """Stop Chromium, then its host, which sees it end and can say that it ended cleanly; return when both are down.

        Raises Fault, Unreachable, TimeoutError.
        """
        slot.desired_down = True
        for name in (slot.chromium, slot.host):
            if not (await self._supervisor.program(name)).wanted_down:
                await self._supervisor.stop(name)
            patience = RunningDeadline(STOP, 2 * DEADLINE)
            while (await self._supervisor.program(name)).pid is not None:
                if patience.passed():
                    raise TimeoutError(f"{name} does not stop")
                await asyncio.sleep(0.05)
