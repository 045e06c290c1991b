"""Commands from the API to the host and the watchdog: rows with a deadline and a result."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from gateway.store import clock, recoveries, sessions
from gateway.store.sessions import Fence

#: The command to the watchdog whose `recovery` argument is the id of a recovery row that the API opened with it.
RECOVER = "recover"
#: Error of a command that its deadline passed before it was taken.
DEADLINE = "deadline"

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


def take(
    conn: sqlite3.Connection,
    *,
    target: Target,
    session: str | None = None,
    fence: Fence | None = None,
    now: float,
    limit: int = 100,
) -> list[Command]:
    """Take what is asked, oldest first, each only once; session None takes for all.

    A host gives its `fence`: one that has a successor takes nothing. The watchdog has none, its lock keeps it single.
    What is past its deadline is answered with the error `deadline` and not returned: nobody waits for it any more. Raises Fenced.
    """
    if fence is not None:
        sessions.check(conn, fence)
    rows = conn.execute(
        "SELECT id, session, kind, args, asked_at, deadline FROM command WHERE taken_at IS NULL AND answered_at IS NULL "
        "AND target = ? AND (? IS NULL OR session = ?) ORDER BY id LIMIT ?",
        (target, session, session, limit),
    ).fetchall()
    taken = []
    for row in rows:
        if row["deadline"] < now or clock.ahead(row["asked_at"], now):  # the clock was set back since: how old it is nobody knows
            answer(conn, id=row["id"], error=DEADLINE, now=now)
            continue
        conn.execute("UPDATE command SET taken_at = ? WHERE id = ?", (now, row["id"]))
        taken.append(Command(row["id"], row["session"], row["kind"], json.loads(row["args"]), row["deadline"]))
    return taken


def answer(
    conn: sqlite3.Connection, *, id: int, result: Any = None, error: str | None = None, fence: Fence | None = None, now: float
) -> bool:
    """Write the result (anything JSON) or the error, once. Returns False if it was answered before or is unknown.

    An error of a `recover` command also closes the recovery row that waits for it: no process runs that recovery.
    A host gives its `fence`, as in `take`. Raises Fenced.
    """
    if fence is not None:
        sessions.check(conn, fence)
    row = conn.execute(
        "UPDATE command SET answered_at = ?, result = ?, error = ? WHERE id = ? AND answered_at IS NULL RETURNING kind, args",
        (now, json.dumps(result), error, id),
    ).fetchone()
    if row is None:
        return False
    if error is not None and row["kind"] == RECOVER:
        recovery = json.loads(row["args"]).get("recovery")
        why = "the watchdog did not take it up in time" if error == DEADLINE else error
        recoveries.close(conn, id=recovery, status="failed", detail=f"not begun: {why}", now=now)
    return True


def expire(conn: sqlite3.Connection, *, now: float) -> int:
    """Answer what nobody took before its deadline, whether its process runs or not. Returns how many."""
    rows = conn.execute(
        "SELECT id FROM command WHERE taken_at IS NULL AND answered_at IS NULL AND (deadline < ? OR asked_at > ?)", (now, now + clock.STEP)
    ).fetchall()
    for row in rows:
        answer(conn, id=row["id"], error=DEADLINE, now=now)
    return len(rows)


def interrupt(conn: sqlite3.Connection, *, target: Target, session: str | None = None, now: float) -> int:
    """Answer what a predecessor of this process took and never answered; session None is for all. Returns how many."""
    rows = conn.execute(
        "SELECT id FROM command WHERE taken_at IS NOT NULL AND answered_at IS NULL AND target = ? AND (? IS NULL OR session = ?)",
        (target, session, session),
    ).fetchall()
    for row in rows:
        answer(conn, id=row["id"], error=f"interrupted: the {target} process was restarted meanwhile; see what came of it", now=now)
    return len(rows)


def close_unrun_recoveries(conn: sqlite3.Connection, *, run: Collection[int], detail: str, now: float) -> list[int]:
    """Close as interrupted each open recovery that the watchdog does not run (`run`) and no waiting command asks for. Returns their ids."""
    waiting = {
        json.loads(row["args"]).get("recovery")
        for row in conn.execute(
            "SELECT args FROM command WHERE taken_at IS NULL AND answered_at IS NULL AND target = 'watchdog' AND kind = ?", (RECOVER,)
        )
    }
    ids = [id for id in recoveries.open_ids(conn) if id not in run and id not in waiting]
    for id in ids:
        recoveries.close(conn, id=id, status="interrupted", detail=detail, now=now)
    return ids


def get(conn: sqlite3.Connection, id: int) -> CommandRow | None:
    """One command; None if there is none (or no more: answered ones are kept for a day)."""
    row = conn.execute("SELECT * FROM command WHERE id = ?", (id,)).fetchone()
    if row is None:
        return None
    values = dict(row)
    values["args"] = json.loads(values["args"])
    values["result"] = json.loads(values["result"]) if values["result"] is not None else None
    return CommandRow(**values)
