"""A backup of the database while everything runs, and putting it back while nothing does.

Only the database: WhatsApp's keys, in the browser's profile, must never go back to an earlier state
(docs/operating.md).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from gateway.filesystem import sync
from gateway.ownership import give_to_parents_owner, refusal
from gateway.process import try_lock
from gateway.settings import Settings
from gateway.store import holds
from gateway.store.database import open_to_inspect, version
from gateway.store.migrations import STEPS
from gateway.supervision import supervisorctl

#: Seconds that a stop may still take: `supervisorctl shutdown` answers before all have ended.
ENDING = 10.0


class Refused(Exception):
    """Nothing was changed; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Restored:
    """`open`: messages that will be held when the gateway starts; `aside`: the database that was here before, if there was one."""

    open: int
    aside: Path | None


def backup(settings: Settings, to: Path) -> int:
    """Write a whole copy of the database as it was at one moment, readable by its owner alone. Returns its bytes. Raises Refused."""
    if not settings.database.exists():
        raise Refused(f"there is no database at {settings.database}: set GATEWAY_DATA as the gateway has it")
    try:
        os.close(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        raise Refused(f"{to} exists, and is not overwritten: choose another name") from None
    except OSError as error:
        raise Refused(f"{to} cannot be written: {error.strerror}") from None
    try:
        with closing(open_to_inspect(settings.database)) as conn:
            conn.execute("VACUUM INTO ?", [str(to)])  # an empty file is as good as none to it; it keeps the mode
        sync(to)
    except (sqlite3.Error, OSError) as error:
        to.unlink(missing_ok=True)
        raise Refused(f"the backup could not be made: {refusal(settings.data, 1) or error}") from None
    return to.stat().st_size


def restore(settings: Settings, backup: Path) -> Restored:
    """Put the backup in the database's place; the one that is there is kept beside it. Raises Refused, also while anything runs."""
    with _nothing_runs(settings):
        count = _examined(backup)
        database, fresh = settings.database, settings.database.with_suffix(".restoring")
        try:
            shutil.copyfile(backup, fresh)
            fresh.chmod(0o600)
            give_to_parents_owner(fresh)
            sync(fresh)
            aside = _set_aside(database) if database.exists() else None
            fresh.replace(database)
            sync(database.parent)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise Refused(f"the backup could not be put back: {error}") from None
    return Restored(count, aside)


@contextlib.contextmanager
def _nothing_runs(settings: Settings) -> Iterator[None]:
    """Holds the locks of all processes that ever ran here, so that none begins meanwhile. Raises Refused if one goes on running."""
    until = time.monotonic() + ENDING
    with contextlib.ExitStack() as held:
        for lock in sorted(settings.run.glob("*.lock")):
            try:
                fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
            except PermissionError as error:
                raise Refused(refusal(settings.data) or str(error)) from None
            held.callback(os.close, fd)
            while not try_lock(fd):
                if time.monotonic() > until:
                    stop = f"`{supervisorctl(settings, 'shutdown')}`, or Ctrl-C where `gateway up` runs"
                    raise Refused(f"{lock.stem} runs: stop the gateway first ({stop})")
                time.sleep(0.1)
        yield


def _examined(backup: Path) -> int:
    """How many of its messages are open. Raises Refused if it is no sound database of a gateway that we know."""
    try:
        with closing(open_to_inspect(backup)) as conn:
            found = version(conn)
            if not found:
                raise Refused(f"{backup} is no database of a gateway")
            if found > len(STEPS):
                raise Refused(f"{backup} has schema {found} and this program knows {len(STEPS)}: run the newer version that wrote it")
            said = conn.execute("PRAGMA quick_check(1)").fetchone()[0]
            if said != "ok":
                raise Refused(f"{backup} is damaged: {said}")
            return holds.would_hold(conn)
    except sqlite3.Error as error:
        raise Refused(f"{backup} cannot be read as a database of a gateway: {error}") from None


def _set_aside(database: Path) -> Path:
    """Keep the present database under a name of its own, and leave nothing that SQLite would apply to the next one.

    A log that stayed would be carried out on the backup. What can be moved into its database is; a damaged one keeps its log.
    """
    aside = database.with_name(f"{database.stem}.before-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}{database.suffix}")
    with contextlib.suppress(sqlite3.Error), closing(sqlite3.connect(database)) as conn:
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.link(database, aside)  # never a moment without a database: a start would make an empty one
    log = database.with_name(f"{database.name}-wal")
    if log.exists():
        log.rename(aside.with_name(f"{aside.name}-wal"))
    database.with_name(f"{database.name}-shm").unlink(missing_ok=True)
    return aside
