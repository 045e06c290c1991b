"""Reconciling: which messages the host shall ask the page for, and what its answers change."""

from __future__ import annotations

import json
import sqlite3
from typing import Literal

from gateway.message import ACKED, Key, NotSent, State
from gateway.store import claims, events, sessions, transitions
from gateway.store.model import Pending, Witness
from gateway.store.sessions import Fence

#: absent: not on the page, and proven not sent. lost: it was placed, or in another incarnation, and is gone.
#: waiting: the page has it, or its call still runs.
Verdict = Literal["absent", "lost", "waiting"]

_PENDING = """SELECT o.id, o.session, o.public, o.state, o.state_since,
    o.reason, o.number, o.attempts, o.key, o.hex, o.recipient, o.address, o.hold,
    o.timeouts, r.remote, r.pn, r.lid, r.is_group, r.participant, a.placed_at, a.epoch, a.generation, a.incarnation, a.claimed_at
    FROM outbox o JOIN recipient r ON r.id = o.recipient LEFT JOIN attempt a ON a.message = o.id AND a.number = o.number WHERE """

#: By outbox_chat, the last of one state in a chat.
_LAST_OF_STATE = """SELECT a.key, a.generation, a.incarnation, a.claimed_at
    FROM outbox o JOIN attempt a ON a.message = o.id AND a.number = o.number
    WHERE o.recipient = ? AND o.state = ? AND o.hold IS NULL ORDER BY o.ord DESC LIMIT 1"""
#: Among the last of one state in the session, few enough to look at.
_LAST_IN_SESSION = """SELECT a.key, a.generation, a.incarnation, a.claimed_at
    FROM (SELECT id, number FROM outbox INDEXED BY outbox_ended
    WHERE session = ? AND state NOT IN (0, 1, 2) AND state = ? ORDER BY state_since DESC LIMIT 100) o
    JOIN attempt a ON a.message = o.id AND a.number = o.number"""
#: By outbox_ended, so that what was cleared, failed or read in the same time is not read here.
_ENDED_AS = (
    _PENDING + "o.session = ? AND o.state NOT IN (0, 1, 2) AND o.state = ? AND o.state_since >= ? ORDER BY o.state_since DESC LIMIT ?"
)
_UNKNOWN = _PENDING + "o.session = ? AND o.state = 20 AND o.uncertain AND o.state_since >= ? ORDER BY o.state_since DESC LIMIT ?"


def to_reconcile(conn: sqlite3.Connection, *, session: str, now: float, since: float = 86_400.0, limit: int = 1000) -> list[Pending]:
    """All that is to be asked for after an attach or in a new document, in this order.

    Every sending and unconfirmed row, however old; rows held as `restored` whose release was asked
    for; then, of the last `since` seconds and youngest first, the rows of unknown outcome, and those
    sent or delivered. At most `limit` of each of the last three: however many were delivered since, an
    unknown one is asked for.
    """
    rows = conn.execute(_PENDING + "o.session = ? AND o.state IN (1, 2) ORDER BY o.id", (session,)).fetchall()
    rows += held_asked(conn, session, limit)
    if since > 0:
        rows += conn.execute(_UNKNOWN, (session, now - since, limit)).fetchall()
        acked = [row for state in (10, 11) for row in conn.execute(_ENDED_AS, (session, state, now - since, limit))]
        rows += sorted(acked, key=lambda row: -row["state_since"])[:limit]
    return [_pending(row, _witness(conn, row)) for row in rows]


def _witness(conn: sqlite3.Connection, row: sqlite3.Row) -> Witness | None:
    if row["state"] not in (State.SENDING, State.UNCONFIRMED) or row["claimed_at"] is None:
        return None
    of_chat = [conn.execute(_LAST_OF_STATE, (row["recipient"], state)).fetchone() for state in ACKED]
    found = _newest(of_chat, row["claimed_at"])
    if found is None:
        ended = [one for state in ACKED for one in conn.execute(_LAST_IN_SESSION, (row["session"], state))]
        found = _newest(ended, row["claimed_at"])
    return Witness(Key.parse(found["key"]), found["generation"], found["incarnation"]) if found else None


def _newest(rows: list[sqlite3.Row | None], before: float) -> sqlite3.Row | None:
    return max((row for row in rows if row is not None and row["claimed_at"] < before), key=lambda row: row["claimed_at"], default=None)


def doubtful(conn: sqlite3.Connection, *, session: str) -> bool:
    """Whether there is a row without an outcome, or a held one whose release was asked for."""
    query = (
        "SELECT EXISTS (SELECT 1 FROM outbox WHERE session = :session AND state IN (1, 2)) "
        "OR EXISTS (SELECT 1 FROM outbox INDEXED BY outbox_asked WHERE session = :session AND state = 0 AND hold IS NOT NULL AND asked)"
    )
    return bool(conn.execute(query, {"session": session}).fetchone()[0])


def settled(conn: sqlite3.Connection, *, session: str, hexes: list[str]) -> list[str]:
    """Those of the ids (hex parts) whose outcome is committed: their message has ended or goes out under another id, or is gone."""
    rows = conn.execute(
        "SELECT o.hex FROM json_each(?) j JOIN outbox o ON o.hex = j.value AND o.exposed = 1 WHERE o.session = ? AND o.state < 10",
        (json.dumps(hexes), session),
    )
    open_ = {row[0] for row in rows}
    return [hex_ for hex_ in hexes if hex_ not in open_]


def held_asked(conn: sqlite3.Connection, session: str, limit: int) -> list[sqlite3.Row]:
    """Held rows whose release was asked for and which nobody has asked the page for yet."""
    query = _PENDING + "o.session = ? AND o.state = 0 AND o.hold IS NOT NULL AND o.asked ORDER BY o.id LIMIT ?"
    return conn.execute(query, (session, limit)).fetchall()


def reconciled(
    conn: sqlite3.Connection,
    fence: Fence,
    *,
    rowid: int,
    attempt: int,
    verdict: Verdict,
    now: float,
    due: float | None = None,
    counted: bool = False,
    max_attempts: int = 0,
) -> bool:
    """What the page said of a row that `to_reconcile` gave. Found with an ack → `claims.acked`, with a nack → `claims.nacked`.

    `absent`: queued again under the same id, due at once or at `due`; `counted` counts it as an attempt, of
    `max_attempts`. `lost`: failed(outcome_unknown). Either leaves a held row held. Returns False,
    having changed nothing, if the row is not where it was any more. Raises Fenced.
    """
    now = sessions.check(conn, fence, now)
    row = claims.mine(conn, fence, rowid, attempt)
    if row is None:
        return verdict != "waiting" and _stays_held(conn, fence, rowid, attempt, now)
    if verdict == "absent":
        error = NotSent("absent", "it was never handed over: the page does not know it", counted=counted)
        return claims.sent_not(conn, fence, rowid=rowid, attempt=attempt, error=error, due=due or now, now=now, max_attempts=max_attempts)
    if verdict == "lost":
        claims.give_up(conn, row, "it was handed over and WhatsApp's page does not know it any more", now)
    return True


def deaths(conn: sqlite3.Connection, *, rowid: int, generation: str) -> int:
    """In how many documents before `generation` the message was being handed over, not yet placed, when they went mute or ended.

    Hosts that died do not count: the page outlives them.
    """
    query = (
        "SELECT count(DISTINCT generation) FROM attempt WHERE message = ? AND generation <> ? AND placed_at IS NULL "
        "AND code IN ('page_gone', 'deadline')"
    )
    return int(conn.execute(query, (rowid, generation)).fetchone()[0])


def _stays_held(conn: sqlite3.Connection, fence: Fence, rowid: int, attempt: int, now: float) -> bool:
    row = transitions.row_of(conn, rowid)
    if row is None or row["session"] != fence.session or row["state"] != State.QUEUED or not row["asked"] or row["number"] != attempt:
        return False
    conn.execute("UPDATE outbox SET asked = 0 WHERE id = ?", (rowid,))
    events.append(conn, kind="message.still_held", session=fence.session, message=rowid, data={"hold": row["hold"]}, now=now)
    return True


def _pending(row: sqlite3.Row, witness: Witness | None) -> Pending:
    return Pending(
        rowid=row["id"], message=row["public"], state=State(row["state"]), reason=row["reason"], attempt=row["number"],
        attempts=row["attempts"], key=Key.parse(row["key"]) if row["key"] else None, hex=row["hex"], recipient=row["recipient"],
        address=row["address"], remote=row["remote"], pn=row["pn"], lid=row["lid"], group=bool(row["is_group"]),
        participant=row["participant"], placed=row["placed_at"] is not None, epoch=row["epoch"] or 0, generation=row["generation"],
        incarnation=row["incarnation"], claimed_at=row["claimed_at"], timeouts=row["timeouts"], held=row["hold"] is not None,
        witness=witness,
    )  # fmt: skip
