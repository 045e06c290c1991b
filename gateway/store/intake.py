"""Many requests accepted together: what `accepting.accept` does for one, in a few statements for all of them.

A request costs about a third of what it costs alone, which is what bounds how many the API can
take. Each still stands for itself: one that is refused leaves the others alone.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.message import State, new_hex, new_id
from gateway.store import accepting, counters, events, lanes, recipients, transitions
from gateway.store.errors import IdempotencyConflict, NotFound, QueueLimit
from gateway.store.model import Accepted, Draft


@dataclass(frozen=True, slots=True)
class Request:
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


def accept_all(
    conn: sqlite3.Connection, *, requests: Sequence[Request], now: float, queue_limit: int, room: bool = True
) -> list[Outcome | None]:
    """Take each of the requests, or say why not; in their order. Without `room` only repeats are answered, None for the others.

    An idempotency key seen before answers with the ids given then, whatever limits say.
    """
    outcomes: list[Outcome | None] = [None] * len(requests)
    sessions: dict[str, _Session | None] = {}
    taken: list[int] = []
    again: list[int] = []  # a key that comes twice in this round: the second is a repeat of the first
    keys: set[tuple[str, str]] = set()
    for i, request in enumerate(requests):
        if request.key is not None:
            if (request.scope, request.key) in keys:
                again.append(i)
                continue
            outcomes[i] = _before(conn, request)
            if outcomes[i] is not None:
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


def _before(conn: sqlite3.Connection, request: Request) -> Outcome | None:
    assert request.key is not None
    try:
        return accepting.repeated(conn, scope=request.scope, key=request.key, fingerprint=request.fingerprint)
    except IdempotencyConflict as conflict:
        return conflict


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
    dice = secrets.token_bytes(21 * sum(len(r.drafts) for r in requests))  # asked for once: each asking hands the interpreter over
    people, nobody = _intern(conn, [d for r in requests for d in r.drafts], now)
    ids: list[list[str]] = []
    rows: list[tuple[object, ...]] = []
    chats: list[tuple[str, int]] = []
    for request in requests:
        mine = [new_id(dice[21 * n : 21 * n + 12]) for n in range(len(rows), len(rows) + len(request.drafts))]
        number = accepting.remember(conn, request.scope, request.key, request.fingerprint, mine, now) if request.key is not None else None
        for public, draft in zip(mine, request.drafts, strict=True):
            session = sessions[draft.session]
            assert session is not None
            recipient = people[(draft.session, draft.address)]
            hex_ = new_hex(dice[21 * len(rows) + 12 : 21 * len(rows) + 21])
            rows.append(accepting.values(draft, public, hex_, recipient, number, session.accepted, session.account, now))
            chats.append((draft.session, recipient))
        ids.append(mine)
    conn.executemany(accepting.INSERT, rows)
    last = conn.execute("SELECT last_insert_rowid()").fetchone()[0]  # AUTOINCREMENT: one after the other
    numbered = [(chat[0], last - len(rows) + 1 + n) for n, chat in enumerate(chats)]
    for name, session in sessions.items():
        if session is not None and session.coming:
            lanes.recompute_heads(conn, name, {recipient for chat, recipient in chats if chat == name})
            transitions.count(conn, name, None, State.QUEUED, session.coming)
    events.append_many(conn, kind="message.queued", rows=numbered, now=now)
    accepting.fail_at_once(conn, [(row, chat[1]) for (_, row), chat in zip(numbered, chats, strict=True) if chat[1] in nobody], now)
    return ids


def _intern(conn: sqlite3.Connection, drafts: list[Draft], now: float) -> tuple[dict[tuple[str, str], int], set[int]]:
    """The recipient behind each (session, address), made if it is new; and those that are known not to be on WhatsApp."""
    wanted = list(dict.fromkeys((d.session, d.address) for d in drafts))
    rows = conn.execute(
        "SELECT a.session, a.address, a.recipient, r.state FROM json_each(?) j "
        "JOIN alias a ON a.session = j.value ->> 0 AND a.address = j.value ->> 1 JOIN recipient r ON r.id = a.recipient",
        (json.dumps(wanted),),
    ).fetchall()
    found = {(r[0], r[1]): int(r[2]) for r in rows}
    nobody = {int(row[2]) for row in rows if row[3] == recipients.Known.NOT_ON_WHATSAPP}
    for row in rows:
        if row[2] in nobody:  # a day later it is asked for again
            recipients.intern(conn, session=row[0], address=row[1], now=now)
    new = [pair for pair in wanted if pair not in found]
    if new:
        conn.executemany(
            "INSERT INTO recipient(session, is_group, ask_at) VALUES (?, ?, ?)", [(s, a.endswith("@g.us"), now) for s, a in new]
        )
        last = conn.execute("SELECT last_insert_rowid()").fetchone()[0]
        made = {pair: last - len(new) + 1 + n for n, pair in enumerate(new)}
        conn.executemany("INSERT INTO alias(session, address, recipient) VALUES (?, ?, ?)", [(*pair, id) for pair, id in made.items()])
        found |= made
    return found, nobody
