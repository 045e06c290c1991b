"""SQLite's own: opening, pragmas, transactions that do not starve, what a full disk means.

Nothing outside this file (and the schema in migrations.py) needs to know which database it is,
but for the SQL itself.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from gateway.beat import boot_time
from gateway.filesystem import NO_ROOM
from gateway.store.migrations import STEPS

#: Bytes that must be free to accept a message, and to claim one; what is left is for outcomes.
ACCEPT_ROOM = 200_000_000
CLAIM_ROOM = 100_000_000
#: Bytes set aside in a file, given back when the disk is full, so that outcomes can still be written.
BALLAST = 32 * 1024 * 1024
#: Pages after which SQLite checkpoints by itself: p99 of a commit 0.7 ms, against 11.8 ms with the default of 1000.
AUTO_CHECKPOINT = 8_000
#: Bytes that the WAL is cut back to after a checkpoint.
WAL_LIMIT = 64 * 1024 * 1024


class Locked(Exception):
    """Another process held the write lock until the deadline."""


class Full(Exception):
    """The disk is full; nothing of the transaction happened."""


class SchemaTooNew(Exception):
    """A newer program has written this database."""


def open_database(path: Path, *, deadline: float = 10.0) -> sqlite3.Connection:
    """Open for writing, create and migrate where needed. The file is readable by its owner alone.

    `deadline` is seconds to wait for the write lock. Raises SchemaTooNew, Locked, Full.
    """
    try:
        _create(path)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise Full("the disk is full") from error
        raise
    conn = _connect(path)
    try:
        _patiently(conn, "PRAGMA auto_vacuum = INCREMENTAL", boot_time() + deadline)  # has an effect before the first table only
        _patiently(conn, "PRAGMA journal_mode = WAL", boot_time() + deadline)
        conn.execute("PRAGMA synchronous = FULL")
        conn.execute(f"PRAGMA wal_autocheckpoint = {AUTO_CHECKPOINT}")
        conn.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT}")
        migrate(conn, boot_time() + deadline)
        # after the migrations, which may sort whole tables: what a savepoint keeps of changed pages lies in memory,
        # not in a file that each batch makes, writes and deletes
        conn.execute("PRAGMA temp_store = MEMORY")
    except BaseException as error:
        conn.close()
        if isinstance(error, sqlite3.OperationalError) and full(error):
            raise Full("the disk is full") from error
        raise
    return conn


def open_reader(path: Path) -> sqlite3.Connection:
    """Open for reading alone. Raises sqlite3.OperationalError if there is no database."""
    conn = _connect(path, "?mode=rw")  # not mode=ro: a reader may have to recover the WAL
    conn.execute("PRAGMA query_only = ON")
    return conn


def open_to_inspect(path: Path) -> sqlite3.Connection:
    """Open for a look that changes nothing: it never checkpoints, not even as the last one to close. Raises sqlite3.OperationalError."""
    return _connect(path, "?mode=ro")


def _create(path: Path) -> None:
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))


def _connect(path: Path, query: str = "") -> sqlite3.Connection:
    # isolation_level=None: we begin and end transactions ourselves; timeout 0: we retry ourselves.
    # check_same_thread=False: opened in one thread, used by exactly one other.
    conn = sqlite3.connect(
        f"file:{quote(str(path))}{query}", uri=True, isolation_level=None, timeout=0, check_same_thread=False, cached_statements=512
    )
    conn.row_factory = sqlite3.Row
    conn.execute("PRAGMA foreign_keys = ON")
    return conn


def _patiently(conn: sqlite3.Connection, pragma: str, until: float) -> None:
    """Of processes that open a new database at once, one gets "database is locked" for pragmas like these."""
    while True:
        try:
            conn.execute(pragma)
            return
        except sqlite3.OperationalError as error:
            if not _busy(error):
                raise
            if boot_time() > until:
                raise Locked("another process held the database until the deadline") from None
            time.sleep(0.002)


def migrate(conn: sqlite3.Connection, until: float) -> None:
    """Bring the schema up to date. `until` is boot-clock seconds. Raises SchemaTooNew, Locked."""
    if version(conn) == len(STEPS):
        return
    conn.execute("PRAGMA foreign_keys = OFF")  # a table that is made anew must not take with it what refers to it
    try:
        _migrate(conn, until)
    finally:
        conn.execute("PRAGMA foreign_keys = ON")


def _migrate(conn: sqlite3.Connection, until: float) -> None:
    with transaction(conn, until):
        found = version(conn)
        if found > len(STEPS):
            raise SchemaTooNew(
                f"the database has schema {found} and this program knows {len(STEPS)}: "
                "it was written by a newer version of the gateway; run that version, or restore a backup made before the upgrade"
            )
        _apply(conn)
        conn.execute(f"PRAGMA user_version = {len(STEPS)}")


def _apply(conn: sqlite3.Connection) -> None:
    """Apply the steps that are missing, each recorded with its time in the table of sqlite-utils; nests in our transaction."""
    # imported here: only a schema that is to be written needs it, and it costs each start of a process some 10 MB
    from sqlite_utils import Database, Migrations

    steps = Migrations("gateway")
    for number, step in enumerate(STEPS, 1):

        def run(_: Database, step: str = step) -> None:
            for statement in _statements(step):
                conn.execute(statement)

        steps(name=f"{number:04}")(run)
    steps.apply(Database(conn))


def _statements(script: str) -> Iterator[str]:
    """The script's statements one by one: executescript() would commit first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def version(conn: sqlite3.Connection) -> int:
    """How many migrations the database has seen."""
    return int(conn.execute("PRAGMA user_version").fetchone()[0])


@contextlib.contextmanager
def transaction(conn: sqlite3.Connection, deadline: float) -> Iterator[None]:
    """One write transaction; rolled back if the block raises.

    The lock is asked for again each 0.2–1 ms until `deadline` (boot clock): SQLite's own busy
    handler lets two writing processes starve each other. Raises Locked, Full, and CommitFailed
    where a COMMIT fails for another reason, that is, while syncing.
    """
    begin(conn, deadline)
    try:
        yield
    except BaseException as error:
        rollback(conn)
        if isinstance(error, sqlite3.OperationalError) and full(error):
            raise Full("the disk is full") from error
        raise
    commit(conn)


class CommitFailed(Exception):
    """COMMIT failed while syncing: nobody knows whether it happened. Answer nothing, exit."""


def begin(conn: sqlite3.Connection, deadline: float) -> None:
    """BEGIN IMMEDIATE, retried until `deadline` (boot clock). Raises Locked, Full."""
    while True:
        try:
            conn.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if full(error):
                raise Full("the disk is full") from error
            if not _busy(error):
                raise
        if boot_time() >= deadline:
            raise Locked("another process held the database until the deadline")
        time.sleep(random.uniform(0.0002, 0.001))


def commit(conn: sqlite3.Connection) -> None:
    """COMMIT and sync. Raises Full (nothing happened) or CommitFailed (nobody knows)."""
    try:
        conn.execute("COMMIT")
    except sqlite3.Error as error:
        rollback(conn)
        # the -shm file grows after the frames were written: whether they count then, nobody knows
        if isinstance(error, sqlite3.OperationalError) and full(error) and error.sqlite_errorcode != sqlite3.SQLITE_IOERR_SHMSIZE:
            raise Full("the disk is full") from error
        raise CommitFailed(str(error)) from error


def rollback(conn: sqlite3.Connection) -> None:
    """Undo the transaction if there still is one: SQLite has rolled back by itself after some errors."""
    if conn.in_transaction:
        with contextlib.suppress(sqlite3.Error):
            conn.execute("ROLLBACK")


def full(error: sqlite3.Error) -> bool:
    """Whether the error means a full disk: SQLite says so in three ways, the last where the -shm file cannot grow."""
    code = getattr(error, "sqlite_errorcode", None)
    return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE)


def _busy(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) or 0
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def room(path: Path) -> int:
    """Bytes free for us on the file system that holds `path` (a file or a directory)."""
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize


def has_room_to_claim(path: Path) -> bool:
    """Whether the disk has room for more than outcomes of what is under way; one that does not say is none to be judged by."""
    try:
        return room(path) >= CLAIM_ROOM
    except OSError:
        return True


def keep_ballast(path: Path) -> bool:
    """Set the ballast aside at `path` unless it is there or the disk is too full for it. Returns whether it is there.

    Raises OSError if the disk filled up meanwhile.
    """
    if path.exists():
        return True
    if room(path.parent) < ACCEPT_ROOM + BALLAST:
        return False
    fresh = path.with_name(f"{path.name}.new")
    fd = os.open(fresh, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, BALLAST)
        fresh.rename(path)  # never half a ballast: it would count as one for ever
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    return True


def drop_ballast(path: Path) -> bool:
    """Give the ballast back to a full disk. Returns whether there was any."""
    try:
        path.unlink()
    except OSError:
        return False
    return True
