"""Recipients: one stable number for each chat, to which all spellings (digits, pn, lid) point.

Order between spellings holds from the moment that they are known to be one: a merge moves the
rows of one recipient to the other, where `ord`, then id, decide.
"""

# ruff: noqa: S608 (what is put into SQL here are constants of this module, never a value)

from __future__ import annotations

import enum
import sqlite3
from dataclasses import dataclass

from gateway.message import Reason, State
from gateway.store import lanes, sessions, transitions
from gateway.store.errors import NotFound
from gateway.store.sessions import Fence

#: Seconds that "not on WhatsApp" is believed.
UNKNOWN_HOLDS = 86_400.0


class Known(enum.IntEnum):
    """What is known about a recipient."""

    UNRESOLVED = 0  #: to be looked up before anything goes to it
    RESOLVED = 1  #: WhatsApp said who it is
    NOT_ON_WHATSAPP = 2  #: WhatsApp said that there is nobody; believed until `ask_at`


@dataclass(frozen=True, slots=True)
class Recipient:
    """A chat. `remote` is the id under which the page keeps it, `participant` our own id in a group."""

    id: int
    session: str
    known: Known
    group: bool
    wa_id: str | None
    pn: str | None
    lid: str | None
    remote: str | None
    participant: str | None
    ask_at: float | None
    resolved_at: float | None
    history_at: float | None
    next_at: float | None  #: the gap between two messages to one chat: nothing goes before

    @property
    def new(self) -> bool:
        """No history with this chat. Groups count as having some: the limits of WhatsApp are on people who do not know us."""
        return self.history_at is None and not self.group


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A recipient to look up, by the address that it was written to."""

    recipient: int
    address: str


def intern(conn: sqlite3.Connection, *, session: str, address: str, now: float) -> int:
    """The recipient behind a normalized address, made if it is new. Who was not on WhatsApp a day ago is asked for again."""
    row = conn.execute(
        "SELECT r.id, r.state, r.ask_at FROM alias a JOIN recipient r ON r.id = a.recipient WHERE a.session = ? AND a.address = ?",
        (session, address),
    ).fetchone()
    if row is None:
        cursor = conn.execute(
            "INSERT INTO recipient(session, is_group, ask_at) VALUES (?, ?, ?)", (session, address.endswith("@g.us"), now)
        )
        assert cursor.lastrowid is not None
        conn.execute("INSERT INTO alias(session, address, recipient) VALUES (?, ?, ?)", (session, address, cursor.lastrowid))
        return cursor.lastrowid
    if row["state"] == Known.NOT_ON_WHATSAPP and row["ask_at"] <= now:
        conn.execute("UPDATE recipient SET state = 0, ask_at = ? WHERE id = ?", (now, row["id"]))
        lanes.recompute(conn, session, row["id"])
    return int(row["id"])


def unresolved(conn: sqlite3.Connection, *, session: str, now: float, limit: int) -> list[Unresolved]:
    """Recipients with work that are to be looked up now, those asked for longest ago first."""
    rows = conn.execute(
        "SELECT l.recipient, o.address FROM lane l JOIN outbox o ON o.id = l.head_id "
        "WHERE l.session = ? AND l.ask_at IS NOT NULL AND l.ask_at <= ? ORDER BY l.ask_at LIMIT ?",
        (session, now, limit),
    )
    return [Unresolved(row["recipient"], row["address"]) for row in rows]


def resolved(
    conn: sqlite3.Connection,
    fence: Fence,
    *,
    recipient: int,
    wa_id: str | None,
    pn: str | None,
    lid: str | None,
    remote: str,
    participant: str | None = None,
    now: float,
) -> int:
    """WhatsApp said who it is. Returns the recipient's number, another one if it turned out to be one known already.

    `remote` is the chat's id on the page, which the key of a message must carry. Raises Fenced, NotFound.
    """
    sessions.check(conn, fence)
    if get(conn, recipient) is None:
        raise NotFound(f"there is no recipient {recipient}")
    spellings = [s for s in dict.fromkeys((wa_id, pn, lid, remote)) if s]
    marks = ",".join("?" * len(spellings))
    others = conn.execute(
        "SELECT DISTINCT r.id FROM alias a JOIN recipient r ON r.id = a.recipient "
        f"WHERE a.session = ? AND a.address IN ({marks}) AND r.id <> ? ORDER BY r.state = 1 DESC, r.id",
        (fence.session, *spellings, recipient),
    ).fetchall()
    target = others[0]["id"] if others else recipient
    for source in {recipient, *(row["id"] for row in others)} - {target}:
        _merge(conn, fence.session, source, target)
    conn.execute(
        "UPDATE recipient SET state = 1, wa_id = ifnull(?, wa_id), pn = ifnull(?, pn), lid = ifnull(?, lid), remote = ?, "
        "participant = ?, ask_at = NULL, resolved_at = ? WHERE id = ?",
        (wa_id, pn, lid, remote, participant, now, target),
    )
    conn.executemany(
        "INSERT INTO alias(session, address, recipient) VALUES (?, ?, ?) ON CONFLICT(session, address) DO NOTHING",
        [(fence.session, spelling, target) for spelling in spellings],
    )
    lanes.recompute(conn, fence.session, target)
    return int(target)


def _merge(conn: sqlite3.Connection, session: str, source: int, target: int) -> None:
    """Two recipients are one: rows keep their `ord` and id, so moving them puts them in order; busy if either was."""
    conn.execute("UPDATE outbox SET recipient = ? WHERE recipient = ?", (target, source))
    conn.execute("UPDATE alias SET recipient = ? WHERE recipient = ?", (target, source))
    conn.execute(
        "UPDATE recipient AS t SET history_at = coalesce(min(t.history_at, s.history_at), t.history_at, s.history_at), "
        "next_at = coalesce(max(t.next_at, s.next_at), t.next_at, s.next_at), "
        "wa_id = ifnull(t.wa_id, s.wa_id), pn = ifnull(t.pn, s.pn), lid = ifnull(t.lid, s.lid) "
        "FROM (SELECT * FROM recipient WHERE id = ?) AS s WHERE t.id = ?",
        (source, target),
    )
    conn.execute("DELETE FROM lane WHERE session = ? AND recipient = ?", (session, source))
    conn.execute("DELETE FROM recipient WHERE id = ?", (source,))


def postponed(conn: sqlite3.Connection, fence: Fence, *, recipient: int, until: float) -> None:
    """The look-up gave no answer: ask again then. Raises Fenced."""
    sessions.check(conn, fence)
    conn.execute("UPDATE recipient SET state = 0, ask_at = ? WHERE id = ? AND state <> 1", (until, recipient))
    lanes.recompute(conn, fence.session, recipient)


def unknown(conn: sqlite3.Connection, fence: Fence, *, recipient: int, now: float) -> int:
    """Nobody of that number is on WhatsApp: all that waits for it becomes a dead letter. Returns how many; raises Fenced.

    The answer is believed for a day: what is accepted meanwhile fails at once.
    """
    sessions.check(conn, fence)
    conn.execute("UPDATE recipient SET state = 2, ask_at = ?, resolved_at = ? WHERE id = ?", (now + UNKNOWN_HOLDS, now, recipient))
    rows = conn.execute(
        "SELECT id, session, state, uncertain FROM outbox WHERE session = ? AND recipient = ? AND state = 0 AND hold IS NULL",
        (fence.session, recipient),
    ).fetchall()
    for row in rows:
        fail_unknown(conn, row, now)
    lanes.recompute(conn, fence.session, recipient)
    return len(rows)


def fail_unknown(conn: sqlite3.Connection, row: sqlite3.Row, now: float) -> None:
    """One queued row of a recipient who is not on WhatsApp; what may have gone out before stays of unknown outcome."""
    reason = Reason.OUTCOME_UNKNOWN if row["uncertain"] else Reason.RECIPIENT_NOT_ON_WHATSAPP
    transitions.move(conn, row, State.FAILED, now=now, values={"reason": reason.value, "error": "the recipient is not on WhatsApp"})


def stale(conn: sqlite3.Connection, fence: Fence, *, recipient: int, now: float = 0.0) -> None:
    """The page keeps the chat under another remote than we thought: look it up anew. Raises Fenced."""
    sessions.check(conn, fence)
    conn.execute("UPDATE recipient SET state = 0, ask_at = ? WHERE id = ? AND state = 1", (now, recipient))
    lanes.recompute(conn, fence.session, recipient)


def heard(conn: sqlite3.Connection, *, session: str, recipient: int, now: float) -> bool:
    """There is history with this chat now: a message to it was acked (or one came from it). Returns whether that is new."""
    cursor = conn.execute("UPDATE recipient SET history_at = ? WHERE id = ? AND history_at IS NULL", (now, recipient))
    if cursor.rowcount:
        lanes.recompute(conn, session, recipient)
    return bool(cursor.rowcount)


def get(conn: sqlite3.Connection, id: int) -> Recipient | None:
    """One recipient by its number."""
    row = conn.execute("SELECT * FROM recipient WHERE id = ?", (id,)).fetchone()
    return _recipient(row) if row else None


def look_up(conn: sqlite3.Connection, *, session: str, address: str) -> Recipient | None:
    """The recipient behind a normalized address, as far as it was ever written to."""
    row = conn.execute(
        "SELECT r.* FROM alias a JOIN recipient r ON r.id = a.recipient WHERE a.session = ? AND a.address = ?", (session, address)
    ).fetchone()
    return _recipient(row) if row else None


def _recipient(row: sqlite3.Row) -> Recipient:
    values = dict(row)
    values["known"] = Known(values.pop("state"))
    values["group"] = bool(values.pop("is_group"))
    return Recipient(**values)
