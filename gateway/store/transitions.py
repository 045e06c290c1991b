"""The one way in which a message changes its state: a statement guarded by the old state, an event, the counters."""

# ruff: noqa: S608 (what is put into SQL here are constants of this module, never a value)

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from gateway.message import ACKED, IllegalTransition, Reason, State, allowed
from gateway.store import counters, events

Row = sqlite3.Row


def row_of(conn: sqlite3.Connection, rowid: int) -> Row | None:
    """The outbox row, all columns."""
    row: Row | None = conn.execute("SELECT * FROM outbox WHERE id = ?", (rowid,)).fetchone()
    return row


def move(
    conn: sqlite3.Connection, row: Row, to: State, *, now: float, values: dict[str, Any] | None = None, data: dict[str, Any] | None = None
) -> None:
    """Carry out one transition of `row` (needs id, session, state), with further columns set to `values`.

    The lane is the caller's to recompute: it may have more rows to move. Raises IllegalTransition.
    """
    old = State(row["state"])
    if not allowed(old, to):
        raise IllegalTransition(f"message {row['id']}: {old.word} → {to.word}")
    values = values or {}
    columns = "".join(f", {name} = ?" for name in values)
    cursor = conn.execute(
        f"UPDATE outbox SET state = ?, state_since = ?{columns} WHERE id = ? AND state = ?",
        (int(to), now, *values.values(), row["id"], int(old)),
    )
    if cursor.rowcount != 1:
        raise IllegalTransition(f"message {row['id']}: it is not {old.word} any more")
    detail = {"from": old.word, **(data or {})}
    if values.get("reason"):
        detail["reason"] = str(values["reason"])
    events.append(conn, kind=f"message.{to.word}", session=row["session"], message=row["id"], data=detail, now=now)
    count(conn, row["session"], old, to)
    if to is State.FAILED and values.get("reason") == Reason.OUTCOME_UNKNOWN:
        counters.bump(conn, "outcome_unknown_total", {"session": row["session"]})


def move_many(
    conn: sqlite3.Connection,
    rows: Sequence[Row],
    to: State,
    *,
    now: float,
    values: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
) -> None:
    """The same for rows (id, session, state) that all stand in one state; one event each."""
    if not rows:
        return
    old = State(rows[0]["state"])
    if not allowed(old, to):
        raise IllegalTransition(f"messages: {old.word} → {to.word}")
    values = values or {}
    columns = "".join(f", {name} = ?" for name in values)
    cursor = conn.executemany(
        f"UPDATE outbox SET state = ?, state_since = ?{columns} WHERE id = ? AND state = ?",
        [(int(to), now, *values.values(), row["id"], int(old)) for row in rows],
    )
    if cursor.rowcount != len(rows):
        raise IllegalTransition(f"messages: some are not {old.word} any more")
    detail = {"from": old.word, **(data or {})}
    if values.get("reason"):
        detail["reason"] = str(values["reason"])
    events.append_many(conn, kind=f"message.{to.word}", rows=[(row["session"], row["id"]) for row in rows], data=detail, now=now)
    by_session: dict[str, int] = {}
    for row in rows:
        by_session[row["session"]] = by_session.get(row["session"], 0) + 1
    for session, by in by_session.items():
        count(conn, session, old, to, by)


def count(conn: sqlite3.Connection, session: str, old: State | None, to: State, by: int = 1) -> None:
    """Gauge `messages{session,state}` (how many stand there now) and `messages_total` (how many ever came there).

    A state that an ack skipped counts as reached.
    """
    if old is not None:
        counters.bump(conn, "messages", {"session": session, "state": old.word}, -by)
    counters.bump_all(conn, {"session": session, "state": to.word}, {"messages": by, "messages_total": by})
    skipped = [s for s in sorted(ACKED) if s < to and (old not in ACKED or s > (old or 0))] if to in ACKED else []
    for state in skipped:
        counters.bump(conn, "messages_total", {"session": session, "state": state.word}, by)
