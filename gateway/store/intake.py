"""Many requests accepted together: what `accepting.accept` does for one, in a few statements for all of them.

A request costs about a third of what it costs alone, which is what bounds how many the API can
take. Each still stands for itself: one that is refused leaves the others alone.
"""

from __future__ import annotations

import itertools
import json
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gateway.message import State, new_hex, new_id
from gateway.store import accepting, bulk, counters, events, lanes, recipients, transitions
from gateway.store.errors import IdempotencyConflict, NotFound, QueueLimit
from gateway.store.model import Accepted, Draft


class Request(NamedTuple):
    """One request: a message, or a batch that is taken whole. `key` is its idempotency key within `scope`."""

    drafts: Sequence[Draft]
    scope: str
    key: str | None
    fingerprint: bytes


#: What became of a request: taken, or the refusal to raise.
Outcome = Accepted | IdempotencyConflict | QueueLimit | NotFound


@dataclass(slots=True)
class _Session:
    """What is asked once for all messages of a session."""

    accepted: float
    account: str | None
    queued: int
    coming: int = 0


class _Dice:
    """Random bytes, asked for once for many throws: each asking hands the interpreter over."""

    def __init__(self, size: int) -> None:
        self._bytes, self._at = secrets.token_bytes(size), 0

    def throw(self, size: int) -> bytes:
        self._at += size
        return self._bytes[self._at - size : self._at]


def accept_all(
    conn: sqlite3.Connection, *, requests: Sequence[Request], now: float, queue_limit: int, room: bool = True
) -> list[Outcome | None]:
    """Take each of the requests, or say why not; in their order. Without `room` only repeats are answered, None for the others.

    An idempotency key seen before answers with the ids given then, whatever limits say.
    """
    outcomes: list[Outcome | None] = [None] * len(requests)
    before = _before(conn, requests)
    sessions: dict[str, _Session | None] = {}
    taken: list[int] = []
    again: list[int] = []  # a key that comes twice in this round: the second is a repeat of the first
    keys: set[tuple[str, str]] = set()
    for i, request in enumerate(requests):
        if request.key is not None:
            if (request.scope, request.key) in keys:
                again.append(i)
                continue
            if (request.scope, request.key) in before:
                outcomes[i] = accepting.answer(request.key, request.fingerprint, *before[(request.scope, request.key)])
                continue
            keys.add((request.scope, request.key))
        if not room:
            continue
        refusal = _refusal(conn, request, sessions, now, queue_limit)
        if refusal is not None:
            outcomes[i] = refusal
        else:
            taken.append(i)
    if taken:
        for i, ids in zip(taken, _take(conn, [requests[i] for i in taken], sessions, now), strict=True):
            outcomes[i] = Accepted(ids, repeated=False)
    if again:
        rest = accept_all(conn, requests=[requests[i] for i in again], now=now, queue_limit=queue_limit, room=room)
        for i, outcome in zip(again, rest, strict=True):
            outcomes[i] = outcome
    return outcomes


def _before(conn: sqlite3.Connection, requests: Sequence[Request]) -> dict[tuple[str, str], tuple[bytes, str]]:
    """(scope, key) → (fingerprint, ids) of those idempotency keys that were seen before."""
    asked = [(r.scope, r.key) for r in requests if r.key is not None]
    if not asked:
        return {}
    rows = conn.execute(
        "SELECT r.scope, r.key, r.fingerprint, r.ids FROM json_each(?) j "
        "JOIN request r ON r.scope = j.value ->> 0 AND r.key = j.value ->> 1",
        (json.dumps(asked),),
    )
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}


def _refusal(
    conn: sqlite3.Connection, request: Request, sessions: dict[str, _Session | None], now: float, queue_limit: int
) -> QueueLimit | NotFound | None:
    coming: dict[str, int] = {}
    for draft in request.drafts:
        coming[draft.session] = coming.get(draft.session, 0) + 1
    for name, count in coming.items():
        if name not in sessions:
            sessions[name] = _session(conn, name, now)
        session = sessions[name]
        if session is None:
            return NotFound(f"there is no session {name}")
        if session.queued + session.coming + count > queue_limit:
            return QueueLimit(session.queued + session.coming)
    for name, count in coming.items():
        session = sessions[name]
        assert session is not None
        session.coming += count
    return None


def _session(conn: sqlite3.Connection, name: str, now: float) -> _Session | None:
    row = conn.execute(
        "UPDATE session SET last_accepted = max(last_accepted, ?) WHERE name = ? RETURNING last_accepted, ifnull(account, last_account)",
        (now, name),
    ).fetchone()
    if row is None:
        return None
    return _Session(row[0], row[1], int(counters.value(conn, "messages", {"session": name, "state": State.QUEUED.word})))


def _take(conn: sqlite3.Connection, requests: Sequence[Request], sessions: dict[str, _Session | None], now: float) -> list[list[str]]:
    """Write all of them; the ids of each."""
    dice = _Dice(15 * sum(len(r.drafts) for r in requests))
    people, nobody = _intern(conn, [d for r in requests for d in r.drafts], now)
    ids = [[new_id(now, dice.throw(6)) for _ in r.drafts] for r in requests]
    numbers = _remember(conn, requests, ids, now)
    rows: list[tuple[object, ...]] = []
    chats: list[int] = []
    least: dict[str, dict[int, float]] = {}  # of each session: recipient → ord of its first fresh row
    for request, mine, number in zip(requests, ids, numbers, strict=True):
        for public, draft in zip(mine, request.drafts, strict=True):
            session = sessions[draft.session]
            assert session is not None
            recipient = people[(draft.session, draft.address)]
            hex_ = new_hex(dice.throw(9))
            rows.append(accepting.values(draft, public, hex_, recipient, number, session.accepted, session.account, now))
            chats.append(recipient)
            ords, ord_ = least.setdefault(draft.session, {}), max(session.accepted, draft.send_at or 0.0)
            ords[recipient] = min(ord_, ords.get(recipient, ord_))
    last = bulk.insert(conn, accepting.OUTBOX, rows)
    first = last - len(rows) + 1  # AUTOINCREMENT: one after the other
    for name, ords in least.items():
        session = sessions[name]
        assert session is not None
        lanes.appended_many(conn, name, ords)
        transitions.count(conn, name, None, State.QUEUED, session.coming)
    events.append_range(conn, kind="message.queued", first=first, last=last)
    recipients.fail_at_once(conn, [(first + n, recipient) for n, recipient in enumerate(chats) if recipient in nobody], now)
    return ids


def _remember(conn: sqlite3.Connection, requests: Sequence[Request], ids: list[list[str]], now: float) -> list[int | None]:
    """The row of each request's idempotency key; None where it has none."""
    rows = [(r.scope, r.key, r.fingerprint, json.dumps(mine), now) for r, mine in zip(requests, ids, strict=True) if r.key is not None]
    if not rows:
        return [None] * len(requests)
    at = itertools.count(bulk.insert(conn, accepting.REQUEST, rows) - len(rows) + 1)
    return [next(at) if r.key is not None else None for r in requests]


def _intern(conn: sqlite3.Connection, drafts: list[Draft], now: float) -> tuple[dict[tuple[str, str], int], set[int]]:
    """The recipient behind each (session, address), made if it is new; and those that were not there a moment ago."""
    wanted = list(dict.fromkeys((d.session, d.address) for d in drafts))
    rows = conn.execute(
        "SELECT a.session, a.address, a.recipient, r.state, r.resolved_at FROM json_each(?) j "
        "JOIN alias a ON a.session = j.value ->> 0 AND a.address = j.value ->> 1 JOIN recipient r ON r.id = a.recipient",
        (json.dumps(wanted),),
    ).fetchall()
    found = {(r[0], r[1]): int(r[2]) for r in rows}
    nobody = {int(row[2]) for row in rows if recipients.believed(row[3], row[4], now)}
    new = [pair for pair in wanted if pair not in found]
    if new:
        first = bulk.insert(conn, "recipient(session, is_group, ask_at)", [(s, a.endswith("@g.us"), now) for s, a in new]) - len(new) + 1
        made = {pair: first + n for n, pair in enumerate(new)}
        bulk.insert(conn, "alias(session, address, recipient)", [(*pair, id) for pair, id in made.items()])
        found |= made
    return found, nobody
