"""Accepting messages: the row, its WhatsApp id, its idempotency key and its lane are one commit, synced before anyone says yes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from pydantic_core import to_json

from gateway.message import State, new_hex, new_id
from gateway.store import bulk, counters, events, lanes, recipients, transitions
from gateway.store.errors import IdempotencyConflict, NotFound, QueueLimit
from gateway.store.model import Accepted, Draft


def accept(
    conn: sqlite3.Connection, *, drafts: Sequence[Draft], scope: str, key: str | None, fingerprint: bytes, now: float, queue_limit: int
) -> Accepted:
    """Take all of `drafts` or none. `key` is the idempotency key within `scope`, `fingerprint` tells its bodies apart.

    A key seen before answers with the ids given then, whatever limits say. Raises IdempotencyConflict,
    QueueLimit, NotFound (the session).
    """
    if key is not None:
        before = repeated(conn, scope=scope, key=key, fingerprint=fingerprint)
        if before is not None:
            return before
    waiting: dict[str, int] = {}
    for draft in drafts:
        waiting[draft.session] = waiting.get(draft.session, 0) + 1
    for session, coming in waiting.items():
        queued = int(counters.value(conn, "messages", {"session": session, "state": State.QUEUED.word}))
        if queued + coming > queue_limit:
            raise QueueLimit(queued)
    ids = [new_id(now) for _ in drafts]
    request = remember(conn, scope, key, fingerprint, ids, now) if key is not None else None
    rows = [_insert(conn, draft, public, request, now) for draft, public in zip(drafts, ids, strict=True)]
    for session, by in waiting.items():
        transitions.count(conn, session, None, State.QUEUED, by)
    events.append_range(conn, kind="message.queued", first=rows[0][0], last=rows[-1][0])
    recipients.fail_at_once(conn, [(row, recipient) for row, recipient in rows], now)
    return Accepted(ids, repeated=False)


def repeated(conn: sqlite3.Connection, *, scope: str, key: str, fingerprint: bytes) -> Accepted | None:
    """The answer given to this key before; None if it is new. Raises IdempotencyConflict."""
    row = conn.execute("SELECT fingerprint, ids FROM request WHERE scope = ? AND key = ?", (scope, key)).fetchone()
    if row is None:
        return None
    outcome = answer(key, fingerprint, row["fingerprint"], row["ids"])
    if isinstance(outcome, IdempotencyConflict):
        raise outcome
    return outcome


def answer(key: str, fingerprint: bytes, before: bytes, ids: str) -> Accepted | IdempotencyConflict:
    """What a key seen `before`, with another or the same fingerprint, answers now; `ids` as its row holds them."""
    if before != fingerprint:
        return IdempotencyConflict(f"the idempotency key {key!r} was used for another request")
    return Accepted(json.loads(ids), repeated=True)


#: The outbox and the columns of a fresh row, as `values` gives them; its state is queued by default.
OUTBOX = (
    "outbox(public, session, recipient, address, account, type, content, callback_data, request, priority, accepted, "
    "send_at, scheduled, ttl, expires_at, ord, due, state_since, hex)"
)
REQUEST = "request(scope, key, fingerprint, ids, created)"


def values(
    draft: Draft, public: str, hex_: str, recipient: int, request: int | None, accepted: float, account: str | None, now: float
) -> tuple[object, ...]:
    """The columns of a fresh row. `accepted` is the session's stamp, `now` the wall clock, by which it is due."""
    scheduled = draft.send_at is not None and draft.send_at > now
    ord_ = max(accepted, draft.send_at or 0.0)
    return (
        public, draft.session, recipient, draft.address, account, draft.type, to_json(draft.content).decode(),
        draft.callback_data, request, draft.priority, accepted, draft.send_at, int(scheduled), draft.ttl,
        ord_ + draft.ttl if draft.ttl else None, ord_, max(now, draft.send_at or 0.0), accepted, hex_,
    )  # fmt: skip


def remember(conn: sqlite3.Connection, scope: str, key: str, fingerprint: bytes, ids: list[str], now: float) -> int:
    return bulk.insert(conn, REQUEST, [(scope, key, fingerprint, json.dumps(ids), now)])


def _insert(conn: sqlite3.Connection, draft: Draft, public: str, request: int | None, now: float) -> tuple[int, int]:
    session = conn.execute(
        "UPDATE session SET last_accepted = max(last_accepted, ?) WHERE name = ? RETURNING last_accepted, ifnull(account, last_account)",
        (now, draft.session),
    ).fetchone()
    if session is None:
        raise NotFound(f"there is no session {draft.session}")
    accepted, account = session
    recipient = recipients.intern(conn, session=draft.session, address=draft.address, now=now)
    row = bulk.insert(conn, OUTBOX, [values(draft, public, new_hex(), recipient, request, accepted, account, now)])
    lanes.appended(conn, draft.session, recipient, max(accepted, draft.send_at or 0.0))
    return row, recipient
