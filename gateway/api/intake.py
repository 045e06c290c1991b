"""Requests that come at the same time are accepted together: one operation of the writer, one commit, one sync for all of them.

While one round is being written down, the next one gathers. An operation must be able to run
twice (the writer repeats a batch after it gave the ballast up), so a round is fixed before it is handed over.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import structlog

from gateway.settings import Settings
from gateway.store import intake
from gateway.store.database import Full, Locked
from gateway.store.intake import Outcome, Request
from gateway.store.model import Accepted
from gateway.store.writer import Closed, QueueFull, Writer

log = structlog.get_logger()

#: Messages in one round at most: beyond some hundred rows a commit gets no cheaper, and others wait for the lock.
ROUND = 300
#: Requests that may wait; beyond it they are refused at once, before memory is what bounds them.
LIMIT = 10_000


#: Called once, with what became of a request: None if there is no room, an exception if it was refused or nothing happened.
Reply = Callable[[Outcome | Exception | None], None]


class _Waiting(NamedTuple):
    request: Request
    reply: Reply


class Intake:
    """run() it in a task. `has_room` says whether the disk has room for new messages, `now` is the wall clock."""

    def __init__(self, settings: Settings, writer: Writer, has_room: Callable[[], bool], now: Callable[[], float]) -> None:
        self._settings, self._writer, self._has_room, self._now = settings, writer, has_room, now
        self._waiting: list[_Waiting] = []
        self._some = asyncio.Event()

    async def accept(self, request: Request) -> Accepted | None:
        """Accept; returns after commit and sync. None: there is no room, and the request is no repeat.

        Raises IdempotencyConflict, QueueLimit, NotFound, Locked, Full, QueueFull.
        """
        future: asyncio.Future[Outcome | Exception | None] = asyncio.get_running_loop().create_future()

        def reply(outcome: Outcome | Exception | None) -> None:
            if not future.done():  # its caller was cancelled
                future.set_result(outcome)

        self.submit(request, reply)
        outcome = await future
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def submit(self, request: Request, reply: Reply) -> None:
        """The same without a task that waits: `reply` gets what accept() would return or raise, after commit and sync. Raises QueueFull."""
        if len(self._waiting) >= LIMIT:
            raise QueueFull(f"{LIMIT} requests wait for the database")
        self._waiting.append(_Waiting(request, reply))
        self._some.set()

    async def run(self) -> None:
        """Write rounds for ever; when cancelled, whoever still waits is told so."""
        try:
            while True:
                await self._some.wait()
                await self._settle()
                await self._write(self._gather())
        finally:
            _refuse(self._waiting, Closed("the gateway is going down"))

    async def _settle(self) -> None:
        """Let what has arrived at the sockets come in first."""
        before = 0
        while before < len(self._waiting) < ROUND:
            before = len(self._waiting)
            await asyncio.sleep(0)

    def _gather(self) -> list[_Waiting]:
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

    async def _write(self, gathered: list[_Waiting]) -> None:
        requests = [request for request, _ in gathered]
        names = {f"browser-{draft.session}" for request in requests for draft in request.drafts}
        try:
            outcomes = await self._writer.run(partial(self._op, requests, self._has_room()), ring=names)
        except asyncio.CancelledError:
            _refuse(gathered, Closed("the gateway is going down"))
            raise
        except (Locked, Full, QueueFull, Closed) as error:
            _refuse(gathered, error)
        except Exception as error:
            # One request is beyond what the store expects. Nothing of the round happened (Writer.run), so each is tried by
            # itself, and the others are taken.
            if len(gathered) == 1:
                _refuse(gathered, error)
                return
            for one in gathered:
                await self._write([one])
        else:
            for waiting, outcome in zip(gathered, outcomes, strict=True):
                _answer(waiting, outcome)

    def _op(self, requests: list[Request], room: bool, conn: sqlite3.Connection) -> list[Outcome | None]:
        return intake.accept_all(conn, requests=requests, now=self._now(), queue_limit=self._settings.queue_limit, room=room)


def _refuse(gathered: list[_Waiting], error: Exception) -> None:
    for waiting in gathered:
        _answer(waiting, error)


def _answer(waiting: _Waiting, outcome: Outcome | Exception | None) -> None:
    """Call the request's reply. If it raises, the other requests of the round still get their answers."""
    try:
        waiting.reply(outcome)
    except Exception as error:
        log.error("A request's answer could not be written", reason=f"{type(error).__name__}: {error}")
