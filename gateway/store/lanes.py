"""Lanes: one row for each chat that has queued work, holding its head, so that a claim costs the same whatever waits.

A lane row is derivable from outbox and recipient, by one query: `recompute` carries it out for one
chat, `check` for all. Held rows have no lane. Bits of `blocked`: BUSY, RESOLVING.
"""

# ruff: noqa: S608 (what is put into SQL here are constants of this module, never a value)

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping

BUSY = 1  #: a sending or unconfirmed row of the chat exists
RESOLVING = 2  #: its recipient is yet to be looked up

_COLUMNS = "session, recipient, head_id, head_ord, priority, new, due, blocked, ask_at"
#: o is a head, r its recipient. Work for a recipient that was not there is a reason to ask again: `recipient.ask_at` says when.
#: Groups count as chats with history: the limits of WhatsApp are on people who do not know us.
_DERIVED = """o.session, o.recipient, o.id, o.ord, o.priority, r.history_at IS NULL AND NOT r.is_group, max(o.due, ifnull(r.next_at, 0.0)),
    EXISTS (SELECT 1 FROM outbox b WHERE b.session = o.session AND b.recipient = o.recipient AND b.state IN (1, 2)) | (r.state <> 1) * 2,
    CASE WHEN r.state <> 1 THEN ifnull(r.ask_at, 0.0) END
    FROM outbox o JOIN recipient r ON r.id = o.recipient"""
_ONE = f"""INSERT OR REPLACE INTO lane({_COLUMNS}) SELECT {_DERIVED}
    WHERE o.session = ? AND o.recipient = ? AND o.state = 0 AND o.hold IS NULL ORDER BY o.ord, o.id LIMIT 1"""
_APPENDED = f"""INSERT OR REPLACE INTO lane({_COLUMNS}) SELECT {_DERIVED} WHERE o.id IN (
    SELECT (SELECT e.id FROM outbox e WHERE e.session = :session AND e.recipient = j.value ->> 0 AND e.state = 0 AND e.hold IS NULL
    ORDER BY e.ord, e.id LIMIT 1) FROM json_each(:chats) j
    WHERE NOT EXISTS (SELECT 1 FROM lane l WHERE l.session = :session AND l.recipient = j.value ->> 0 AND l.head_ord <= j.value ->> 1))"""
_ALL = f"""SELECT {_DERIVED} WHERE o.state = 0 AND o.hold IS NULL AND NOT EXISTS (
    SELECT 1 FROM outbox e WHERE e.session = o.session AND e.recipient = o.recipient AND e.state = 0 AND e.hold IS NULL
    AND (e.ord, e.id) < (o.ord, o.id))"""


def recompute(conn: sqlite3.Connection, session: str, recipient: int) -> None:
    """Bring one chat's lane up to date after anything changed that it derives from."""
    if conn.execute(_ONE, (session, recipient)).rowcount < 1:
        conn.execute("DELETE FROM lane WHERE session = ? AND recipient = ?", (session, recipient))


def recompute_many(conn: sqlite3.Connection, chats: Iterable[tuple[str, int]]) -> None:
    """The same for each of these (session, recipient), once."""
    for session, recipient in set(chats):
        recompute(conn, session, recipient)


def appended_many(conn: sqlite3.Connection, session: str, chats: Mapping[int, float]) -> None:
    """`appended` in one statement, for chats of one session: recipient → the least `ord` of its fresh rows."""
    conn.execute(_APPENDED, {"session": session, "chats": json.dumps(list(chats.items()))})


def appended(conn: sqlite3.Connection, session: str, recipient: int, ord_: float) -> None:
    """A fresh row was put into the chat with this `ord`: only if it became the head is there anything to do."""
    row = conn.execute("SELECT head_ord FROM lane WHERE session = ? AND recipient = ?", (session, recipient)).fetchone()
    if row is None or ord_ < row[0]:
        recompute(conn, session, recipient)


def check(conn: sqlite3.Connection) -> list[str]:
    """Each difference between the lanes and what they derive from, as a sentence; empty means right."""
    said = []
    for text, query in (
        ("a lane that should not be", f"SELECT {_COLUMNS} FROM lane EXCEPT {_ALL}"),
        ("a lane that is missing", f"{_ALL} EXCEPT SELECT {_COLUMNS} FROM lane"),
    ):
        for row in conn.execute(query):
            said.append(f"{text}: {dict(zip(_COLUMNS.split(', '), tuple(row), strict=True))}")
    return said


def rebuild(conn: sqlite3.Connection) -> int:
    """Make all lanes anew (gateway doctor). Returns how many there are."""
    conn.execute("DELETE FROM lane")
    return conn.execute(f"INSERT INTO lane({_COLUMNS}) {_ALL}").rowcount
