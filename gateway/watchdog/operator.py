"""Carries out what operators ask of a session's processes through the API: start, stop, restart, recover."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable

import structlog

from gateway.beat import boot_time, to_tick
from gateway.store import commands, sessions
from gateway.store.doorbell import Bell
from gateway.supervision import Fault, Supervisor, Unreachable
from gateway.watchdog.records import Records
from gateway.watchdog.slot_watch import SlotWatch

#: Seconds between two looks for commands, if no doorbell rings.
POLL = 1.0
#: Seconds that a program may take to stop; supervisord kills it after its stopwaitsecs, which is less.
STOP = 15.0

log = structlog.get_logger()


class Operator:
    """Obeys commands. `slot` gives a session's watch, or None if no such slot is supervised."""

    def __init__(self, supervisor: Supervisor, records: Records, slot: Callable[[str], SlotWatch | None]) -> None:
        self._supervisor, self._records, self._slot = supervisor, records, slot
        self._tasks: set[asyncio.Task[None]] = set()

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
        def op(conn: sqlite3.Connection) -> tuple[list[commands.Command], dict[str, bool]]:
            down = {row.name: row.desired == "stopped" for row in sessions.all_(conn)}
            return commands.take(conn, target="watchdog", now=time.time()), down

        try:
            taken, down = await self._records.note(op)
        except Exception:  # logged where it happened; the next look may have more luck
            return
        for session, is_down in down.items():
            if (slot := self._slot(session)) is not None:
                slot.desired_down = is_down
        for command in taken:
            task = asyncio.create_task(self._obey(command))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _obey(self, command: commands.Command) -> None:
        error = None
        try:
            slot = self._slot(command.session)
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
            case "recover":
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
            until = boot_time() + STOP
            while (await self._supervisor.program(name)).pid is not None:
                if boot_time() > until:
                    raise TimeoutError(f"{name} does not stop")
                await asyncio.sleep(0.05)
