"""Requests accepted together come out as if each had been accepted by itself."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_rig import START, Rig

from gateway.message import State as M
from gateway.store import database, intake, outbox, recipients, sessions
from gateway.store.errors import IdempotencyConflict, NotFound, QueueLimit
from gateway.store.intake import Request
from gateway.store.model import Accepted, Draft
from gateway.store.recipients import Known

PEOPLE = ["491@c.us", "492@c.us", "493@c.us", "120363000000000001@g.us"]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def draft(address: str = "491@c.us", **more: Any) -> Draft:
    return Draft(**{"session": "default", "address": address, "type": "text", "content": {"body": "x"}, **more})


def take(rig: Rig, *requests: Request, limit: int = 1000, room: bool = True) -> list[Any]:
    found = rig.do(intake.accept_all, requests=requests, now=rig.now, queue_limit=limit, room=room)
    rig.check()
    return found


def keyed(key: str | None, *drafts: Draft) -> Request:
    return Request(drafts or (draft(),), "s", key, repr(drafts).encode())


def test_each_stands_for_itself(rig: Rig) -> None:
    good, nowhere, batch = take(rig, keyed(None), keyed(None, draft(session="nowhere")), keyed(None, draft("492@c.us"), draft("493@c.us")))
    assert isinstance(nowhere, NotFound)
    assert (len(good.ids), len(batch.ids)) == (1, 2)
    mixed = take(rig, keyed(None, draft(), draft(session="nowhere")))
    assert isinstance(mixed[0], NotFound)
    assert len(outbox.list_(rig.conn).messages) == 3


def test_one_key_twice_in_a_round_is_one_message(rig: Rig) -> None:
    other = draft("492@c.us")
    first, again, conflict = take(rig, keyed("k"), keyed("k"), keyed("k", other))
    assert (first.repeated, again.repeated, first.ids) == (False, True, again.ids)
    assert isinstance(conflict, IdempotencyConflict)
    later, conflict = take(rig, keyed("k"), keyed("k", other))
    assert later == Accepted(first.ids, repeated=True) and isinstance(conflict, IdempotencyConflict)


def test_the_limit_holds_within_a_round_and_repeats_pass_it(rig: Rig) -> None:
    (first,) = take(rig, keyed("k"), limit=3)
    second, too_many, third, again, refused = take(
        rig, keyed(None), keyed(None, draft(), draft()), keyed("new"), keyed("k"), keyed(None), limit=3
    )
    assert isinstance(second, Accepted) and isinstance(third, Accepted), "what still fits is taken"
    assert isinstance(too_many, QueueLimit) and isinstance(refused, QueueLimit)
    assert again.ids == first.ids


def test_a_key_refused_in_a_round_is_judged_again_for_its_repeat(rig: Rig) -> None:
    outcomes = take(rig, keyed("k", draft(session="nowhere")), keyed("k"), keyed("k"))
    assert isinstance(outcomes[0], NotFound)
    assert (outcomes[1].repeated, outcomes[2].repeated) == (False, True)


def test_without_room_only_repeats_are_answered(rig: Rig) -> None:
    (first,) = take(rig, keyed("k"))
    again, none = take(rig, keyed("k"), keyed("l"), room=False)
    assert again.ids == first.ids and none is None
    assert len(outbox.list_(rig.conn).messages) == 1


def test_who_is_not_on_whatsapp_is_a_dead_letter_at_once_and_asked_for_again_a_minute_later(rig: Rig) -> None:
    rig.accept("491@c.us")
    (one,) = recipients.unresolved(rig.conn, session="default", now=rig.now, limit=9)
    rig.do(recipients.absent, rig.fence, recipient=one.recipient, known=Known.NOT_ON_WHATSAPP, now=rig.now)
    dead, fine = take(rig, keyed(None), keyed(None, draft("492@c.us")))
    assert rig.get(dead.ids[0]).state is M.FAILED and rig.get(fine.ids[0]).state is M.QUEUED
    rig.now += recipients.BELIEVED
    (waits,) = take(rig, keyed(None))
    assert rig.get(waits.ids[0]).state is M.QUEUED


messages = st.builds(
    draft,
    st.sampled_from(PEOPLE),
    priority=st.integers(0, 9),
    send_at=st.sampled_from([None, START - 5, START + 50]),
    ttl=st.sampled_from([None, 60.0]),
    callback_data=st.sampled_from([None, "ref"]),
)
rounds = st.lists(st.lists(messages, min_size=1, max_size=3), min_size=1, max_size=6)


@settings(max_examples=25, deadline=None)
@given(rounds=rounds, before=st.lists(messages, max_size=4))
def test_together_or_one_by_one_the_database_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, rounds: Any, before: list[Draft]
) -> None:
    """All that a row says, but for its random ids."""
    dumps = []
    for together in (True, False):
        conn = database.open_database(tmp_path_factory.mktemp("store") / "gateway.db")
        conn.execute("PRAGMA synchronous = OFF")
        with database.transaction(conn, float("inf")):
            sessions.ensure(conn, name="default", now=START)
            if before:
                outbox.accept(conn, drafts=before, scope="s", key=None, fingerprint=b"", now=START, queue_limit=1000)
        with database.transaction(conn, float("inf")):
            requests = [Request(drafts, "s", f"k{n}", bytes([n])) for n, drafts in enumerate(rounds)]
            if together:
                intake.accept_all(conn, requests=requests, now=START + 1, queue_limit=1000)
            else:
                for r in requests:
                    outbox.accept(
                        conn, drafts=r.drafts, scope=r.scope, key=r.key, fingerprint=r.fingerprint, now=START + 1, queue_limit=1000
                    )
        dumps.append(dump(conn))
        conn.close()
    assert dumps[0] == dumps[1]


def dump(conn: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    found = {}
    for table in ("session", "recipient", "alias", "request", "outbox", "lane", "event", "counter"):
        columns = [c[1] for c in conn.execute(f"PRAGMA table_info({table})") if c[1] not in ("public", "hex", "ids")]
        found[table] = sorted((tuple(row) for row in conn.execute(f"SELECT {', '.join(columns)} FROM {table}")), key=repr)
    return found
