"""The event log: what happened, in order, for live views, webhooks and each message's history."""

# ruff: noqa: S608 (what is put into SQL here are constants of this module, never a value)

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from gateway.store import bulk, clock


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log. `id` is the cursor; `kind` is noun.verb: message.sent, session.ready, recovery.running."""

    id: int
    at: float
    kind: str
    session: str | None
    message: str | None  #: public id
    data: dict[str, Any]


def append(
    conn: sqlite3.Connection, *, kind: str, session: str | None, message: int | None = None, data: dict[str, Any] | None = None, now: float
) -> int:
    """Write one event; `message` is the outbox row's number. Returns its cursor."""
    clock.stamped(conn, session, now)
    cursor = conn.execute(
        "INSERT INTO event(at, kind, session, message, data) VALUES (?, ?, ?, ?, ?)", (now, kind, session, message, json.dumps(data or {}))
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def append_many(
    conn: sqlite3.Connection, *, kind: str, rows: Iterable[tuple[str, int]], data: dict[str, Any] | None = None, now: float
) -> None:
    """The same event for many (session, message row)."""
    text, rows = json.dumps(data or {}), list(rows)
    for session in {session for session, _ in rows}:
        clock.stamped(conn, session, now)
    bulk.insert(conn, "event(at, kind, session, message, data)", [(now, kind, session, message, text) for session, message in rows])


def append_range(conn: sqlite3.Connection, *, kind: str, first: int, last: int) -> None:
    """The same event for the messages of these fresh outbox rows, in their order, at their acceptance, which has moved the clock."""
    conn.execute(
        "INSERT INTO event(at, kind, session, message, data) "
        "SELECT accepted, ?, session, id, '{}' FROM outbox WHERE id BETWEEN ? AND ? ORDER BY id",
        (kind, first, last),
    )


def after(conn: sqlite3.Connection, cursor: int, limit: int, kinds: Collection[str] | None = None) -> list[Event]:
    """Events younger than the cursor, oldest first. A kind may be a family: `message` means all of message.*."""
    where, arguments = "", list[object]()
    if kinds is not None:
        where = " AND (" + " OR ".join("e.kind = ? OR e.kind GLOB ?" for _ in kinds) + ")" if kinds else " AND 0"
        for kind in kinds:
            arguments += [kind, f"{kind}.*"]
    rows = conn.execute(
        "SELECT e.id, e.at, e.kind, e.session, o.public, e.data FROM event e LEFT JOIN outbox o ON o.id = e.message "
        f"WHERE e.id > ?{where} ORDER BY e.id LIMIT ?",
        (cursor, *arguments, limit),
    )
    return [Event(r["id"], r["at"], r["kind"], r["session"], r["public"], json.loads(r["data"])) for r in rows]


def last(conn: sqlite3.Connection) -> int:
    """The cursor of the youngest event; 0 if there never was one."""
    row = conn.execute("SELECT seq FROM sqlite_sequence WHERE name = 'event'").fetchone()
    return int(row[0]) if row else 0


def continue_after(conn: sqlite3.Connection, cursor: int) -> None:
    """The next event gets a cursor beyond this one: readers of a database that was put back miss nothing of what comes now."""
    if last(conn) < cursor:
        conn.execute("DELETE FROM sqlite_sequence WHERE name = 'event'")
        conn.execute("INSERT INTO sqlite_sequence(name, seq) VALUES ('event', ?)", (cursor,))


def first(conn: sqlite3.Connection) -> int:
    """The cursor of the oldest event still there: a reader behind it has missed some. 0 if there is none."""
    row = conn.execute("SELECT min(id) FROM event").fetchone()
    return int(row[0] or 0)
