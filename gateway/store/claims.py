"""From the claim to the outcome: what a host may do with a message, always behind its fence.

A claim is one commit: state sending, the attempt, the full key. There is one guarded way out of
it, `_settle`; an ack is the other, and it needs no claim: it reaches a message in any state.
"""

# ruff: noqa: S608 (what is put into SQL here are constants of this module, never a value)

from __future__ import annotations

import json
import sqlite3
from typing import Any

from gateway.message import (
    ACKED,
    SPARED,
    HandOverError,
    Key,
    NotSent,
    Reason,
    Rejected,
    Restricted,
    State,
    Unconfirmed,
    new_hex,
    state_of_ack,
)
from gateway.store import clock, counters, events, handovers, lanes, recipients, sessions, transitions
from gateway.store.model import Claim, Overdue
from gateway.store.sessions import Fence
from gateway.store.transitions import Row

#: Hand-overs that may wait for acks at once; with so many, nothing more is claimed.
UNACKED_LIMIT = 64
#: Send timeouts after which a message is given up, whatever the generations.
TIMEOUTS = 10
#: Generations in each of which a message was unacked for a send timeout, after which it is given up.
GENERATIONS = 2
#: Heads that a claim may set aside (expired, another account's) before it gives up for this time.
_SET_ASIDE = 1000


def _seek(new: tuple[int, ...]) -> str:
    """One index seek for each priority and kind of chat: one scan ordered by priority took 441 ms with a million scheduled rows."""
    arms = (
        "SELECT * FROM (SELECT priority, due, head_id FROM lane INDEXED BY lane_due "
        f"WHERE session = :session AND blocked = 0 AND priority = {p} AND new = {n} AND due <= :now ORDER BY due LIMIT 1)"
        for p in range(9, -1, -1)
        for n in new
    )
    return " UNION ALL ".join(arms) + " ORDER BY priority DESC, due LIMIT 1"


_SEEK_ALL, _SEEK_KNOWN = _seek((0, 1)), _seek((0,))


def claim(
    conn: sqlite3.Connection,
    fence: Fence,
    *,
    generation: str,
    incarnation: str,
    now: float,
    new_chats: bool = True,
    chat_interval: float = 0.0,
    unacked_limit: int = UNACKED_LIMIT,
) -> Claim | None:
    """Take the next message and write its hand-over ahead. None: nothing is due, or nothing may go.

    Nothing may go unless the session is ready, not paused, linked, and its queue sorted for that account; while it is restricted, or
    with `new_chats` False (a cap of pacing), only chats with history go on.
    The chat's next message goes `chat_interval` seconds later at the earliest. Raises Fenced.
    """
    sessions.check(conn, fence)
    session = sessions.get(conn, fence.session)
    assert session is not None
    stamp = max(now, session.last_accepted)
    if session.state != "ready" or session.paused or session.account is None or not session.sorted:
        return None
    if session.restricted_until is not None and session.restricted_until > now:
        if session.restricted_everything:
            return None
        new_chats = False
    new_chats = new_chats and not sessions.trying_out(conn, session, now)
    if unacked_places(conn, fence.session, unacked_limit) <= 0:
        return None
    for _ in range(_SET_ASIDE):
        found = conn.execute(_SEEK_ALL if new_chats else _SEEK_KNOWN, {"session": fence.session, "now": now}).fetchone()
        if found is None:
            return None
        row = transitions.row_of(conn, found["head_id"])
        assert row is not None
        if not _set_aside(conn, row, session.account, now, stamp):
            return _write_ahead(conn, fence, row, generation, incarnation, chat_interval, now, stamp)
    return None


def unacked_places(conn: sqlite3.Connection, session: str, limit: int = UNACKED_LIMIT) -> int:
    """How many more hand-overs may wait for acks."""
    query = "SELECT count(*) FROM (SELECT 1 FROM outbox WHERE session = ? AND state IN (1, 2) LIMIT ?)"
    return limit - int(conn.execute(query, (session, limit)).fetchone()[0])


def _set_aside(conn: sqlite3.Connection, row: Row, account: str, now: float, stamp: float) -> bool:
    """Whether this head cannot go after all: its ttl has passed, or it is another account's."""
    if row["expires_at"] is not None and row["expires_at"] <= now and not row["uncertain"]:
        transitions.move(conn, row, State.EXPIRED, now=stamp)
    elif row["account"] not in (None, account):
        conn.execute("UPDATE outbox SET hold = 'other_account' WHERE id = ?", (row["id"],))
        events.append(conn, kind="message.held", session=row["session"], message=row["id"], data={"hold": "other_account"}, now=stamp)
    else:
        return False
    lanes.recompute(conn, row["session"], row["recipient"])
    return True


def _write_ahead(
    conn: sqlite3.Connection, fence: Fence, row: Row, generation: str, incarnation: str, chat_interval: float, now: float, stamp: float
) -> Claim:
    to = recipients.get(conn, row["recipient"])
    assert to is not None and to.remote is not None
    key, number = Key(to.remote, row["hex"], to.participant), row["number"] + 1
    values = {"number": number, "key": str(key), "exposed": 1, "uncertain": 1, "waiting_since": stamp}
    transitions.move(conn, row, State.SENDING, now=stamp, values=values, data={"attempt": number})
    conn.execute(
        "INSERT INTO attempt(message, number, epoch, generation, incarnation, key, claimed_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (row["id"], number, fence.epoch, generation, incarnation, str(key), stamp),
    )
    handovers.note(conn, session=fence.session, new_chat=to.new, now=stamp)
    if chat_interval:  # it is a part of the lane's `due`, so that a claim need not look for it
        conn.execute("UPDATE recipient SET next_at = ? WHERE id = ?", (now + chat_interval, to.id))
    lanes.recompute(conn, row["session"], row["recipient"])
    return Claim(
        message=row["public"], rowid=row["id"], attempt=number, attempts=row["attempts"], key=key, type=row["type"],
        content=json.loads(row["content"]), recipient=to.id, address=row["address"], remote=to.remote, pn=to.pn, lid=to.lid,
        new_chat=to.new, accept_duplicate=bool(row["resend"]), accepted=row["accepted"], claimed_at=stamp,
    )  # fmt: skip


def placed(conn: sqlite3.Connection, fence: Fence, *, rowid: int, attempt: int, now: float) -> bool:
    """The page has taken the message: its place in flight is free, its chat is not. Returns False if that was known. Raises Fenced."""
    now = sessions.check(conn, fence, now)
    row = conn.execute(
        "UPDATE attempt SET placed_at = ? WHERE message = ? AND number = ? AND placed_at IS NULL RETURNING claimed_at",
        (now, rowid, attempt),
    ).fetchone()
    if row is not None:
        counters.observe(conn, "handover_seconds", {"session": fence.session}, now - row["claimed_at"])
    return row is not None


def sent_not(
    conn: sqlite3.Connection, fence: Fence, *, rowid: int, attempt: int, error: HandOverError, due: float, now: float, max_attempts: int
) -> bool:
    """The hand-over ended in `error`, whose type decides. `due` is when a retry may go.

    Returns False and changes nothing if the message is not in that attempt any more (an ack was
    faster, a successor settled it). Raises Fenced.
    """
    now = sessions.check(conn, fence, now)
    row = mine(conn, fence, rowid, attempt)
    if row is None:
        return False
    if isinstance(error, NotSent | Rejected):
        _take_back(conn, row)
    _settle(conn, fence, row, error, due=due, now=now, max_attempts=max_attempts)
    return True


def _take_back(conn: sqlite3.Connection, row: Row) -> None:
    """Nothing left the page: neither the caps nor the chat's gap count it."""
    to = recipients.get(conn, row["recipient"])
    at = conn.execute("SELECT claimed_at FROM attempt WHERE message = ? AND number = ?", (row["id"], row["number"])).fetchone()[0]
    assert to is not None
    handovers.take_back(conn, session=row["session"], new_chat=to.new, at=at)
    conn.execute("UPDATE recipient SET next_at = NULL WHERE id = ? AND next_at IS NOT NULL", (to.id,))


def mine(conn: sqlite3.Connection, fence: Fence, rowid: int, attempt: int) -> Row | None:
    """The row, if it is still in this attempt and without an outcome."""
    row = transitions.row_of(conn, rowid)
    if row is None or row["session"] != fence.session or row["number"] != attempt:
        return None
    return row if row["state"] in (State.SENDING, State.UNCONFIRMED) else None


def _settle(
    conn: sqlite3.Connection, fence: Fence, row: Row, error: HandOverError, *, due: float, now: float, max_attempts: int, nack: bool = False
) -> None:
    """The one way out of a claim without an ack. A nack renews the id: it proves that nothing went out under the old one.
    So does a refusal of WhatsApp's own code."""
    data = {"code": error.code, "attempt": row["number"]}
    if isinstance(error, Unconfirmed):
        end_attempt(conn, row, "unconfirmed", error, now)
        if row["state"] == State.SENDING:
            transitions.move(conn, row, State.UNCONFIRMED, now=now, values={"error": str(error)}, data=data)
        return
    # what went out under this id before accept_duplicate was given stays unknown, unless a nack speaks of the id itself
    values: dict[str, Any] = {"uncertain": 0 if nack else row["resend"], "error": str(error), "waiting_since": None}
    values |= {"timeouts": 0, "timeout_generations": "[]"}  # they were waited for what is known now
    if nack or (isinstance(error, Rejected) and error.handed):
        values |= renew_hex(conn, row)
    if isinstance(error, Rejected):
        outcome, to = "rejected", State.FAILED
        values["reason"] = error.reason.value
    elif isinstance(error, Restricted):
        outcome, to = "restricted", State.QUEUED
        values["due"] = due
        sessions.restrict(conn, fence, until=error.until, everything=error.everything, now=now)
    else:
        assert isinstance(error, NotSent)
        counted = error.counted or (not error.page and spared(conn, rowid=row["id"]) >= SPARED)
        outcome, values["attempts"] = "not_sent", row["attempts"] + counted
        to = State.FAILED if counted and values["attempts"] >= max_attempts else State.QUEUED
        values |= {"reason": Reason.ATTEMPTS.value} if to is State.FAILED else {"due": due}
    end_attempt(conn, row, outcome, error, now)
    transitions.move(conn, row, to, now=now, values=values, data=data)
    lanes.recompute(conn, row["session"], row["recipient"])


def spared(conn: sqlite3.Connection, *, rowid: int) -> int:
    """Hand-overs of the row that were proven not sent and counted no attempt, since it was accepted or requeued."""
    row = transitions.row_of(conn, rowid)
    return 0 if row is None else ended(conn, row, "not_sent") - int(row["attempts"])


def ended(conn: sqlite3.Connection, row: Row, outcome: str) -> int:
    """Hand-overs of the row with that outcome, since it was accepted or requeued."""
    query = "SELECT count(*) FROM attempt WHERE message = ? AND outcome = ? AND claimed_at >= ?"
    return int(conn.execute(query, (row["id"], outcome, row["ord"])).fetchone()[0])


def end_attempt(conn: sqlite3.Connection, row: Row, outcome: str, error: HandOverError | None, now: float) -> None:
    """Note how the row's last attempt ended; the first error of an attempt is kept, its outcome is the last."""
    conn.execute(
        "UPDATE attempt SET ended_at = ?, outcome = ?, code = ifnull(code, ?), error = ifnull(error, ?) WHERE message = ? AND number = ?",
        (now, outcome, error.code if error else None, str(error) if error else None, row["id"], row["number"]),
    )


def renew_hex(conn: sqlite3.Connection, row: Row) -> dict[str, Any]:
    """Columns that give the row a new id; a late receipt for the old one still finds it."""
    conn.execute("INSERT INTO former_id(hex, message) VALUES (?, ?)", (row["hex"], row["id"]))
    return {"hex": new_hex(), "exposed": 0, "uncertain": 0, "resend": 0}


def acked(conn: sqlite3.Connection, fence: Fence, *, hex: str, ack: int, at: float, now: float) -> bool:
    """WhatsApp acked (1 server, 2 device, 3 read, 4 played) at `at`: the message is sent or later, wherever it stood.

    Returns False if that says nothing new, or the id is none of ours. Raises Fenced.
    """
    stamp = sessions.check(conn, fence, now)
    to, row = state_of_ack(ack), by_hex(conn, fence, hex)
    if to is None or row is None or (row["state"] in ACKED and to <= row["state"]):
        return False
    # by the page's clock, which is the wall clock: no earlier than the hand-over, although that was set back meanwhile
    claimed = conn.execute("SELECT claimed_at FROM attempt WHERE message = ? AND number = ?", (row["id"], row["number"])).fetchone()
    first, at = row["state"] not in ACKED, min(stamp, max(at, claimed[0] if claimed else 0.0))
    values: dict[str, Any] = {}
    if first:
        values = {"hold": None, "uncertain": 0, "resend": 0, "asked": 0, "reason": None, "error": None, "waiting_since": None}
    transitions.move(conn, row, to, now=at, values=values, data={"ack": ack})
    if first:
        _first_ack(conn, row, hex, at)
    return True


def _first_ack(conn: sqlite3.Connection, row: Row, hex: str, at: float) -> None:
    session, labels = row["session"], {"session": row["session"]}
    conn.execute(
        "UPDATE attempt SET ended_at = ?, outcome = 'sent' WHERE message = ? AND number = "
        "(SELECT max(number) FROM attempt WHERE message = ? AND instr(key, ?) > 0)",
        (at, row["id"], row["id"], f"_{hex}"),
    )
    counters.observe(conn, "send_seconds", labels, at - row["ord"])  # a scheduled message was not late
    conn.execute("UPDATE session SET last_sent_at = max(ifnull(last_sent_at, 0), ?) WHERE name = ?", (at, session))
    conn.execute(
        "INSERT INTO sent_minute(session, minute, count) VALUES (?, ?, 1) ON CONFLICT(session, minute) DO UPDATE SET count = count + 1",
        (session, int(at // 60)),
    )
    if recipients.heard(conn, session=session, recipient=row["recipient"], now=at):
        sessions.restricted_no_more(conn, session=session, now=at)
    lanes.recompute(conn, session, row["recipient"])


def by_hex(conn: sqlite3.Connection, fence: Fence, hex: str) -> Row | None:
    """The session's message that has, or had, this id, if WhatsApp may know it."""
    query = "SELECT * FROM outbox WHERE session = ? AND ((hex = ? AND exposed = 1) OR id = (SELECT message FROM former_id WHERE hex = ?))"
    row: Row | None = conn.execute(query, (fence.session, hex, hex)).fetchone()
    return row


def nacked(conn: sqlite3.Connection, fence: Fence, *, hex: str, error: HandOverError, due: float, now: float, max_attempts: int) -> bool:
    """WhatsApp's server refused this id (ack −1): nothing went out; `message.error_of_nack` gives the error.

    The row gets a new id for its next hand-over. Returns False if that says nothing new (an ack
    came before it, the id is none of ours or not its present one). Raises Fenced.
    """
    now = sessions.check(conn, fence, now)
    row = by_hex(conn, fence, hex)
    if row is None or row["hex"] != hex or row["state"] in ACKED or isinstance(error, Unconfirmed):
        return False
    if row["state"] in (State.SENDING, State.UNCONFIRMED):
        _settle(conn, fence, row, error, due=due, now=now, max_attempts=max_attempts, nack=True)
        return True
    # queued or dead: it stays so, and what was unknown about it is known now
    values = renew_hex(conn, row)
    reason = row["reason"]
    if reason == Reason.OUTCOME_UNKNOWN:
        reason = error.reason.value if isinstance(error, Rejected) else Reason.ATTEMPTS.value
    conn.execute(
        "UPDATE outbox SET hex = ?, exposed = 0, uncertain = 0, resend = 0, asked = 0, reason = ?, error = ? WHERE id = ?",
        (values["hex"], reason, str(error), row["id"]),
    )
    events.append(conn, kind="message.nacked", session=fence.session, message=row["id"], data={"code": error.code}, now=now)
    return True


def overdue(
    conn: sqlite3.Connection,
    fence: Fence,
    *,
    now: float,
    send_timeout: float,
    generation: str | None = None,
    synced_at: float | None = None,
) -> Overdue:
    """What is sending for longer than the send timeout becomes unconfirmed.

    With `generation`, which is synced and connected without a break since `synced_at` (wall
    clock), its send timeouts are counted too: a message unacked for one in each of two generations,
    or for ten in all, is given up as failed(outcome_unknown). Call it each few seconds. Raises Fenced.
    """
    stamp = sessions.check(conn, fence, now)
    late, given_up = [], []
    for row in conn.execute("SELECT * FROM outbox WHERE session = ? AND state IN (1, 2)", (fence.session,)).fetchall():
        since = row["waiting_since"]
        if since is None or clock.ahead(since, now):
            conn.execute("UPDATE outbox SET waiting_since = ? WHERE id = ?", (now, row["id"]))
            continue
        if row["state"] == State.SENDING and now - since > send_timeout:
            _settle(conn, fence, row, Unconfirmed("send_timeout", f"no ack within {send_timeout:g} s"), due=now, now=stamp, max_attempts=0)
            late.append(row["public"])
        if generation is None or synced_at is None or now - max(since, synced_at) <= send_timeout:
            continue
        if _timed_out(conn, row["id"], generation, stamp):
            given_up.append(row["public"])
    return Overdue(late, given_up)


def _timed_out(conn: sqlite3.Connection, rowid: int, generation: str, now: float) -> bool:
    """Count one send timeout; give the message up if the rule says so. Returns whether it did."""
    row = transitions.row_of(conn, rowid)
    assert row is not None
    generations = json.loads(row["timeout_generations"])
    if generation not in generations:
        generations.append(generation)
    conn.execute(
        "UPDATE outbox SET timeouts = timeouts + 1, timeout_generations = ?, waiting_since = ? WHERE id = ?",
        (json.dumps(generations), now, rowid),
    )
    if len(generations) < GENERATIONS and row["timeouts"] + 1 < TIMEOUTS:
        return False
    give_up(conn, row, f"no ack in {row['timeouts'] + 1} send timeouts over {len(generations)} generations of the page", now)
    return True


def give_up(conn: sqlite3.Connection, row: Row, why: str, now: float) -> None:
    """Nobody will ever know: failed(outcome_unknown). Its chat goes on."""
    end_attempt(conn, row, "lost", Unconfirmed("lost", why), now)
    values = {"reason": Reason.OUTCOME_UNKNOWN.value, "error": why, "waiting_since": None}
    transitions.move(conn, row, State.FAILED, now=now, values=values)
    lanes.recompute(conn, row["session"], row["recipient"])


def older_epochs(conn: sqlite3.Connection, fence: Fence, *, now: float) -> int:
    """What a predecessor left sending becomes unconfirmed, to be reconciled. Call it after attach_host. Returns how many; raises Fenced."""
    now = sessions.check(conn, fence, now)
    rows = conn.execute(
        "SELECT o.* FROM outbox o JOIN attempt a ON a.message = o.id AND a.number = o.number "
        "WHERE o.session = ? AND o.state IN (1, 2) AND o.state = 1 AND a.epoch < ?",
        (fence.session, fence.epoch),
    ).fetchall()
    for row in rows:
        _settle(conn, fence, row, Unconfirmed("host_gone", "its host ended before the outcome was known"), due=now, now=now, max_attempts=0)
    return len(rows)
