"""What people and time do to the queue: cancel, clear, requeue, expire; and back-offs after a jump of the clock.

Only rows never handed over, or proven not sent, are cancelled or expire: of the others nobody could say what became of them.
"""

# ruff: noqa: S608 (what is put into SQL here are constants of this module, never a value)

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from gateway.message import DEAD, State
from gateway.store import clock, lanes, transitions
from gateway.store.errors import Conflict, NotFound
from gateway.store.transitions import Row

#: What a queued row waits for, as `clear` tells them apart.
Waiting = Literal["waiting", "backoff", "scheduled", "held"]
WAITING: tuple[Waiting, ...] = ("waiting", "backoff", "scheduled", "held")
_WHICH: dict[Waiting, str] = {
    "held": "hold IS NOT NULL",
    "scheduled": "hold IS NULL AND ifnull(send_at, 0) > :now",
    "backoff": "hold IS NULL AND ifnull(send_at, 0) <= :now AND due > :now",
    "waiting": "hold IS NULL AND ifnull(send_at, 0) <= :now AND due <= :now",
}


#: Rows that one transaction of `clear` looks at: 300,000 in one kept others from the lock for 8 s.
BATCH = 250

#: Where a batch of `clear` ended: session, scheduled, ord, id.
Place = tuple[str, int, float, int]


@dataclass(frozen=True, slots=True)
class Cleared:
    """How many were cancelled (or would be), and how many were left alone because they may have been sent.

    `next`: go on there, in a transaction of its own; None: that was all.
    """

    cancelled: int
    outcome_unknown: int
    next: Place | None = None


def by_id(conn: sqlite3.Connection, id: str) -> Row:
    """The row of a public id. Raises NotFound."""
    row: Row | None = conn.execute("SELECT * FROM outbox WHERE public = ?", (id,)).fetchone()
    if row is None:
        raise NotFound(f"there is no message {id}")
    return row


def cancel(conn: sqlite3.Connection, *, id: str, now: float) -> None:
    """Take a queued message back. Raises NotFound, Conflict (outcome_unknown, message_state)."""
    row = by_id(conn, id)
    state = State(row["state"])
    if state in (State.SENDING, State.UNCONFIRMED) or (state is State.QUEUED and row["uncertain"]):
        raise Conflict("outcome_unknown", "The message was handed over and may have been sent: it cannot be cancelled.")
    if state is not State.QUEUED:
        raise Conflict("message_state", f"The message is {state.word}: only queued ones can be cancelled.")
    transitions.move(conn, row, State.CANCELLED, now=clock.now(conn, row["session"], now), values=_let_go(row["hold"]))
    lanes.recompute(conn, row["session"], row["recipient"])


def _let_go(hold: str | None) -> dict[str, object]:
    """A hold ends with the row; one that was restored may have gone out since the backup, which a requeue must know."""
    return {"hold": None, "asked": 0, "uncertain": int(hold == "restored")}


def clear(
    conn: sqlite3.Connection,
    *,
    session: str | None = None,
    states: Collection[Waiting] | None = None,
    after: Place | None = None,
    limit: int = BATCH,
    now: float,
) -> Cleared:
    """Cancel queued rows in those states of waiting (None: in all) that were never handed over or are proven not sent.

    It looks at `limit` rows at most, from `after` on, in the order of their acceptance.
    """
    if after is None:
        first = session or conn.execute("SELECT min(name) FROM session").fetchone()[0]
        if first is None:
            return Cleared(0, 0)
        after = (first, -1, 0.0, 0)
    columns = f"id, session, recipient, state, hold, uncertain, scheduled, ord, ({_which(states)}) AS asked"
    seen = queued_after(conn, columns, after, limit, now=now)
    rows = [row for row in seen if row["asked"] and not row["uncertain"]]
    for hold in {row["hold"] for row in rows}:
        stamp = clock.now(conn, after[0], now)
        transitions.move_many(conn, [r for r in rows if r["hold"] == hold], State.CANCELLED, now=stamp, values=_let_go(hold))
    lanes.recompute_many(conn, [(r["session"], r["recipient"]) for r in rows])
    unknown = sum(1 for row in seen if row["asked"] and row["uncertain"])
    return Cleared(len(rows), unknown, _next(conn, after[0], seen, limit, session))


def queued_after(conn: sqlite3.Connection, columns: str, place: Place, limit: int, *, now: float = 0.0) -> list[Row]:
    """The queued rows of the session behind `place`, in its order, `limit` at most.

    In two seeks: with one comparison of all three SQLite reads every row of the same `ord`, and a whole queue may have the same.
    """
    given = {**dict(zip(("session", "scheduled", "ord", "id"), place, strict=True)), "now": now}
    begin = f"SELECT {columns} FROM outbox INDEXED BY outbox_queued WHERE session = :session AND state = 0 AND "
    beside = f"{begin} scheduled = :scheduled AND ord = :ord AND id > :id ORDER BY id LIMIT :limit"
    behind = f"{begin} (scheduled, ord) > (:scheduled, :ord) ORDER BY scheduled, ord, id LIMIT :limit"
    found = conn.execute(beside, {**given, "limit": limit}).fetchall()
    if len(found) < limit:
        found += conn.execute(behind, {**given, "limit": limit - len(found)}).fetchall()
    return found


def _next(conn: sqlite3.Connection, name: str, seen: list[Row], limit: int, only: str | None) -> Place | None:
    """Behind the last row seen; where that was the session's last, at the start of the next session."""
    if len(seen) == limit:
        last = seen[-1]
        return name, last["scheduled"], last["ord"], last["id"]
    if only is not None:
        return None
    name = conn.execute("SELECT min(name) FROM session WHERE name > ?", (name,)).fetchone()[0]
    return None if name is None else (name, -1, 0.0, 0)


def would_clear(conn: sqlite3.Connection, *, session: str | None = None, states: Collection[Waiting] | None = None, now: float) -> Cleared:
    """What clearing the whole queue would do; only looks."""
    where = f"state = 0 AND (:session IS NULL OR session = :session) AND ({_which(states)})"
    row = conn.execute(
        f"SELECT count(*) FILTER (WHERE NOT uncertain), count(*) FILTER (WHERE uncertain) FROM outbox WHERE {where}",
        {"session": session, "now": now},
    ).fetchone()
    return Cleared(row[0], row[1])


def _which(states: Collection[Waiting] | None) -> str:
    return " OR ".join(f"({_WHICH[state]})" for state in WAITING if states is None or state in states) or "0"


def requeue(conn: sqlite3.Connection, *, id: str, accept_duplicate: bool = False, now: float) -> None:
    """Put a failed, cancelled or expired message at the end of its chat, with all attempts before it.

    Where it may have been sent, `accept_duplicate` is needed; the host then asks WhatsApp for its id
    first (Claim.accept_duplicate) and sends it, under the same id, only if it is not found.
    Raises NotFound, Conflict (outcome_unknown, message_state).
    """
    row = by_id(conn, id)
    state = State(row["state"])
    if state not in DEAD:
        raise Conflict("message_state", f"The message is {state.word}: only failed, cancelled and expired ones can be requeued.")
    if row["uncertain"] and not accept_duplicate:
        raise Conflict("outcome_unknown", "The message may have been sent already. Say accept_duplicate to send it all the same.")
    stamp = clock.now(conn, row["session"], now)
    session = conn.execute("SELECT ifnull(account, last_account) AS account FROM session WHERE name = ?", (row["session"],)).fetchone()
    send_at = row["send_at"] or 0.0
    ord_, account = max(stamp, send_at), row["account"] or session["account"]
    values = {
        "ord": ord_, "due": max(now, send_at), "scheduled": int(send_at > now), "expires_at": ord_ + row["ttl"] if row["ttl"] else None,
        "attempts": 0, "timeouts": 0, "timeout_generations": "[]", "reason": None, "error": None, "resend": row["uncertain"],
        "account": account, "hold": "other_account" if account != session["account"] else None,
    }  # fmt: skip
    transitions.move(conn, row, State.QUEUED, now=stamp, values=values, data={"requeued": True, "accept_duplicate": accept_duplicate})
    lanes.recompute(conn, row["session"], row["recipient"])


def expire(conn: sqlite3.Connection, *, now: float, limit: int = 500) -> int:
    """End what has waited longer than its ttl, at most `limit` rows. What was restored from a backup does not expire: it may have gone out.

    Returns how many.
    """
    rows = conn.execute(
        "SELECT id, session, recipient, state FROM outbox WHERE state = 0 AND expires_at IS NOT NULL AND expires_at <= ? "
        "AND NOT uncertain AND hold IS NOT 'restored' ORDER BY expires_at LIMIT ?",
        (now, limit),
    ).fetchall()
    for session in {row["session"] for row in rows}:
        stamp, mine = clock.now(conn, session, now), [row for row in rows if row["session"] == session]
        transitions.move_many(conn, mine, State.EXPIRED, now=stamp, values={"hold": None})
    lanes.recompute_many(conn, [(r["session"], r["recipient"]) for r in rows])
    return len(rows)


def clamp_backoff(
    conn: sqlite3.Connection, session: str, now: float, largest: float, *, chat_interval: float = 0.0, limit: int = 1000
) -> int:
    """The clock was set back: what would wait longer than the largest back-off is due now, but for `send_at`.

    A gap between two messages to one chat that is longer than `chat_interval` (the clock again, or the setting was lowered) is
    that long from now.
    Call it at start, each minute, and when the clocks part. At most `limit` rows each time. Returns how many.
    """
    late = "SELECT id FROM outbox WHERE session = :session AND state = 0 AND due > :late AND due > ifnull(send_at, 0)"
    rows = conn.execute(
        "UPDATE outbox SET due = max(:now, ifnull(send_at, 0)) WHERE id IN ("
        f"SELECT * FROM ({late} AND number > 0 LIMIT :limit) UNION SELECT * FROM ({late} AND scheduled = 0 AND ord > :late LIMIT :limit)"
        ") RETURNING session, recipient",
        {"session": session, "now": now, "late": now + largest, "limit": limit},
    ).fetchall()
    asking = "SELECT recipient FROM lane WHERE session = ? AND ask_at IS NOT NULL AND ask_at > ?"
    asked = conn.execute(
        f"UPDATE recipient SET ask_at = ? WHERE state <> 1 AND id IN ({asking}) RETURNING session, id",
        (now, session, now + largest),
    ).fetchall()
    gaps = "SELECT id FROM recipient WHERE session = :session AND next_at > :now + :gap LIMIT :limit"
    paced = conn.execute(
        f"UPDATE recipient SET next_at = nullif(:now + :gap, :now) WHERE id IN ({gaps}) RETURNING session, id",
        {"session": session, "now": now, "gap": chat_interval, "limit": limit},
    ).fetchall()
    lanes.recompute_many(conn, [(r[0], r[1]) for r in (*rows, *asked, *paced)])
    return len(rows) + len(asked) + len(paced)
