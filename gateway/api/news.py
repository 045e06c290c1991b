"""Who waits for something to happen: one reader of the event log wakes all of them.

A doorbell says "look"; it may get lost, so each second somebody looks anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import structlog

from gateway.beat import boot_time, to_tick
from gateway.store import events
from gateway.store.doorbell import Bell
from gateway.store.events import Event
from gateway.store.writer import Reader

log = structlog.get_logger()
T = TypeVar("T")

#: Seconds between two looks that are due by the clock alone.
POLL = 1.0
#: Least seconds between two looks: a busy host rings hundreds of times a second.
REST = 0.02
#: Events read at once.
PAGE = 1000


def _messages_after(cursor: int, conn: sqlite3.Connection) -> list[Event]:
    return events.after(conn, cursor, PAGE, ["message"])


class News:
    """Waits for the API's doorbell. `run()` must be running for anybody to be woken."""

    def __init__(self, bell: Bell, reader: Reader) -> None:
        self._bell = bell
        self._reader = reader
        self._changed = asyncio.Event()
        self._watched: dict[str, set[asyncio.Event]] = {}
        self._cursor: int | None = None

    async def run(self) -> None:
        """Look at each ring and each second, for ever."""
        while True:
            rang = await self._bell.wait(to_tick(POLL))
            self._changed.set()
            self._changed = asyncio.Event()
            try:
                await self._look()
            except sqlite3.Error as error:  # a locked or vanished database is told where it is asked; here it is tried again
                log.warning("The event log cannot be read", error=str(error))
                await asyncio.sleep(POLL)
            if rang:
                await asyncio.sleep(REST)

    async def _look(self) -> None:
        if not self._watched:
            self._cursor = None
            return
        if self._cursor is None:  # nobody watched until now: whoever does has read its message before, and reads it again
            self._cursor = await self._reader.run(events.last)
            self._wake(list(self._watched))
            return
        while True:
            cursor = self._cursor
            found = await self._reader.run(partial(_messages_after, cursor))
            self._wake({e.message for e in found if e.message is not None})
            if found:
                self._cursor = found[-1].id
            if len(found) < PAGE:
                return

    def _wake(self, messages: list[str] | set[str]) -> None:
        for message in messages:
            for event in self._watched.get(message, ()):
                event.set()

    @contextlib.contextmanager
    def watching(self, message: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever something may have happened to that message; the waiter clears it."""
        event = asyncio.Event()
        self._watched.setdefault(message, set()).add(event)
        try:
            yield event
        finally:
            waiting = self._watched[message]
            waiting.discard(event)
            if not waiting:
                del self._watched[message]

    async def until(self, op: Callable[[sqlite3.Connection], T], seconds: float) -> T:
        """The result of a read that is asked again at each piece of news, until it is true or `seconds` have passed."""
        deadline = boot_time() + seconds
        while True:
            changed = self._changed
            found = await self._reader.run(op)
            left = deadline - boot_time()
            if found or left <= 0:
                return found
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await changed.wait()
