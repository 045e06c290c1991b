"""What every handler needs: settings, the way to the store, whether anything may be accepted now."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from aiohttp import web

from gateway.api.auth import Keys
from gateway.api.intake import Intake
from gateway.api.news import News
from gateway.beat import boot_time
from gateway.message import State
from gateway.settings import Settings
from gateway.store import counters, sessions
from gateway.store.database import ACCEPT_ROOM, Full, Locked, room
from gateway.store.writer import QueueFull, Reader, Writer

T = TypeVar("T")

#: A probe of the writer that takes longer than this many seconds says: locked.
PROBE_DEADLINE = 2.0
#: Probes are shared for this many seconds, so that being asked about health never makes health worse.
PROBE_FRESH = 1.0
#: statvfs is asked again after this many seconds; the ballast outlasts what may be written meanwhile.
ROOM_FRESH = 0.5


@dataclass
class Context:
    """One per API process. `started_at` is boot-clock seconds."""

    settings: Settings
    keys: Keys
    writer: Writer
    reader: Reader
    news: News
    started_at: float = field(default_factory=boot_time)
    #: Bytes of bodies held by requests under way, all together and each by its id() (bodies.py).
    body_bytes: int = 0
    bodies: dict[int, int] = field(default_factory=dict)
    intake: Intake = field(init=False)
    _room: tuple[float, bool] = (-1e9, False)
    _probe: tuple[float, str | None] = (-1e9, None)
    _probing: asyncio.Task[str | None] | None = None

    def __post_init__(self) -> None:
        self.intake = Intake(self.settings, self.writer, self.has_room, wall)

    async def write(self, op: Callable[[sqlite3.Connection], T], *ring: str) -> T:
        """Carry out a write; returns after commit and sync. `ring` names who shall look then."""
        return await self.writer.run(op, ring=ring)

    async def read(self, op: Callable[[sqlite3.Connection], T]) -> T:
        """Carry out a read."""
        return await self.reader.run(op)

    def has_room(self) -> bool:
        """Whether the disk has room for what is accepted."""
        now = boot_time()
        if now - self._room[0] > ROOM_FRESH:
            self._room = (now, room(self.settings.data) >= ACCEPT_ROOM)
        return self._room[1]

    async def refusing(self) -> str | None:
        """Why nothing can be accepted durably now, as a sentence; None if it can. Cached and shared between askers."""
        if boot_time() - self._probe[0] <= PROBE_FRESH:
            return self._probe[1]
        if self._probing is None or self._probing.done():
            self._probing = asyncio.create_task(self._ask_writer())
        try:
            async with asyncio.timeout(PROBE_DEADLINE):
                reason = await asyncio.shield(self._probing)
        except TimeoutError:
            reason = "the database does not answer: another process holds it"
        self._probe = (boot_time(), reason)
        return reason

    async def _ask_writer(self) -> str | None:
        if not self.has_room():
            return "the disk is almost full"
        try:
            waiting = await self.writer.run(_longest_queue)
        except (Locked, QueueFull):
            return "the database does not answer: another process holds it"
        except (Full, sqlite3.Error) as error:
            return f"the database cannot be written: {error}"
        if waiting >= self.settings.queue_limit:
            return f"{waiting} messages wait already, as many as GATEWAY_QUEUE_LIMIT allows"
        return None


def _longest_queue(conn: sqlite3.Connection) -> int:
    names = [s.name for s in sessions.all_(conn)]
    return max((int(counters.value(conn, "messages", {"session": n, "state": State.QUEUED.word})) for n in names), default=0)


CONTEXT = web.AppKey("context", Context)


def context_of(request: web.Request) -> Context:
    """The application's context."""
    return request.app[CONTEXT]


def wall() -> float:
    """Wall-clock seconds, for what is stored."""
    return time.time()
