"""What is accepted is written down whole, once for each idempotency key."""

from __future__ import annotations

import re

import pytest
from store_rig import ME, START, Rig

from gateway.message import State as M
from gateway.store import counters, events, outbox, recipients, sessions
from gateway.store.outbox import Draft, IdempotencyConflict, NotFound, QueueLimit
from gateway.store.recipients import Known


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


def accept(rig, drafts, *, key=None, fingerprint=b"1", limit=100):
    return rig.do(outbox.accept, drafts=drafts, scope="s", key=key, fingerprint=fingerprint, now=rig.now, queue_limit=limit)


def test_an_accepted_message_has_an_id_a_whatsapp_id_a_lane_and_an_event(rig):
    (id_,) = rig.accept("491@c.us", callback_data="ref-1", priority=3)
    view = rig.get(id_)
    assert re.fullmatch(r"msg_[0-9a-f]{24}", id_)
    assert re.fullmatch(r"3EB0[0-9A-F]{18}", rig.hex(id_))
    assert (view.state, view.account, view.callback_data, view.priority) == (M.QUEUED, ME, "ref-1", 3)
    assert view.content == {"body": "to 491@c.us"}
    assert view.wa_id is None and view.attempts == []
    assert [t.state for t in view.transitions] == ["queued"]
    assert rig.conn.execute("SELECT count(*) FROM lane").fetchone()[0] == 1


def test_a_batch_is_taken_whole_or_not_at_all(rig):
    good, bad = Draft("default", "491@c.us", "text", {}), Draft("nowhere", "491@c.us", "text", {})
    with pytest.raises(NotFound):
        accept(rig, [good, bad])
    assert outbox.list_(rig.conn).messages == []
    rig.check()


def test_a_repeated_key_gets_the_same_ids_even_when_the_queue_is_full(rig):
    drafts = [Draft("default", "491@c.us", "text", {}), Draft("default", "492@c.us", "text", {})]
    first = accept(rig, drafts, key="k", limit=2)
    again = accept(rig, drafts, key="k", limit=2)
    assert (first.repeated, again.repeated) == (False, True)
    assert again.ids == first.ids
    assert len(outbox.list_(rig.conn).messages) == 2


def test_a_key_with_another_body_is_a_conflict(rig):
    accept(rig, [Draft("default", "491@c.us", "text", {})], key="k", fingerprint=b"1")
    with pytest.raises(IdempotencyConflict):
        accept(rig, [Draft("default", "492@c.us", "text", {})], key="k", fingerprint=b"2")


def test_a_key_belongs_to_its_scope(rig):
    draft = Draft("default", "491@c.us", "text", {})
    one = rig.do(outbox.accept, drafts=[draft], scope="a", key="k", fingerprint=b"1", now=rig.now, queue_limit=9)
    two = rig.do(outbox.accept, drafts=[draft], scope="b", key="k", fingerprint=b"2", now=rig.now, queue_limit=9)
    assert one.ids != two.ids


def test_without_a_key_a_repeat_is_a_new_message(rig):
    assert rig.accept("491@c.us") != rig.accept("491@c.us")


def test_the_queue_limit_counts_what_waits_and_takes_none_of_a_batch_that_passes_it(rig):
    accept(rig, [Draft("default", "491@c.us", "text", {})] * 3, limit=4)
    with pytest.raises(QueueLimit) as error:
        accept(rig, [Draft("default", "491@c.us", "text", {})] * 2, limit=4)
    assert error.value.waiting == 3
    accept(rig, [Draft("default", "491@c.us", "text", {})], limit=4)
    rig.check()


def test_accepted_never_steps_back_and_what_comes_after_a_jump_is_not_late(rig):
    rig.send_one("491@c.us")
    (first,) = rig.accept("491@c.us")
    was, rig.now = rig.now, START - 3600  # the clock is set back by more than an hour
    (second,) = rig.accept("491@c.us")
    assert rig.get(second).accepted >= rig.get(first).accepted == was
    assert rig.get(second).due == rig.now
    rig.now = was
    assert rig.claimed().message == first


def test_who_was_not_on_whatsapp_a_moment_ago_is_a_dead_letter_at_once_and_is_asked_for_again_after_a_minute(rig):
    (first,) = rig.accept("491@c.us")
    (one,) = recipients.unresolved(rig.conn, session="default", now=rig.now, limit=9)
    assert rig.do(recipients.absent, rig.fence, recipient=one.recipient, known=Known.NOT_ON_WHATSAPP, now=rig.now) == 1
    rig.check()
    (second,) = rig.accept("491@c.us")
    for id_ in (first, second):
        assert (rig.get(id_).state, rig.get(id_).reason) == (M.FAILED, "recipient_not_on_whatsapp")
    rig.now += recipients.BELIEVED
    (third,) = rig.accept("491@c.us")
    assert rig.state(third) is M.QUEUED
    assert [u.recipient for u in recipients.unresolved(rig.conn, session="default", now=rig.now, limit=9)] == [one.recipient]


def test_messages_are_listed_newest_first_page_by_page(rig):
    ids = rig.accept(*["491@c.us"] * 5)
    first = outbox.list_(rig.conn, limit=2)
    second = outbox.list_(rig.conn, limit=2, cursor=first.cursor)
    third = outbox.list_(rig.conn, limit=2, cursor=second.cursor)
    assert [m.id for p in (first, second, third) for m in p.messages] == ids[::-1]
    assert third.cursor is None
    with pytest.raises(ValueError, match="no cursor"):
        outbox.list_(rig.conn, cursor="x; DROP TABLE outbox")


def test_messages_are_listed_by_state_session_recipient_and_time(rig):
    sent = rig.send_one("491@c.us")
    (waits,) = rig.accept("492@c.us")

    def ids(**filters):
        return [m.id for m in outbox.list_(rig.conn, **filters).messages]

    assert ids(states={M.SENT}) == [sent]
    assert ids(states={M.SENT, M.QUEUED}) == [waits, sent]
    assert ids(recipient="492@c.us") == [waits]
    assert ids(recipient="493@c.us") == []
    assert ids(session="other") == []
    assert ids(since=rig.get(waits).accepted) == [waits]
    assert ids(until=rig.get(waits).accepted) == [sent]


def test_each_session_has_its_own_chats_queue_and_counts(rig):
    rig.do(sessions.ensure, name="second", now=rig.now)
    rig.accept("491@c.us")
    rig.do(
        outbox.accept, drafts=[Draft("second", "491@c.us", "text", {})], scope="s", key=None, fingerprint=b"", now=rig.now, queue_limit=1
    )
    assert len({u.recipient for s in ("default", "second") for u in recipients.unresolved(rig.conn, session=s, now=rig.now, limit=9)}) == 2
    assert outbox.queue_status(rig.conn, now=rig.now).counts["queued"] == 2
    assert outbox.queue_status(rig.conn, now=rig.now, session="second").counts["queued"] == 1
    assert counters.value(rig.conn, "messages_total", {"session": "second", "state": "queued"}) == 1


def test_the_event_log_is_read_by_cursor_and_by_family(rig):
    before = events.last(rig.conn)
    (id_,) = rig.accept("491@c.us")
    (event,) = events.after(rig.conn, before, 10)
    assert (event.kind, event.message, event.session) == ("message.queued", id_, "default")
    assert events.after(rig.conn, event.id, 10) == []
    assert events.after(rig.conn, before, 10, kinds=["session"]) == []
    assert [e.id for e in events.after(rig.conn, 0, 10, kinds=["message"])] == [event.id]
    assert events.after(rig.conn, 0, 10, kinds=[]) == []
    assert events.first(rig.conn) == 1
