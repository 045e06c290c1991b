"""How many hand-overs there were of late, by the minute: what a fresh host needs to keep the caps of pacing.

Counted in the claim's own transaction, so that no kill makes a host forget one; a day of it is at
most 1,440 rows for each session. The sums are the host's, in memory: a claim does not add them up.
"""

from __future__ import annotations

import sqlite3

from gateway.pacing import DAY, MINUTE, Past


def note(conn: sqlite3.Connection, *, session: str, new_chat: bool, now: float) -> None:
    """A hand-over was claimed."""
    conn.execute(
        "INSERT INTO handed(session, minute, count, new_chats, last) VALUES (?, ?, 1, ?, ?) ON CONFLICT(session, minute) DO UPDATE "
        "SET count = count + 1, new_chats = new_chats + excluded.new_chats, last = max(last, excluded.last)",
        (session, _minute(now), int(new_chat), now),
    )


def take_back(conn: sqlite3.Connection, *, session: str, new_chat: bool, at: float) -> None:
    """The one claimed `at` is proven never to have left the page."""
    conn.execute(
        "UPDATE handed SET count = max(0, count - 1), new_chats = max(0, new_chats - ?) WHERE session = ? AND minute = ?",
        (int(new_chat), session, _minute(at)),
    )


def recall(conn: sqlite3.Connection, *, session: str, now: float) -> list[Past]:
    """Those of the last day."""
    bring_back(conn, session=session, now=now)
    rows = conn.execute(
        "SELECT last, count, new_chats FROM handed WHERE session = ? AND minute >= ?", (session, _minute(now - DAY) - 1)
    ).fetchall()
    return [Past(max(0.0, now - r["last"]), r["count"], r["new_chats"]) for r in rows]


def bring_back(conn: sqlite3.Connection, *, session: str, now: float) -> None:
    """What was counted in minutes to come, because the clock was ahead, counts as of now: it did happen."""
    future = conn.execute(
        "DELETE FROM handed WHERE session = ? AND minute > ? RETURNING count, new_chats", (session, _minute(now))
    ).fetchall()
    if future:
        conn.execute(
            "INSERT INTO handed(session, minute, count, new_chats, last) VALUES (?, ?, ?, ?, ?) ON CONFLICT(session, minute) DO UPDATE "
            "SET count = count + excluded.count, new_chats = new_chats + excluded.new_chats, last = excluded.last",
            (session, _minute(now), sum(r["count"] for r in future), sum(r["new_chats"] for r in future), now),
        )
    sent = conn.execute("DELETE FROM sent_minute WHERE session = ? AND minute > ? RETURNING count", (session, _minute(now))).fetchall()
    if sent:
        conn.execute(
            "INSERT INTO sent_minute(session, minute, count) VALUES (?, ?, ?) "
            "ON CONFLICT(session, minute) DO UPDATE SET count = count + excluded.count",
            (session, _minute(now), sum(r["count"] for r in sent)),
        )


def prune(conn: sqlite3.Connection, now: float) -> None:
    """Forget what no cap asks for any more."""
    conn.execute("DELETE FROM handed WHERE minute < ?", (_minute(now - DAY) - 60,))


def _minute(at: float) -> int:
    return int(at // MINUTE)
