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

#: Seconds that a verdict of absence is believed without asking again.
BELIEVED = 60.0
#: Seconds for which an earlier verdict of absence counts as the first of the two look-ups that have to agree.
CONFIRMS = 86_400.0


#: Messages that one transaction fails at most: all of a recipient in one kept others from the lock.
BATCH = 250


class Known(enum.IntEnum):
    """What is known about a recipient. The numbers are stored."""

    UNRESOLVED = 0  #: to be looked up before anything goes to it
    RESOLVED = 1  #: WhatsApp said who it is
    NOT_ON_WHATSAPP = 2  #: WhatsApp said that there is nobody; this and the next two are verdicts of absence, see `believed`
    NOT_A_MEMBER = 3  #: a group that our account does not belong to
    GROUP_UNKNOWN = 4  #: a group that WhatsApp does not know


#: Verdicts of absence: why a message to that recipient is a dead letter, and the sentence that says so.
ABSENT: dict[Known, tuple[Reason, str]] = {
    Known.NOT_ON_WHATSAPP: (Reason.RECIPIENT_NOT_ON_WHATSAPP, "the recipient is not on WhatsApp"),
    Known.NOT_A_MEMBER: (Reason.NOT_A_MEMBER, "the account is not a member of this group: have it added, then requeue the message"),
    Known.GROUP_UNKNOWN: (Reason.GROUP_UNKNOWN, "WhatsApp knows no group with this id"),
}
_UNANSWERED = (Reason.LOOK_UP_FAILED, "WhatsApp answers other look-ups, but not those of this recipient: requeue the message to try again")


def believed(state: int, resolved_at: float | None, now: float) -> bool:
    """Whether the verdict is one of absence and still believed: what is accepted now fails at once. One from the future is not."""
    return state in ABSENT and resolved_at is not None and resolved_at <= now < resolved_at + BELIEVED


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
    """A recipient to look up, by the address that it was written to.

    `first`: it never was before. `absent`: look-ups of the last day agreed that it is not there.
    """

    recipient: int
    address: str
    first: bool = True
    absent: bool = False


def intern(conn: sqlite3.Connection, *, session: str, address: str, now: float) -> int:
    """The recipient behind a normalized address, made if it is new."""
    row = conn.execute("SELECT recipient FROM alias WHERE session = ? AND address = ?", (session, address)).fetchone()
    if row is None:
        cursor = conn.execute(
            "INSERT INTO recipient(session, is_group, ask_at) VALUES (?, ?, ?)", (session, address.endswith("@g.us"), now)
        )
        assert cursor.lastrowid is not None
        conn.execute("INSERT INTO alias(session, address, recipient) VALUES (?, ?, ?)", (session, address, cursor.lastrowid))
        return cursor.lastrowid
    return int(row["recipient"])


def unresolved(conn: sqlite3.Connection, *, session: str, now: float, limit: int) -> list[Unresolved]:
    """Recipients with work that are to be looked up now, those asked for longest ago first."""
    rows = conn.execute(
        "SELECT l.recipient, o.address, r.state, r.resolved_at FROM lane l JOIN outbox o ON o.id = l.head_id "
        "JOIN recipient r ON r.id = l.recipient WHERE l.session = ? AND l.ask_at IS NOT NULL AND l.ask_at <= ? ORDER BY l.ask_at LIMIT ?",
        (session, now, limit),
    )
    return [
        Unresolved(r["recipient"], r["address"], r["resolved_at"] is None, _absent(r["state"], r["resolved_at"], now)) for r in rows
    ]


def _absent(state: int, resolved_at: float | None, now: float) -> bool:
    return state in ABSENT and resolved_at is not None and abs(now - resolved_at) < CONFIRMS


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
    """The look-up gave no verdict: ask again then. Raises Fenced."""
    sessions.check(conn, fence)
    conn.execute("UPDATE recipient SET ask_at = ? WHERE id = ? AND state <> 1", (until, recipient))
    lanes.recompute(conn, fence.session, recipient)


def absent(conn: sqlite3.Connection, fence: Fence, *, recipient: int, known: Known, now: float) -> int:
    """WhatsApp says that the recipient is not there (`known`, one of ABSENT): all that waits for it becomes a dead letter.

    BATCH messages at most; returns how many. As many as that: call it again, in a transaction of its own. The verdict is
    believed for BELIEVED seconds: what is accepted meanwhile fails at once, later work for the recipient is a reason to look it
    up again. Raises Fenced.
    """
    stamp = sessions.check(conn, fence, now)
    conn.execute("UPDATE recipient SET state = ?, ask_at = ?, resolved_at = ? WHERE id = ?", (int(known), now, now, recipient))
    return _fail_all(conn, fence, recipient, ABSENT[known], stamp)


def unanswered(conn: sqlite3.Connection, fence: Fence, *, recipient: int, again_at: float, now: float) -> int:
    """Look-ups of this recipient fail while others are answered: all that waits for it becomes a dead letter.

    BATCH messages at most; returns how many, as `absent` does. What is accepted later is looked up at `again_at` at the
    earliest. Raises Fenced.
    """
    stamp = sessions.check(conn, fence, now)
    conn.execute("UPDATE recipient SET ask_at = ? WHERE id = ? AND state <> 1", (again_at, recipient))
    return _fail_all(conn, fence, recipient, _UNANSWERED, stamp)


def _fail_all(conn: sqlite3.Connection, fence: Fence, recipient: int, why: tuple[Reason, str], now: float) -> int:
    rows = conn.execute(
        "SELECT id, session, state, uncertain FROM outbox WHERE session = ? AND recipient = ? AND state = 0 AND hold IS NULL LIMIT ?",
        (fence.session, recipient, BATCH),
    ).fetchall()
    for row in rows:
        _fail(conn, row, why, now)
    lanes.recompute(conn, fence.session, recipient)
    return len(rows)


def _fail(conn: sqlite3.Connection, row: sqlite3.Row, why: tuple[Reason, str], now: float) -> None:
    """One queued row; what may have gone out before stays of unknown outcome."""
    reason, text = why
    reason = Reason.OUTCOME_UNKNOWN if row["uncertain"] else reason
    transitions.move(conn, row, State.FAILED, now=now, values={"reason": reason.value, "error": text})


def fail_at_once(conn: sqlite3.Connection, rows: list[tuple[int, int]], now: float) -> None:
    """Of fresh rows (outbox id, recipient) those are dead letters from the start whose recipient was not there a moment ago."""
    for number in {recipient for _, recipient in rows}:
        known = get(conn, number)
        if known is None or not believed(known.known, known.resolved_at, now):
            continue
        for row in (transitions.row_of(conn, row) for row, recipient in rows if recipient == number):
            assert row is not None
            _fail(conn, row, ABSENT[known.known], now)
        lanes.recompute(conn, known.session, number)


def stale(conn: sqlite3.Connection, fence: Fence, *, recipient: int, now: float = 0.0) -> None:
    """WhatsApp says something else of the recipient than we thought: look it up anew before anything goes to it. Raises Fenced."""
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
