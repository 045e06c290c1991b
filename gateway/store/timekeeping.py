"""Brings back what lies in the future after a clock that was ahead was set right; `send_at` is the user's and stays.

A stamp in the future holds things up: a last ack of tomorrow blinds the judgement whether messages go out, a restriction
lasts for as long as the clock had jumped, an age is unknown. Stamps are compared with each other, so they are not cut to now one by
one: all that are ahead are pressed together into the second after now, in their order.
"""

# ruff: noqa: S608 (what is put into SQL here are constants of this module, never a value)

from __future__ import annotations

import json
import sqlite3

from gateway.message import ACKED, DEAD
from gateway.store import clock, handovers, lanes, queue, sessions
from gateway.store.sessions import SessionRow

#: Seconds after now into which all that is ahead is pressed.
WITHIN = 1.0
#: Rows of each kind that one transaction changes at most.
BATCH = 250
#: Events are brought back from the last one on, until a batch is older than so many seconds and has none ahead.
_RECENT = 60.0
_ENDED = (*sorted(ACKED), *sorted(DEAD))


def _back(column: str) -> str:
    """The stamp itself, or where it is ahead, its place in the second after now; what is there already stays."""
    return f"CASE WHEN {column} > :ahead THEN :now + min({WITHIN}, ({column} - :now) * :scale) ELSE {column} END"


_SESSION = (
    f"UPDATE session SET created = {_back('created')}, state_since = {_back('state_since')}, last_sent_at = {_back('last_sent_at')}, "
    f"last_health_at = {_back('last_health_at')}, restricted_until = min(restricted_until, :restricted) WHERE name = :session"
)
_ATTEMPTS = (
    f"UPDATE attempt SET claimed_at = {_back('claimed_at')}, placed_at = {_back('placed_at')}, ended_at = {_back('ended_at')} "
    "WHERE message = :row"
)
#: `ord` is a stamp unless it is the user's `send_at`; ttl counts from it. What was never handed over is due as of its acceptance.
_STAMP = "ord > ifnull(send_at, 0)"
_ORD = f"max(ifnull(send_at, 0), {_back('ord')})"
_ROW = (
    f"UPDATE outbox SET accepted = {_back('accepted')}, state_since = {_back('state_since')}, waiting_since = {_back('waiting_since')}, "
    f"ord = CASE WHEN {_STAMP} THEN {_ORD} ELSE ord END, expires_at = CASE WHEN {_STAMP} THEN {_ORD} + ttl ELSE expires_at END, "
    f"due = CASE WHEN {_STAMP} AND number = 0 THEN min(due, max(:now, ifnull(send_at, 0))) ELSE due END WHERE id = :row"
)
_RECOVERIES = (
    f"UPDATE recovery SET started_at = {_back('started_at')}, ended_at = {_back('ended_at')} "
    "WHERE id IN (SELECT id FROM recovery WHERE session = :session ORDER BY id DESC LIMIT :limit) "
    "AND max(started_at, ifnull(ended_at, 0)) > :ahead"
)
_EVENTS = f"UPDATE event SET at = {_back('at')} WHERE id < :below AND id >= :least AND at > :ahead AND session IS :session"
#: Whatever changed while the clock was ahead has an event; what waits is found in its order by `_rows`, and only so.
_OF_EVENTS = """SELECT DISTINCT o.id FROM event e JOIN outbox o ON o.id = e.message WHERE e.id < :below AND e.id >= :least AND e.at > :ahead
    AND e.session IS :session AND NOT (o.state = 0 AND o.scheduled = 0)"""


def set_right(
    conn: sqlite3.Connection,
    session: str,
    *,
    now: float,
    largest: float = 300.0,
    chat_interval: float = 0.0,
    stamps: bool = True,
    below: int | None = None,
    limit: int = BATCH,
) -> int | None:
    """Bring back what lies in the future of the session, and back-offs further away than `largest` (`queue.clamp_backoff`).

    Without `stamps` only the back-offs: for a wall clock that is not plausible (clock.PLAUSIBLE). Changes `limit` rows of each kind
    at most. Returns None if that was all, else the `below` to go on with, in a transaction of its own. Call it at start, each
    minute, and when a stamp or the clock shows that the clock was set back; where nothing is ahead it costs a few looks into indexes.
    """
    queue.clamp_backoff(conn, session, now, largest, chat_interval=chat_interval)
    row = sessions.get(conn, session)
    if row is None or not stamps:
        return None
    latest = _latest(conn, row)
    last_event = conn.execute("SELECT at FROM event ORDER BY id DESC LIMIT 1").fetchone()
    if not row.ahead(now) and not clock.ahead(latest, now) and not clock.ahead(last_event and last_event[0], now) and below is None:
        return None
    latest = max(latest, last_event[0] if last_event else 0.0, now + clock.STEP)
    given: dict[str, object] = {"session": session, "now": now, "ahead": now + WITHIN, "scale": WITHIN / (latest - now), "limit": limit}
    conn.execute(_SESSION, {**given, "restricted": now + sessions.longest_guess(row)})
    conn.execute(_RECOVERIES, given)
    handovers.bring_back(conn, session=session, now=now)
    found = _rows(conn, session, now, limit)
    _bring_back(conn, given, found)
    further = _events(conn, given, below)
    if further is None and len(found) < limit:
        conn.execute("UPDATE session SET last_accepted = min(last_accepted, ?) WHERE name = ?", (now + WITHIN, session))
        return None
    return further if further is not None else 0


def _bring_back(conn: sqlite3.Connection, given: dict[str, object], rows: list[int]) -> None:
    for number in rows:
        for statement in (_ROW, _ATTEMPTS):
            conn.execute(statement, {**given, "row": number})
    chats = conn.execute("SELECT DISTINCT session, recipient FROM outbox WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(rows),))
    lanes.recompute_many(conn, [(r[0], r[1]) for r in chats.fetchall()])


def _latest(conn: sqlite3.Connection, row: SessionRow) -> float:
    """The latest stamp of the session, or one that is no earlier."""
    query = "SELECT max(ord) FROM outbox WHERE session = ? AND state = 0 AND scheduled = 0"
    waiting = conn.execute(query, (row.name,)).fetchone()[0] or 0.0
    return max(row.last_accepted, row.state_since, row.last_sent_at or 0.0, row.last_health_at or 0.0, waiting)


def _rows(conn: sqlite3.Connection, session: str, now: float, limit: int) -> list[int]:
    """Messages with a stamp ahead, `limit` at most: those under way, those that wait (in their order), those that ended."""
    given = {"session": session, "ahead": now + WITHIN, "now": now, "limit": limit}
    found = [
        r[0]
        for r in conn.execute(
            "SELECT o.id FROM outbox o JOIN attempt a ON a.message = o.id AND a.number = o.number WHERE o.session = :session "
            "AND o.state IN (1, 2) AND max(o.accepted, o.state_since, ifnull(o.waiting_since, 0), a.claimed_at) > :ahead LIMIT :limit",
            given,
        )
    ]
    waiting = "SELECT id FROM outbox WHERE session = :session AND state = 0 AND scheduled = 0 AND ord > :ahead"
    found += [r[0] for r in conn.execute(f"{waiting} ORDER BY ord, id LIMIT :limit", given)]
    for state in _ENDED:
        ended = (
            "SELECT id FROM outbox INDEXED BY outbox_ended WHERE session = :session AND state NOT IN (0, 1, 2) AND state = :state "
            "AND state_since > :ahead ORDER BY state_since LIMIT :limit"
        )
        found += [r[0] for r in conn.execute(ended, {**given, "state": int(state), "limit": max(0, limit - len(found))})]
    return found[:limit]


def _events(conn: sqlite3.Connection, given: dict[str, object], below: int | None) -> int | None:
    """The batch of events before `below`, from the last one on. Returns where to go on, None where there is nothing ahead any more."""
    if below == 0:
        return None
    query = "SELECT min(id), min(at), max(at), max(id) FROM (SELECT id, at FROM event WHERE id < ? ORDER BY id DESC LIMIT ?)"
    least, oldest, newest, _ = conn.execute(query, (below or 1 << 62, given["limit"])).fetchone()
    if least is None:
        return None
    batch = {**given, "below": below or 1 << 62, "least": least}
    _bring_back(conn, given, [row[0] for row in conn.execute(_OF_EVENTS, batch).fetchall()])
    conn.execute(_EVENTS, batch)
    now = float(str(given["now"]))
    return int(least) if newest > now or oldest > now - _RECENT else None
