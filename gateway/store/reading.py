"""Looking at messages and at the queue; changes nothing, and runs on a reader's connection too."""

# ruff: noqa: S608 (what is put into SQL here are constants of this module, never a value)

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from gateway.message import Reason, State
from gateway.pacing import Use, drain, holding
from gateway.store import claims, sessions
from gateway.store.model import AttemptView, MessageView, Page, QueueStatus, Transition, Unacked, Waits
from gateway.store.sessions import SessionRow

_VIEW = "SELECT o.*, r.wa_id AS recipient_wa_id FROM outbox o JOIN recipient r ON r.id = o.recipient WHERE "
#: Seconds over which the rate of sending is taken.
RATE_WINDOW = 300
#: Seconds before the next look while too many hand-overs wait for acks: an ack wakes the sender, this covers one that got lost.
UNACKED_LOOK = 0.5


def get(conn: sqlite3.Connection, id: str) -> MessageView | None:
    """One message with its attempts and transitions, oldest first; None if there is none."""
    row = conn.execute(_VIEW + "o.public = ?", (id,)).fetchone()
    if row is None:
        return None
    attempts = conn.execute("SELECT * FROM attempt WHERE message = ? ORDER BY number", (row["id"],)).fetchall()
    history = conn.execute("SELECT kind, at, data FROM event WHERE message = ? ORDER BY id", (row["id"],))
    return _view(
        row,
        attempts=[AttemptView(**{k: a[k] for k in a.keys() if k != "message"}) for a in attempts],  # noqa: SIM118
        transitions=[Transition(e["kind"].removeprefix("message."), e["at"], json.loads(e["data"])) for e in history],
    )


def list_(
    conn: sqlite3.Connection,
    *,
    states: Collection[State] | None = None,
    session: str | None = None,
    recipient: str | None = None,
    since: float | None = None,
    until: float | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page:
    """Messages, newest first. `recipient` is a normalized address in any of its spellings; `since` ≤ accepted < `until`.

    Raises ValueError for a cursor that is none.
    """
    where, arguments = ["1"], list[Any]()
    if states is not None:
        # one state is written as a term, so that SQLite sees that the index on failed ones fits
        numbers = sorted(int(state) for state in states)
        where.append(f"o.state = {numbers[0]}" if len(numbers) == 1 else f"o.state IN ({','.join(map(str, numbers))})")
    for term, value in (("o.session = ?", session), ("o.accepted >= ?", since), ("o.accepted < ?", until)):
        if value is not None:
            where.append(term)
            arguments.append(value)
    if recipient is not None:
        where.append("o.recipient IN (SELECT recipient FROM alias WHERE address = ? AND (? IS NULL OR session = ?))")
        arguments += [recipient, session, session]
    if cursor is not None:
        where.append("o.id < ?")
        arguments.append(_number(cursor))
    rows = conn.execute(_VIEW + " AND ".join(where) + " ORDER BY o.id DESC LIMIT ?", (*arguments, limit + 1)).fetchall()
    more = len(rows) > limit
    return Page([_view(row) for row in rows[:limit]], f"m{rows[limit - 1]['id']}" if more else None)


def _number(cursor: str) -> int:
    if not cursor.startswith("m") or not cursor[1:].isdigit():
        raise ValueError(f"{cursor!r} is no cursor")
    return int(cursor[1:])


def _view(row: sqlite3.Row, attempts: list[AttemptView] | None = None, transitions: list[Transition] | None = None) -> MessageView:
    return MessageView(
        id=row["public"], rowid=row["id"], session=row["session"], address=row["address"], recipient_wa_id=row["recipient_wa_id"],
        account=row["account"], type=row["type"], content=json.loads(row["content"]), callback_data=row["callback_data"],
        priority=row["priority"], accepted=row["accepted"], send_at=row["send_at"], ttl=row["ttl"], expires_at=row["expires_at"],
        due=row["due"], state=State(row["state"]), state_since=row["state_since"], hold=row["hold"], reason=row["reason"],
        error=row["error"], wa_id=row["key"], attempts_counted=row["attempts"], attempts=attempts or [], transitions=transitions or [],
    )  # fmt: skip


def unacked(conn: sqlite3.Connection, *, session: str) -> Unacked:
    """What waits for WhatsApp's word, and whether that word comes at all."""
    known = sessions.get(conn, session)
    last = known.last_sent_at if known is not None else None
    row = conn.execute(
        "SELECT count(*) AS count, min(t) AS oldest, min(CASE WHEN t > :last THEN t END) AS since_ack, "
        "count(DISTINCT CASE WHEN t > :last AND state = 2 THEN recipient END) AS silent "
        "FROM (SELECT ifnull(a.placed_at, a.claimed_at) AS t, o.state, o.recipient FROM outbox o "
        "JOIN attempt a ON a.message = o.id AND a.number = o.number WHERE o.session = :session AND o.state IN (1, 2))",
        {"session": session, "last": last or 0.0},
    ).fetchone()
    oldest = row["oldest"] if row["since_ack"] is None else row["since_ack"]
    # A message that is given up leaves nothing that waits, and proves nothing either. By its own index: a host asks each second,
    # and among all that ended since the last ack there may be a whole queue that was cleared.
    given_up = conn.execute(
        "SELECT EXISTS (SELECT 1 FROM outbox o INDEXED BY outbox_given_up JOIN attempt a ON a.message = o.id AND a.number = o.number "
        "WHERE o.session = :session AND o.state_since > :last AND o.state = 20 AND o.timeouts > 0 AND a.claimed_at > :last)",
        {"session": session, "last": last or 0.0},
    ).fetchone()[0]
    return Unacked(int(row["count"]), oldest, last, bool(given_up), int(row["silent"]))


def _earliest(new: int) -> str:
    arms = (
        f"SELECT * FROM (SELECT due, head_id FROM lane INDEXED BY lane_due WHERE session = :session AND blocked = 0 "
        f"AND priority = {p} AND new = {new} ORDER BY due LIMIT 1)"
        for p in range(10)
    )
    return " UNION ALL ".join(arms) + " ORDER BY due LIMIT 1"


_EARLIEST = {0: _earliest(0), 1: _earliest(1)}
_EARLIEST_BLOCKED = "SELECT due, head_id, blocked FROM lane WHERE session = ? AND blocked <> 0 ORDER BY due LIMIT 1"


def next_due(conn: sqlite3.Connection, *, session: str, now: float, new_chats: bool = True) -> float | None:
    """When the next claim may find something, as far as time alone decides (may lie in the past); None if nothing could be claimed.

    `new_chats` as for the claim. While as many hand-overs as may wait for acks do, an ack decides, which rings; time alone would
    have the claim tried over and over.
    """
    row = sessions.get(conn, session)
    if row is None or row.paused or (row.account is not None and not row.sorted):
        return None
    if claims.unacked_places(conn, session) <= 0:
        return now + UNACKED_LOOK
    until = row.restricted_until if row.restricted_until and row.restricted_until > now else None
    trying = sessions.trying_out(conn, row, now)
    found = []
    for new, query in _EARLIEST.items():
        lane = None if new and (trying or not new_chats) else conn.execute(query, {"session": session}).fetchone()
        if lane is not None:
            limited = until is not None and (new or row.restricted_everything)
            found.append(max(lane["due"], until) if limited and until is not None else lane["due"])
    return min(found, default=None)


def queue_status(
    conn: sqlite3.Connection, *, now: float, session: str | None = None, uses: Mapping[str, Sequence[Use]] | None = None
) -> QueueStatus:
    """The queue of one session, or of all together (then reason and head are of the session that waits longest).

    `uses`: how the caps of each session stand, as its host says, in wall-clock time.
    """
    rows = [row for row in sessions.all_(conn) if session in (None, row.name)]
    each = [_status(conn, row, now, (uses or {}).get(row.name, ())) for row in rows]
    if len(each) == 1:
        return each[0]
    worst = max(each, key=lambda s: (s.reason is not None, s.oldest_age or 0.0), default=None)
    ages = [s.oldest_age for s in each if s.oldest_age is not None]
    sent = [s.last_sent_at for s in each if s.last_sent_at is not None]
    counts, rate = _sum([s.counts for s in each]) or {state.word: 0 for state in State}, sum(s.rate for s in each)
    return QueueStatus(
        counts=counts, held=_sum([s.held for s in each]), oldest_age=max(ages, default=None), head=worst.head if worst else None,
        reason=worst.reason if worst else None, reason_until=worst.reason_until if worst else None, cap=worst.cap if worst else None,
        last_sent_at=max(sent, default=None), rate=rate, drain=_last([s for s in each if s.counts[State.QUEUED.word] or s.rate]),
        in_flight=counts[State.SENDING.word], unconfirmed=counts[State.UNCONFIRMED.word],
    )  # fmt: skip


def _last(each: Sequence[QueueStatus]) -> float | None:
    """Sessions send beside each other: all is gone when the slowest is done; unknown if that is unknown of one."""
    drains = [s.drain for s in each]
    return None if None in drains else max((d for d in drains if d is not None), default=None)


def _sum(many: list[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in many:
        for name, number in one.items():
            total[name] = total.get(name, 0) + number
    return total


def _status(conn: sqlite3.Connection, session: SessionRow, now: float, uses: Sequence[Use]) -> QueueStatus:
    counts = {state.word: 0 for state in State}
    for row in conn.execute("SELECT labels, value FROM counter WHERE name = 'messages'"):
        labels = json.loads(row["labels"])
        if labels["session"] == session.name:
            counts[labels["state"]] = int(row["value"])
    held = {
        row[0]: row[1]
        for row in conn.execute(
            "SELECT hold, count(*) FROM outbox WHERE session = ? AND state = 0 AND hold IS NOT NULL GROUP BY hold", (session.name,)
        )
    }
    sent, busy = _sent_lately(conn, session.name, now)
    queued = counts[State.QUEUED.word]
    head, reason, until, cap = _head(conn, session, now, uses) if queued else (None, None, None, None)
    return QueueStatus(
        counts=counts, held=held, oldest_age=_oldest(conn, session.name, now), head=head, reason=reason, reason_until=until,
        cap=cap, last_sent_at=session.last_sent_at, rate=sent / RATE_WINDOW, drain=drain(queued, sent / busy, uses, now),
        in_flight=counts[State.SENDING.word], unconfirmed=counts[State.UNCONFIRMED.word],
    )  # fmt: skip


def _sent_lately(conn: sqlite3.Connection, session: str, now: float) -> tuple[int, float]:
    """How many were sent in the last RATE_WINDOW seconds, and the seconds of the minutes in which any were: an idle hour is no pace."""
    sent, minutes, last = conn.execute(
        "SELECT ifnull(sum(count), 0), count(*), max(minute) FROM sent_minute WHERE session = ? AND minute > ?",
        (session, int((now - RATE_WINDOW) // 60)),
    ).fetchone()
    rest = 60.0 - now % 60.0 if last == int(now // 60) else 0.0
    return sent, max(1.0, 60.0 * minutes - rest)


def _oldest(conn: sqlite3.Connection, session: str, now: float) -> float | None:
    """Seconds that the longest waiting queued message waits: from its acceptance, or from its send_at."""
    found = [
        conn.execute("SELECT min(ord) FROM outbox WHERE session = ? AND state = 0 AND scheduled = ?", (session, scheduled)).fetchone()[0]
        for scheduled in (0, 1)
    ]
    # accepted is never to come, only `send_at` is
    ages = [max(0.0, now - ord_) for scheduled, ord_ in enumerate(found) if ord_ is not None and (ord_ <= now or not scheduled)]
    return max(ages, default=None)


def waits(conn: sqlite3.Connection, session: SessionRow, *, now: float, uses: Sequence[Use] = ()) -> Waits:
    """How long messages wait, by index seeks alone: a scrape costs the same with ten messages and with ten million.

    Due is what nothing but the gateway and WhatsApp holds up. Not due: what is held, scheduled or in back-off; all of a session
    that its operator paused or stopped, or a cap of pacing holds back (`uses`); what goes to new chats while the account is
    restricted, or the cap on those is reached.
    """
    until = session.restricted_until
    restricted = until is not None and (until > now or sessions.trying_out(conn, session, now))
    oldest = _oldest(conn, session.name, now)
    capped = holding(uses, new_chats=False) is not None
    if session.paused or session.desired == "stopped" or capped or (restricted and session.restricted_everything):
        return Waits(oldest, None, restricted)
    known_only = restricted or holding(uses, new_chats=True) is not None
    found = [conn.execute(query, {"session": session.name}).fetchone() for new, query in _EARLIEST.items() if not (new and known_only)] + [
        conn.execute(_EARLIEST_BLOCKED, (session.name,)).fetchone()
    ]
    ages = [now - lane["due"] for lane in found if lane is not None and lane["due"] <= now]
    return Waits(oldest, max(ages, default=None), restricted)


#: Why a message waits, until when where known, and the cap behind that.
_Why = tuple[Reason, float | None, str | None]


def _head(
    conn: sqlite3.Connection, session: SessionRow, now: float, uses: Sequence[Use]
) -> tuple[str | None, str | None, float | None, str | None]:
    """The message that goes next: public id, why it waits, until when, and which cap."""
    candidates: list[tuple[bool, float, int, _Why]] = []  # whether its kind of chat is held back, due, head_id, why
    for new, query in _EARLIEST.items():
        lane = conn.execute(query, {"session": session.name}).fetchone()
        if lane is not None:
            held = _held_back(conn, session, bool(new), now, uses)
            candidates.append((held is not None, lane["due"], lane["head_id"], held or _in_time(conn, lane, now, uses)))
    lane = conn.execute(_EARLIEST_BLOCKED, (session.name,)).fetchone()
    if lane is not None:
        reason = Reason.IN_FLIGHT if lane["blocked"] & 1 else Reason.RESOLVING
        candidates.append((False, lane["due"], lane["head_id"], (reason, None, None)))
    if not candidates:  # all that is queued is held
        query = "SELECT id, hold FROM outbox WHERE session = ? AND state = 0 AND hold IS NOT NULL ORDER BY id LIMIT 1"
        row = conn.execute(query, (session.name,)).fetchone()
        return (_public(conn, row["id"]), row["hold"], None, None) if row else (None, None, None, None)
    _, _, head, why = min(candidates, key=lambda c: c[:2])
    if session.paused:
        why = Reason.PAUSED, None, None
    elif session.state != "ready" or not session.sorted:
        why = Reason.SESSION_NOT_READY, None, None
    return _public(conn, head), why[0].value, *why[1:]


def _held_back(conn: sqlite3.Connection, session: SessionRow, new: bool, now: float, uses: Sequence[Use]) -> _Why | None:
    """Why no message to this kind of chat goes at all: WhatsApp restricts the account, or a cap on new chats is reached."""
    restricted = session.restricted_until if session.restricted_until and session.restricted_until > now else None
    if restricted is not None and (new or session.restricted_everything):
        return Reason.ACCOUNT_RESTRICTED, restricted, None
    if new and sessions.trying_out(conn, session, now):
        return Reason.ACCOUNT_RESTRICTED, None, None
    use = holding([use for use in uses if use.new_chats], new_chats=True) if new else None
    return None if use is None else (Reason.RATE_LIMITED, use.until, use.name)


def _in_time(conn: sqlite3.Connection, lane: sqlite3.Row, now: float, uses: Sequence[Use]) -> _Why:
    """Why a lane that nothing blocks still waits: for its time, or for its turn."""
    if lane["due"] <= now:
        use = holding(uses, new_chats=False)
        return Reason.RATE_LIMITED, use.until if use else None, use.name if use else None
    row = conn.execute("SELECT send_at, due FROM outbox WHERE id = ?", (lane["head_id"],)).fetchone()
    if row["due"] < lane["due"]:
        return Reason.RATE_LIMITED, lane["due"], "chat_interval"
    scheduled = row["send_at"] is not None and row["send_at"] >= lane["due"]
    return (Reason.SCHEDULED if scheduled else Reason.RETRY_BACKOFF), lane["due"], None


def _public(conn: sqlite3.Connection, rowid: int) -> str:
    return str(conn.execute("SELECT public FROM outbox WHERE id = ?", (rowid,)).fetchone()[0])
