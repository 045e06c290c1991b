"""The host's way to the store: outcomes are written however long the database is locked; claims are not waited for."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import Callable
from typing import TypeVar

import structlog

from gateway.store.database import Full, Locked
from gateway.store.sessions import Fence
from gateway.store.writer import QueueFull, Reader, Writer

log = structlog.get_logger()
T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]

#: Seconds before the next try while the database is locked or the disk full.
PAUSE = 0.2


class Records:
    """One session's records, behind its fence. Any call may raise Fenced: then this process has a successor and must end."""

    def __init__(self, writer: Writer, reader: Reader, fence: Fence) -> None:
        self.fence = fence
        self._writer, self._reader = writer, reader

    async def once(self, operation: Operation[T]) -> T | None:
        """Try; None where the database is locked or full: then it did not happen."""
        try:
            return await self._writer.run(operation, ring=("api",))
        except (Locked, Full, QueueFull) as error:
            log.warning("The database takes nothing at present", reason=str(error))
            await asyncio.sleep(PAUSE)
            return None

    async def surely(self, operation: Operation[T]) -> T:
        """Returns after the commit, however long the database is locked or full, which is logged more and more rarely. For outcomes."""
        for tries in itertools.count(1):
            try:
                return await self._writer.run(operation, ring=("api",))
            except (Locked, Full, QueueFull) as error:
                if tries.bit_count() == 1:  # the 1st, 2nd, 4th, 8th, … time
                    log.warning("An outcome waits for the database", reason=str(error), tries=tries)
                await asyncio.sleep(PAUSE)
        raise AssertionError("unreachable")

    async def read(self, operation: Operation[T]) -> T:
        return await self._reader.run(operation)
