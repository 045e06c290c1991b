"""What keeps the database small and its messages in time; bounded in each pass, and never in the way of a request for long."""

from __future__ import annotations

import asyncio
import sqlite3
from functools import partial
from pathlib import Path

import structlog

from gateway.api.context import wall
from gateway.beat import boot_time, to_tick
from gateway.settings import Settings
from gateway.store import clock, commands, maintenance, outbox, sessions
from gateway.store.database import Full, Locked, keep_ballast
from gateway.store.writer import QueueFull, Writer

log = structlog.get_logger()

#: Seconds between two looks for expired messages and at the size of the WAL.
INTERVAL = 1.0
#: Seconds between two rounds of retention.
ROUND = 60.0
#: Seconds between two passes of one round: with 4 ms a writer's p99 stays under 4 ms.
PASS_PAUSE = 0.02
#: Passes in one round at most.
PASSES = 200
#: Bytes of WAL from which it is moved into the database.
WAL = 8 * 1024 * 1024


class Housekeeping:
    """run() it in a task."""

    def __init__(self, settings: Settings, writer: Writer) -> None:
        self._settings, self._writer = settings, writer
        self._wal = settings.database.with_name(settings.database.name + "-wal")
        self._round_at = boot_time() + INTERVAL

    async def run(self) -> None:
        """Keep house for ever. A locked database or a full disk only delays it."""
        while True:
            await asyncio.sleep(to_tick(INTERVAL))
            try:
                await self.expire()
                if self._wal_bytes() > WAL:
                    await self._writer.between(maintenance.checkpoint)
                if boot_time() >= self._round_at:
                    self._round_at = boot_time() + ROUND
                    await self.set_right()
                    await self.retain()
            except (Locked, Full, QueueFull, sqlite3.Error, OSError) as error:
                log.debug("Housekeeping waits", reason=str(error))

    async def expire(self) -> int:
        """End the messages that have waited longer than their ttl, and the commands that no process took in time.

        Returns how many messages in this pass.
        """

        def op(conn: sqlite3.Connection) -> int:
            now = wall()
            commands.expire(conn, now=now)
            return outbox.expire(conn, now=now)

        return await self._writer.run(op, ring=())

    async def set_right(self) -> None:
        """Bring back what a clock that was ahead left in the future, also of sessions that no host attends."""
        if wall() < clock.PLAUSIBLE:
            return
        largest, gap = self._settings.retry_max_delay, self._settings.chat_interval
        names = await self._writer.run(lambda conn: [row.name for row in sessions.all_(conn) if row.ahead(wall())])
        for name in names:
            below: int | None = None
            for _ in range(PASSES):
                go_on = partial(outbox.set_right, session=name, now=wall(), largest=largest, chat_interval=gap, below=below)
                below = await self._writer.run(go_on)
                if below is None:
                    break
                await asyncio.sleep(PASS_PAUSE)

    async def retain(self) -> int:
        """Delete what is too old, give pages back, set the ballast aside. Returns how many rows went."""
        gone = 0
        for _ in range(PASSES):
            now = await self._writer.run(lambda conn: maintenance.prune(conn, now=wall()))
            gone += now
            if now < maintenance.PASS:
                break
            await asyncio.sleep(PASS_PAUSE)
        if gone:
            await self._writer.between(maintenance.vacuum)
        keep_ballast(ballast(self._settings))
        return gone

    def _wal_bytes(self) -> int:
        try:
            return self._wal.stat().st_size
        except OSError:
            return 0


def ballast(settings: Settings) -> Path:
    """Where the ballast lies."""
    return settings.data / "ballast"
