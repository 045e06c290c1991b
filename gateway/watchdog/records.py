"""Rows about what was done, written when the database lets: acting never waits for it.

One task drains a queue in order and repeats each operation while the database is locked or the
disk is full. So a recovery is opened, climbed and closed in its row in the order in which it happened.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from gateway.store import commands, recoveries
from gateway.store.database import Full, Locked, SchemaTooNew
from gateway.store.doorbell import ring
from gateway.store.errors import AlreadyRunning
from gateway.store.writer import QueueFull, Writer

Op = Callable[[sqlite3.Connection], Any]

#: Seconds to wait for the write lock, per try; and the pause after a try in vain.
DEADLINE = 2.0
PAUSE = 0.5
#: Operations that may wait. A database locked for hours costs later rows, not memory.
LIMIT = 1000

log = structlog.get_logger()


@dataclass(slots=True)
class Row:
    """A recovery's row; its id is known once the row is written (at once if the API opened it)."""

    session: str
    id: int | None = None


class Records:
    """The watchdog's only way to the database. run() it in a task."""

    def __init__(self, database: Path, run: Path, limit: int = LIMIT) -> None:
        self._database, self._run = database, run
        self._queue: asyncio.Queue[tuple[Op, tuple[str, ...], asyncio.Future[Any]]] = asyncio.Queue(limit)
        #: Ids of the recovery rows that this watchdog runs or is about to begin. Changed in the operations that write the rows,
        #: which are carried out in order, so it agrees with the rows as any later operation finds them.
        self._run_here: set[int] = set()

    def note(self, op: Op, *bells: str) -> asyncio.Future[Any]:
        """Carry out `op` as soon as the database lets, after all that was noted before; ring `bells` after its commit.

        The future gives its result, if anything waits for it. Cancelled before its turn comes, it is not carried out.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_seen)
        try:
            self._queue.put_nowait((op, bells, future))
        except asyncio.QueueFull:
            future.set_exception(QueueFull("the database has been locked for so long that this row is given up"))
        return future

    @property
    def idle(self) -> bool:
        """Whether nothing waits: what is asked for each second is skipped while the database is stuck."""
        return self._queue.empty()

    async def run(self) -> None:
        """Write for ever. Cancel it to end."""
        while True:
            try:
                async with Writer(self._database, deadline=DEADLINE) as writer:
                    while True:
                        await self._write(writer, *await self._queue.get())
            except (Locked, Full, sqlite3.Error, OSError) as error:
                log.warning("The watchdog waits for the database", reason=str(error))
            except SchemaTooNew as error:
                log.error("The watchdog cannot use the database", reason=str(error), alert=True)
                await asyncio.sleep(30)
            await asyncio.sleep(PAUSE)

    async def _write(self, writer: Writer, op: Op, bells: tuple[str, ...], future: asyncio.Future[Any]) -> None:
        while not future.cancelled():
            try:
                result = await writer.run(op)
            except (Locked, Full):
                await asyncio.sleep(PAUSE)
                continue
            except Exception as error:  # the op's own: whoever asked gets it, the next one goes on
                if not future.done():
                    future.set_exception(error)
                return
            ring(self._run, *bells)
            if not future.done():
                future.set_result(result)
            return

    # -- recoveries
    def begin_anew(self) -> None:
        """First of all: close what the last watchdog took up and did not end. A request that still waits is left to be taken."""

        def op(conn: sqlite3.Connection) -> None:
            now = time.time()
            commands.interrupt(conn, target="watchdog", now=now)
            commands.close_unrun_recoveries(conn, run=(), detail="the watchdog was restarted meanwhile", now=now)

        self.note(op, "api")

    def take(self, conn: sqlite3.Connection) -> list[commands.Command]:
        """Within an operation: the commands to the watchdog. Open recoveries that no request and no watchdog stands behind are closed."""
        now = time.time()
        taken = commands.take(conn, target="watchdog", now=now)
        self._run_here.update(one.args["recovery"] for one in taken if one.kind == commands.RECOVER and "recovery" in one.args)
        self._run_here.intersection_update(recoveries.open_ids(conn))
        for id in commands.close_unrun_recoveries(conn, run=self._run_here, detail="no process was carrying it out", now=now):
            log.error("A recovery that no process was carrying out is closed", recovery=id)
        return taken

    def opened(self, session: str, *, cause: str, strategy: str | None, now: float, id: int | None = None) -> Row:
        """Begin a recovery's row; one that the API has opened meanwhile becomes ours."""
        row = Row(session, id)

        def op(conn: sqlite3.Connection) -> None:
            if row.id is None or row.id not in recoveries.open_ids(conn):
                try:
                    row.id = recoveries.open_(conn, session=session, cause=cause, strategy=strategy, by="watchdog", now=now)
                except AlreadyRunning as error:
                    row.id = error.recovery
            self._run_here.add(row.id)

        self.note(op, "api")
        return row

    def tried(self, row: Row, rung: str, now: float) -> None:
        """Note a rung."""
        self.note(lambda conn: recoveries.rung(conn, id=row.id, rung=rung, now=now) if row.id is not None else None, "api")

    def closed(self, row: Row, status: recoveries.Status, detail: str | None, now: float) -> None:
        """End the row."""

        def op(conn: sqlite3.Connection) -> None:
            if row.id is not None:
                recoveries.close(conn, id=row.id, status=status, detail=detail, now=now)

        # also where the row could not be written: it then counts as run by nobody, and take() closes it
        self.note(op, "api").add_done_callback(lambda _: self._run_here.discard(row.id or 0))

    def superseded(self, row: Row, other: int, now: float) -> None:
        """End a row that the API opened before ours was written, unless ours, once written, is that one."""

        def op(conn: sqlite3.Connection) -> None:
            if row.id != other:
                recoveries.close(conn, id=other, status="failed", detail="another recovery was running", now=now)

        self.note(op, "api")


def _seen(future: asyncio.Future[Any]) -> None:
    """Nothing waits for most rows: an error is logged, not lost."""
    with suppress(asyncio.CancelledError):
        error = future.exception()
        if error is not None:
            log.warning("The watchdog could not write a row", reason=f"{type(error).__name__}: {error}")
