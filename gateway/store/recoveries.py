"""Recoveries: each a row with its cause, the rungs tried, times and result. One at a time for each session."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Literal

from gateway.store import clock, counters, events
from gateway.store.errors import AlreadyRunning

Status = Literal["running", "succeeded", "failed", "interrupted"]


@dataclass(frozen=True, slots=True)
class Rung:
    """One rung and when it was tried."""

    name: str
    at: float


@dataclass(frozen=True, slots=True)
class Recovery:
    """One recovery; `by` is who asked for it: watchdog or api."""

    id: int
    session: str
    cause: str
    strategy: str | None
    by: str
    rungs: list[Rung]
    status: Status
    detail: str | None
    started_at: float
    ended_at: float | None


def open_(conn: sqlite3.Connection, *, session: str, cause: str, strategy: str | None, by: str, now: float) -> int:
    """Begin a recovery. Returns its id; raises AlreadyRunning."""
    open_one = running(conn, session)
    if open_one is not None:
        raise AlreadyRunning(open_one.id)
    now = clock.now(conn, session, now)
    cursor = conn.execute(
        "INSERT INTO recovery(session, cause, strategy, by, started_at) VALUES (?, ?, ?, ?, ?)", (session, cause, strategy, by, now)
    )
    assert cursor.lastrowid is not None
    data = {"recovery": cursor.lastrowid, "cause": cause, "strategy": strategy, "by": by}
    events.append(conn, kind="recovery.running", session=session, data=data, now=now)
    return cursor.lastrowid


def rung(conn: sqlite3.Connection, *, id: int, rung: str, now: float) -> bool:
    """Note that this rung is tried now. Returns False if the recovery is over."""
    cursor = conn.execute(
        "UPDATE recovery SET rungs = json_insert(rungs, '$[#]', json_object('name', ?, 'at', ?)) WHERE id = ? AND status = 'running'",
        (rung, now, id),
    )
    if cursor.rowcount == 1:
        row = conn.execute("SELECT session FROM recovery WHERE id = ?", (id,)).fetchone()
        stamp = clock.now(conn, row["session"], now)
        events.append(conn, kind="recovery.rung", session=row["session"], data={"recovery": id, "rung": rung}, now=stamp)
    return cursor.rowcount == 1


def close(conn: sqlite3.Connection, *, id: int, status: Status, detail: str | None, now: float) -> bool:
    """End a recovery, once. Returns False if it was over before."""
    found = get(conn, id)
    if found is None:
        return False
    now = clock.now(conn, found.session, now)
    cursor = conn.execute(
        "UPDATE recovery SET status = ?, detail = ?, ended_at = ? WHERE id = ? AND status = 'running'", (status, detail, now, id)
    )
    if cursor.rowcount != 1:
        return False
    last = found.rungs[-1].name if found.rungs else "none"
    labels = {"session": found.session, "cause": found.cause, "rung": last, "result": status}
    counters.bump(conn, "recoveries_total", labels)
    counters.observe(conn, "recovery_seconds", {"session": found.session}, now - found.started_at)
    data = {"recovery": id, "rung": last, "detail": detail, "seconds": round(now - found.started_at, 3)}
    events.append(conn, kind=f"recovery.{status}", session=found.session, data=data, now=now)
    return True


def open_ids(conn: sqlite3.Connection) -> list[int]:
    """Ids of all recoveries that run, whatever their session."""
    return [row["id"] for row in conn.execute("SELECT id FROM recovery WHERE status = 'running'")]


def running(conn: sqlite3.Connection, session: str) -> Recovery | None:
    """The recovery of that session that runs now."""
    row = conn.execute("SELECT * FROM recovery WHERE session = ? AND status = 'running'", (session,)).fetchone()
    return _recovery(row) if row else None


def get(conn: sqlite3.Connection, id: int) -> Recovery | None:
    """One recovery; None if there is none."""
    row = conn.execute("SELECT * FROM recovery WHERE id = ?", (id,)).fetchone()
    return _recovery(row) if row else None


def list_(conn: sqlite3.Connection, *, session: str | None = None, before: int | None = None, limit: int = 50) -> list[Recovery]:
    """Youngest first; `before` is the id to go on from."""
    rows = conn.execute(
        "SELECT * FROM recovery WHERE (? IS NULL OR session = ?) AND (? IS NULL OR id < ?) ORDER BY id DESC LIMIT ?",
        (session, session, before, before, limit),
    )
    return [_recovery(row) for row in rows]


def _recovery(row: sqlite3.Row) -> Recovery:
    values = dict(row)
    values["rungs"] = [Rung(**one) for one in json.loads(values["rungs"])]
    return Recovery(**values)
