"""Commands from the API to the host and the watchdog: rows with a deadline and a result."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Any, Literal

Target = Literal["browser", "watchdog"]


@dataclass(frozen=True, slots=True)
class Command:
    """What is asked, for the one who carries it out; `deadline` is wall-clock seconds."""

    id: int
    session: str
    kind: str
    args: dict[str, Any]
    deadline: float


@dataclass(frozen=True, slots=True)
class CommandRow:
    """What became of it: open while `answered_at` is None; then either `result` or `error`."""

    id: int
    session: str
    target: str
    kind: str
    args: dict[str, Any]
    asked_at: float
    deadline: float
    taken_at: float | None
    answered_at: float | None
    result: Any
    error: str | None


def ask(conn: sqlite3.Connection, *, session: str, target: Target, kind: str, args: dict[str, Any], now: float, deadline: float) -> int:
    """Ask for something until `deadline` (wall clock). Returns the command's id."""
    cursor = conn.execute(
        "INSERT INTO command(session, target, kind, args, asked_at, deadline) VALUES (?, ?, ?, ?, ?, ?)",
        (session, target, kind, json.dumps(args), now, deadline),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def asked(conn: sqlite3.Connection, *, target: Target, session: str) -> bool:
    """Whether there is something to take."""
    query = "SELECT EXISTS (SELECT 1 FROM command WHERE taken_at IS NULL AND answered_at IS NULL AND target = ? AND session = ?)"
    return bool(conn.execute(query, (target, session)).fetchone()[0])


def take(conn: sqlite3.Connection, *, target: Target, session: str | None = None, now: float, limit: int = 100) -> list[Command]:
    """Take what is asked, oldest first, each only once; session None takes for all.

    What is past its deadline is answered with the error `deadline` and not returned: nobody waits for it any more.
    """
    rows = conn.execute(
        "SELECT id, session, kind, args, deadline FROM command WHERE taken_at IS NULL AND answered_at IS NULL "
        "AND target = ? AND (? IS NULL OR session = ?) ORDER BY id LIMIT ?",
        (target, session, session, limit),
    ).fetchall()
    taken = []
    for row in rows:
        if row["deadline"] < now:
            answer(conn, id=row["id"], error="deadline", now=now)
            continue
        conn.execute("UPDATE command SET taken_at = ? WHERE id = ?", (now, row["id"]))
        taken.append(Command(row["id"], row["session"], row["kind"], json.loads(row["args"]), row["deadline"]))
    return taken


def answer(conn: sqlite3.Connection, *, id: int, result: Any = None, error: str | None = None, now: float) -> bool:
    """Write the result (anything JSON) or the error, once. Returns False if it was answered before or is unknown."""
    cursor = conn.execute(
        "UPDATE command SET answered_at = ?, result = ?, error = ? WHERE id = ? AND answered_at IS NULL",
        (now, json.dumps(result), error, id),
    )
    return cursor.rowcount == 1


def get(conn: sqlite3.Connection, id: int) -> CommandRow | None:
    """One command; None if there is none (or no more: answered ones are kept for a day)."""
    row = conn.execute("SELECT * FROM command WHERE id = ?", (id,)).fetchone()
    if row is None:
        return None
    values = dict(row)
    values["args"] = json.loads(values["args"])
    values["result"] = json.loads(values["result"]) if values["result"] is not None else None
    return CommandRow(**values)
