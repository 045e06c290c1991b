"""Requests that come at the same time are accepted together: one operation of the writer, one commit, one sync for all of them.

While one round is being written down, the next one gathers. An operation must be able to run
twice (the writer repeats a batch after it gave the ballast up), so a round is fixed before it is handed over.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial

from gateway.settings import Settings
from gateway.store import intake
from gateway.store.database import Full, Locked
from gateway.store.intake import Outcome, Request
from gateway.store.model import Accepted
from gateway.store.writer import Closed, QueueFull, Writer

#: Messages in one round at most: beyond some hundred rows a commit gets no cheaper, and others wait for the lock.
ROUND = 300
#: Requests that may wait; beyond it they are refused at once, before memory is what bounds them.
LIMIT = 10_000


class Intake:
    """run() it in a task. `has_room` says whether the disk has room for new messages, `now` is the wall clock."""

    def __init__(self, settings: Settings, writer: Writer, has_room: Callable[[], bool], now: Callable[[], float]) -> None:
        self._settings, self._writer, self._has_room, self._now = settings, writer, has_room, now
        self._waiting: list[tuple[Request, asyncio.Future[Outcome | None]]] = []
        self._some = asyncio.Event()

    async def accept(self, request: Request) -> Accepted | None:
        """Accept; returns after commit and sync. None: there is no room, and the request is no repeat.

        Raises IdempotencyConflict, QueueLimit, NotFound, Locked, Full, QueueFull.
        """
        if len(self._waiting) >= LIMIT:
            raise QueueFull(f"{LIMIT} requests wait for the database")
        future: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        self._some.set()
        outcome = await future
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def run(self) -> None:
        """Write rounds for ever; when cancelled, whoever still waits is told so."""
        try:
            while True:
                await self._some.wait()
                await self._write(self._gather())
        finally:
            for _, future in self._waiting:
                if not future.done():
                    future.set_exception(Closed("the gateway is going down"))

    def _gather(self) -> list[tuple[Request, asyncio.Future[Outcome | None]]]:
        messages = count = 0
        for request, _ in self._waiting:
            messages += len(request.drafts)
            if count and messages > ROUND:
                break
            count += 1
        gathered, self._waiting = self._waiting[:count], self._waiting[count:]
        if not self._waiting:
            self._some.clear()
        return gathered

    async def _write(self, gathered: list[tuple[Request, asyncio.Future[Outcome | None]]]) -> None:
        requests = [request for request, _ in gathered]
        names = {f"browser-{draft.session}" for request in requests for draft in request.drafts}
        try:
            outcomes = await self._writer.run(partial(self._op, requests, self._has_room()), ring=names)
        except asyncio.CancelledError:
            _refuse(gathered, Closed("the gateway is going down"))
            raise
        except (Locked, Full, QueueFull, Closed) as error:
            _refuse(gathered, error)
        except Exception as error:  # one of them is beyond what the store expects: each by itself, so that the others are taken
            if len(gathered) == 1:
                _refuse(gathered, error)
                return
            for one in gathered:
                await self._write([one])
        else:
            for (_, future), outcome in zip(gathered, outcomes, strict=True):
                if not future.done():
                    future.set_result(outcome)

    def _op(self, requests: list[Request], room: bool, conn: sqlite3.Connection) -> list[Outcome | None]:
        return intake.accept_all(conn, requests=requests, now=self._now(), queue_limit=self._settings.queue_limit, room=room)


def _refuse(gathered: list[tuple[Request, asyncio.Future[Outcome | None]]], error: Exception) -> None:
    for _, future in gathered:
        if not future.done():
            future.set_exception(error)
