"""The writer: one thread per process that commits what is waiting together, and answers after the sync.

A commit costs a sync; so all operations that wait while one is under way go into the next
transaction, each under a savepoint of its own. The queue is drained late: after the write lock was got.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self, TypeVar

import structlog

from gateway.beat import boot_time
from gateway.filesystem import NO_ROOM
from gateway.message import IllegalTransition
from gateway.store import counters, database, events, origin
from gateway.store.database import Full, Locked
from gateway.store.highwater import HighWater

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], T]
log = structlog.get_logger()

#: Operations that go into one transaction at most: beyond 200 rows a commit gets no cheaper, and others wait for the lock.
BATCH = 200
#: Exit status after a COMMIT that failed while syncing (EX_IOERR).
SYNC_FAILED = 74


class QueueFull(Exception):
    """More operations wait for the database than the writer takes."""


class Closed(Exception):
    """The writer was closed before it came to the operation: nothing of it happened."""


@dataclass(slots=True)
class _Waiting:
    operation: Operation[Any]
    future: asyncio.Future[Any]
    ring: Collection[str]
    outside: bool  #: between transactions, with no savepoint
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Owns the thread and its connection. Use it as `async with`.

    `ring` is called after each commit, from the thread, with the names whose bells are to ring.
    `deadline`: seconds to wait for the write lock. `pause`: seconds to stand back after each batch,
    so that others get the lock (0.0005 for the API). `limit`: operations that may wait. `ballast`:
    a file that is given up when the disk is full, so that outcomes can still be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        ring: Callable[[frozenset[str]], None] = lambda names: None,
        deadline: float = 5.0,
        pause: float = 0.0,
        limit: int = 10_000,
        ballast: Path | None = None,
    ) -> None:
        self._path, self._ring, self._deadline, self._pause = path, ring, deadline, pause
        self._limit, self._ballast = limit, ballast
        self._waiting: deque[_Waiting] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._conn: sqlite3.Connection | None = None
        self._high_water: HighWater | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        # in a thread: migrations may wait for the lock, and the main loop never waits for the database
        await self._loop.run_in_executor(None, self._open)
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()
        return self

    def _open(self) -> None:
        """Open the database and, before anything else, settle whether it is an older one. Raises Locked, Full, SchemaTooNew."""
        deadline = max(10.0, self._deadline)
        conn = database.open_database(self._path, deadline=deadline)
        try:
            with database.transaction(conn, boot_time() + deadline):
                held = origin.settle(conn, database=self._path, now=time.time())
            self._high_water = HighWater(self._path)
        except BaseException as error:
            conn.close()
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                raise Full("the disk is full") from error
            raise
        if held:
            log.warning("This database is a copy or a backup: what was open is held until it is released", held=held, alert=True)
        self._conn = conn

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Commit what waits, end the thread, close the connection."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None and self._loop is not None:
            await self._loop.run_in_executor(None, self._thread.join)
            self._thread = None
        if self._conn is not None:
            self._conn.close()
            self._conn = None
        if self._high_water is not None:
            self._high_water.close()
            self._high_water = None

    async def run(self, operation: Operation[T], *, ring: Collection[str] = ()) -> T:
        """Carry the operation out in the next transaction; returns after its commit is synced, then rings.

        What the operation raises undoes that operation alone and is raised here. Raises Locked, Full,
        QueueFull, Closed. Whatever is raised, nothing of the operation happened, so it may be done
        again: after a COMMIT nothing fails a batch. A caller that is cancelled does not stop the operation.
        """
        result: T = await self._enqueue(operation, ring, outside=False)
        return result

    async def between(self, operation: Operation[T]) -> T:
        """Carry the operation out between two transactions: for maintenance, which cannot run inside one."""
        result: T = await self._enqueue(operation, (), outside=True)
        return result

    def _enqueue(self, operation: Operation[Any], ring: Collection[str], outside: bool) -> asyncio.Future[Any]:
        assert self._loop is not None, "the writer is not open"
        future: asyncio.Future[Any] = self._loop.create_future()
        with self._wake:
            if self._closing:
                raise Closed("the writer is closed")
            if len(self._waiting) >= self._limit:
                raise QueueFull(f"{self._limit} operations wait for the database")
            self._waiting.append(_Waiting(operation, future, ring, outside))
            self._wake.notify()
        return future

    # -- in the thread

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._closing:
                    self._wake.wait()
                if not self._waiting:
                    return
                outside = self._waiting[0].outside
            batch = self._outside() if outside else self._transaction()
            self._answer(batch)
            if self._pause and not self._closing:
                time.sleep(self._pause)

    def _drain(self, most: int) -> list[_Waiting]:
        """The operations at the front of the queue that go into one transaction."""
        batch: list[_Waiting] = []
        with self._wake:
            while self._waiting and len(batch) < most and not self._waiting[0].outside:
                batch.append(self._waiting.popleft())
        return batch

    def _outside(self) -> list[_Waiting]:
        assert self._conn is not None
        with self._wake:
            one = self._waiting.popleft()
        try:
            one.result = one.operation(self._conn)
        except database.CommitFailed as error:
            _give_up(error)
        except Exception as error:
            database.rollback(self._conn)
            one.error = error
        return [one]

    def _transaction(self) -> list[_Waiting]:
        assert self._conn is not None
        with self._wake:
            were = len(self._waiting)
        try:
            database.begin(self._conn, boot_time() + self._deadline)
        except (Locked, Full, sqlite3.Error) as error:
            return _failed(self._drain(were), error)  # those that came meanwhile get a deadline of their own
        batch = self._drain(BATCH)
        try:
            self._carry_out(batch)
        except Full as error:
            if self._ballast is None or not database.drop_ballast(self._ballast):
                return _failed(batch, error)
            log.warning("The disk is full: the ballast was given up", path=str(self._ballast))
            try:
                database.begin(self._conn, boot_time() + self._deadline)
                self._carry_out(batch)
            except Exception as again:
                database.rollback(self._conn)
                return _failed(batch, again)
        except Exception as error:  # whatever it is, the thread lives on and every caller hears of it
            database.rollback(self._conn)
            return _failed(batch, error)
        names = frozenset(name for one in batch if one.error is None for name in one.ring)
        if names:
            _after_commit("ringing doorbells", lambda: self._ring(names))
        return batch

    def _carry_out(self, batch: list[_Waiting]) -> None:
        """All of the batch and the COMMIT. Raises Full; anything else that fails the COMMIT ends the process."""
        assert self._conn is not None
        for one in batch:
            one.result, one.error = None, None
            self._one(self._conn, one, alone=len(batch) == 1)
        if not self._conn.in_transaction:  # the only one was refused
            return
        reached, high_water = events.last(self._conn), self._high_water  # read before the COMMIT: an error here still undoes the batch
        assert high_water is not None
        try:
            database.commit(self._conn)
        except database.CommitFailed as error:
            _give_up(error)
        _after_commit("noting the high-water mark", lambda: high_water.note(reached))  # before anybody hears of the commit

    def _one(self, conn: sqlite3.Connection, one: _Waiting, *, alone: bool) -> None:
        """Carry it out, or undo it and no other. `alone`: it needs no savepoint, for which SQLite would copy each page that it changes."""
        if not alone:
            conn.execute("SAVEPOINT operation")
        try:
            one.result = one.operation(conn)
        except Exception as error:
            if not conn.in_transaction:  # SQLite has rolled all of it back by itself
                raise Full("the disk is full") if isinstance(error, sqlite3.Error) and database.full(error) else error from error
            if isinstance(error, sqlite3.Error) and database.full(error):
                database.rollback(conn)
                raise Full("the disk is full") from error
            one.error = error
            if alone:
                database.rollback(conn)
            else:
                conn.execute("ROLLBACK TO operation")
            if isinstance(error, IllegalTransition):
                log.error("An illegal transition was refused", error=str(error))
                if alone:
                    database.begin(conn, boot_time() + self._deadline)
                counters.bump(conn, "illegal_transitions_total", {})
        if not alone:
            conn.execute("RELEASE operation")

    def _answer(self, batch: list[_Waiting]) -> None:
        """One call into the loop for the whole batch."""
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(_resolve, batch)


def _give_up(error: database.CommitFailed) -> NoReturn:
    """Nobody knows whether the COMMIT is on the disk: answer nothing, exit, let recovery decide."""
    log.critical("A commit failed while syncing; exiting", error=str(error))
    os._exit(SYNC_FAILED)


def _after_commit(what: str, act: Callable[[], None]) -> None:
    """Do what follows a COMMIT. An error is logged and fails no caller: one that is told of an error does the same again."""
    try:
        act()
    except Exception as error:
        log.error("The batch is committed, but what follows a commit failed", step=what, reason=f"{type(error).__name__}: {error}")


def _failed(batch: list[_Waiting], error: BaseException) -> list[_Waiting]:
    for one in batch:
        one.result, one.error = None, error
    return batch


def _resolve(batch: list[_Waiting]) -> None:
    for one in batch:
        if one.future.done():  # its caller was cancelled
            continue
        if one.error is not None:
            one.future.set_exception(one.error)
        else:
            one.future.set_result(one.result)


class Reader:
    """One thread with a connection that only reads; each operation sees one snapshot. Use it as `async with`, after a Writer has opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader")
        self._conn: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        self._conn = await asyncio.get_running_loop().run_in_executor(self._executor, database.open_reader, self._path)
        return self

    async def __aexit__(self, *error: object) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            await asyncio.get_running_loop().run_in_executor(self._executor, conn.close)
        self._executor.shutdown(wait=False)

    async def run(self, operation: Operation[T]) -> T:
        """Carry the operation out in the reader's thread. What it raises is raised here."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._read, operation)

    def _read(self, operation: Operation[T]) -> T:
        assert self._conn is not None, "the reader is not open"
        self._conn.execute("BEGIN")
        try:
            return operation(self._conn)
        finally:
            database.rollback(self._conn)
