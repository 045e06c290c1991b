"""What the database says: its schema, the clock against what was accepted, the lanes."""

from __future__ import annotations

import ctypes
import shlex
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from gateway.doctor.finding import Finding, fail, ok, split, warn
from gateway.ownership import refusal
from gateway.settings import Settings
from gateway.store import lanes, sessions
from gateway.store.database import open_to_inspect, version
from gateway.store.migrations import STEPS

#: Seconds that two clocks may part before it is worth a word (ARCHITECTURE, rule 7).
APART = 5.0
_STA_UNSYNC, _STATUS_AT = 0x40, 40


def _read(settings: Settings, judge: Callable[[sqlite3.Connection], Finding], without: str) -> Finding:
    """The judgement of one snapshot of the database; `without` is said where there is none yet."""
    if not settings.database.exists():
        return ok(without)
    try:
        with closing(open_to_inspect(settings.database)) as conn:
            conn.execute("BEGIN")
            return judge(conn)
    except sqlite3.Error as error:
        return judge_unreadable(settings.database, error, refusal(settings.data, depth=1))


def judge_unreadable(database: Path, error: sqlite3.Error, refused: str | None) -> Finding:
    """`refused`: that files beside it are another user's. Only what SQLite calls damage is called so."""
    if refused:
        return split(refused)
    said, name = f"{database} cannot be read: {error}", getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return fail(f"{said}; it is damaged", "stop the gateway and put a backup back: `gateway restore BACKUP`")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return warn(said, "another process works on it: run `gateway doctor` again")
    look = f"`ls -l {shlex.quote(str(database))}*`"
    return fail(said, f"see whether this user may read and write it ({look}), and whether the disk is well (`dmesg`)")


def schema(settings: Settings) -> Finding:
    """Not newer than this program."""
    return _read(settings, lambda conn: judge_schema(version(conn), len(STEPS)), "there is no database yet; the first start makes it")


def judge_schema(found: int, known: int) -> Finding:
    if found > known:
        return fail(f"the database has schema {found} and this program knows {known}", "run the newer version of the gateway that wrote it")
    return ok(f"schema {found}" + (f"; the next start brings it to {known}" if found < known else ""))


def clock(settings: Settings) -> Finding:
    """Not behind what was accepted already, and kept right by someone."""

    def judge(conn: sqlite3.Connection) -> Finding:
        if version(conn) != len(STEPS):
            return judge_clock(time.time(), 0.0, synchronized())
        return judge_clock(time.time(), max((row.last_accepted for row in sessions.all_(conn)), default=0.0), synchronized())

    found = _read(settings, judge, "")
    return found if found.said else judge_clock(time.time(), 0.0, synchronized())


def judge_clock(now: float, last_accepted: float, in_step: bool | None) -> Finding:
    """`in_step`: whether the kernel's clock is disciplined; None if it does not say."""
    if now < last_accepted - APART:
        return fail(
            f"the clock stands {last_accepted - now:.0f} s before the last accepted message: it was set back",
            "set it right (`timedatectl set-ntp true`); back-offs are brought forward by themselves, times given by send_at are not",
        )
    if in_step is False:
        return warn("nothing keeps the clock of this machine right", "run chrony, ntpd or systemd-timesyncd here, or on the host")
    return ok("the clock is not behind what was accepted" + ("" if in_step is None else ", and is kept right"))


def synchronized() -> bool | None:
    """Whether something like NTP disciplines the kernel's clock (adjtimex, asked and not set)."""
    state = ctypes.create_string_buffer(512)
    try:
        if ctypes.CDLL(None, use_errno=True).adjtimex(state) < 0:
            return None
    except AttributeError:
        return None
    return not int.from_bytes(state.raw[_STATUS_AT : _STATUS_AT + 4], "little") & _STA_UNSYNC


def lanes_in_step(settings: Settings) -> Finding:
    """The lanes are what one query derives."""

    def judge(conn: sqlite3.Connection) -> Finding:
        if version(conn) != len(STEPS):
            return ok("not compared: the schema is not this program's")
        return judge_lanes(lanes.check(conn))

    return _read(settings, judge, "there is no queue yet")


def judge_lanes(differences: list[str]) -> Finding:
    if not differences:
        return ok("each chat's lane is in step with its queue")
    said = f"{len(differences)} lanes are out of step with the queue, so messages may wait for ever; the first is {differences[0][:120]}"
    return fail(said, "`gateway doctor --rebuild-lanes` makes them anew, also while the gateway runs; and report it, as it is a bug")
