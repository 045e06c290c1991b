"""How long messages wait, as alerts see it: due is only what nothing but the gateway and WhatsApp holds up."""

from __future__ import annotations

import pytest
from store_rig import Rig

from gateway.message import NotSent, Restricted, Unconfirmed
from gateway.store import outbox, sessions
from gateway.store.outbox import Waits


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


def waits(rig: Rig) -> Waits:
    row = sessions.get(rig.conn, "default")
    assert row is not None
    return outbox.waits(rig.conn, row, now=rig.now)


def test_nothing_waits(rig):
    assert waits(rig) == Waits(None, None, restricted=False)


def test_a_message_is_due_from_its_acceptance_on_also_while_its_recipient_is_looked_up(rig):
    rig.accept("491@c.us")
    rig.now += 50
    assert waits(rig) == Waits(50, 50, restricted=False)
    rig.resolve()
    assert waits(rig).due == 50


def test_what_waits_behind_a_message_of_its_chat_is_due(rig):
    rig.accept("491@c.us", "491@c.us")
    rig.resolve()
    claim = rig.claimed()
    rig.sent_not(claim, Unconfirmed("send_timeout", "no ack"))
    rig.now += 50
    assert waits(rig).due == 51


def test_a_scheduled_message_is_due_from_its_time_on(rig):
    rig.accept("491@c.us", send_at=rig.now + 101)
    rig.resolve()
    rig.now += 50
    assert waits(rig) == Waits(None, None, restricted=False)
    rig.now += 70
    assert waits(rig) == Waits(20, 20, restricted=False)


def test_back_off_is_not_due(rig):
    rig.accept("491@c.us")
    rig.resolve()
    rig.sent_not(rig.claimed(), NotSent("socket", "down"), delay=30)
    rig.now += 20
    assert waits(rig) == Waits(21, None, restricted=False)
    rig.now += 15
    assert waits(rig).due == 5


def test_held_paused_and_stopped_is_not_due(rig):
    rig.accept("491@c.us")
    rig.resolve()
    rig.do(sessions.pause, "default", rig.now)
    assert waits(rig).due is None
    rig.do(sessions.resume, "default", rig.now)
    assert waits(rig).due == 0
    rig.do(sessions.set_desired, "default", "stopped", rig.now)
    assert waits(rig).due is None
    rig.do(sessions.set_desired, "default", "started", rig.now)
    rig.do(outbox.hold_restored, now=rig.now)
    rig.now += 50
    assert waits(rig) == Waits(50, None, restricted=False)


def test_a_restriction_concerns_new_chats_and_ends_with_its_time(rig):
    rig.accept("491@c.us")
    rig.resolve()
    rig.ack(rig.claimed().key.hex)
    rig.accept("492@c.us")
    rig.resolve()
    claim = rig.claimed()
    rig.nack(claim.key.hex, Restricted("463", "limited", until=rig.now + 100), delay=0)
    rig.now += 50
    assert waits(rig).restricted and waits(rig).due is None
    rig.accept("491@c.us")
    rig.now += 5
    assert waits(rig).due == 5, "a chat with history goes on"
    rig.now += 100
    assert not waits(rig).restricted
    assert waits(rig).due and waits(rig).due > 100


def test_a_restriction_of_everything_leaves_nothing_due(rig):
    rig.accept("491@c.us")
    rig.resolve()
    rig.do(sessions.restrict, rig.fence, until=rig.now + 100, everything=True, now=rig.now)
    rig.now += 50
    assert waits(rig) == Waits(50, None, restricted=True)


def test_no_question_looks_through_the_queue(rig):
    """By the plans of its queries, not by time: a scrape costs the same whatever waits."""
    rig.accept("491@c.us", "492@c.us")
    rig.resolve()
    rig.nack(rig.claimed().key.hex, Restricted("463", "limited", until=None), delay=0)
    rig.now += 100
    rig.claimed()
    asked: list[str] = []
    rig.conn.set_trace_callback(asked.append)
    waits(rig)
    rig.conn.set_trace_callback(None)
    assert len(asked) > 4
    for query in asked:
        plan = [row["detail"] for row in rig.conn.execute(f"EXPLAIN QUERY PLAN {query}")]
        assert not [step for step in plan if step.startswith("SCAN") and any(t in step for t in ("outbox", "lane", " o", " r"))], plan
