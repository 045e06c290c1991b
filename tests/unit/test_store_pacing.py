"""What pacing asks of the store: the gap of a chat is its lane's due, hand-overs are counted, and the status says which cap holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from store_rig import Rig

from gateway.message import NotSent, Rejected, Unconfirmed
from gateway.pacing import DAY, Use
from gateway.store import maintenance, outbox, recipients, sessions


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    one = Rig(tmp_path)
    yield one
    one.conn.close()


def past(rig: Rig) -> list[tuple[float, int, int]]:
    return [(p.age, p.count, p.new_chats) for p in rig.do(outbox.recall, session="default", now=rig.now)]


def status(rig: Rig, *uses: Use) -> outbox.QueueStatus:
    return outbox.queue_status(rig.conn, now=rig.now, uses={"default": uses})


def full(name: str, until: float, *, new_chats: bool = False) -> Use:
    return Use(name, limit=1, span=60.0, new_chats=new_chats, left=0, until=until)


# -- the gap of a chat


def test_a_chat_waits_for_its_gap_and_others_do_not(rig: Rig) -> None:
    rig.accept("491@c.us", "491@c.us", "492@c.us")
    rig.resolve()
    first = rig.claimed(chat_interval=60.0)
    rig.ack(first.key.hex)
    assert rig.claimed(chat_interval=60.0).address == "492@c.us"
    assert rig.claim(chat_interval=60.0) is None
    assert outbox.next_due(rig.conn, session="default", now=rig.now) == first.claimed_at + 60
    s = status(rig)
    assert (s.reason, s.reason_until, s.cap) == ("rate_limited", first.claimed_at + 60, "chat_interval")
    rig.now = first.claimed_at + 59
    assert rig.claimed(chat_interval=60.0).address == "491@c.us"


def test_a_hand_over_that_never_left_the_page_leaves_no_gap(rig: Rig) -> None:
    rig.accept("491@c.us", "492@c.us")
    rig.resolve()
    for error in (NotSent("x", counted=False), Rejected("x")):
        claim = rig.claimed(chat_interval=600.0)
        rig.sent_not(claim, error, delay=0.5)
        to = recipients.get(rig.conn, claim.recipient)
        assert to is not None and to.next_at is None


def test_of_two_spellings_the_later_gap_holds(rig: Rig) -> None:
    one, two = rig.accept("491@c.us"), rig.accept("77@lid")
    rig.resolve()
    claims = [rig.claimed(chat_interval=60.0), rig.claimed(chat_interval=600.0)]
    assert [c.message for c in claims] == [*one, *two]
    target = rig.resolved(claims[0].recipient, "491@c.us", lid="77@lid")
    to = recipients.get(rig.conn, target)
    assert to is not None and to.next_at == claims[1].claimed_at + 600


def test_a_gap_that_a_clock_set_back_or_a_new_setting_made_too_long_is_cut(rig: Rig) -> None:
    rig.accept("491@c.us", "491@c.us")
    rig.resolve()
    rig.ack(rig.claimed(chat_interval=60.0).key.hex)
    rig.now -= 7200
    assert rig.do(outbox.clamp_backoff, "default", rig.now, 300.0, chat_interval=60.0) == 2, "the message's due and the gap"
    rig.check()
    assert outbox.next_due(rig.conn, session="default", now=rig.now) == rig.now + 60
    assert rig.do(outbox.clamp_backoff, "default", rig.now, 300.0, chat_interval=0.0) == 1, "switched off"
    rig.check()
    assert rig.claim()


# -- hand-overs are counted


def test_hand_overs_are_remembered_by_the_minute_with_those_to_new_chats(rig: Rig) -> None:
    rig.send_one("490@c.us")
    rig.accept("490@c.us", "491@c.us")
    rig.resolve()
    rig.now = (rig.now // 60 + 2) * 60
    rig.claimed(), rig.claimed()
    rig.now += 10
    assert sorted(past(rig))[0] == (10.0, 2, 1)
    assert sum(count for _, count, _ in past(rig)) == 3


def test_what_never_left_the_page_is_not_counted_what_may_have_is(rig: Rig) -> None:
    rig.accept("491@c.us", "492@c.us", "493@c.us")
    rig.resolve()
    rig.sent_not(rig.claimed(), NotSent("x", counted=False))
    rig.sent_not(rig.claimed(), Unconfirmed("x"))
    rig.nack(rig.claimed().key.hex, NotSent("nack"))
    assert sum(count for _, count, _ in past(rig)) == 2, "a stanza that was refused was seen by WhatsApp"
    assert sum(new for _, _, new in past(rig)) == 2


def test_a_clock_set_back_forgets_no_hand_over(rig: Rig) -> None:
    rig.accept("491@c.us", "492@c.us")
    rig.resolve()
    rig.claimed(), rig.claimed()
    rig.now -= 365 * DAY
    assert past(rig) == [(0.0, 2, 2)], "as of now"
    rig.now += 3600
    assert past(rig) == [(3600.0, 2, 2)], "and from then on as any other"


def test_what_no_cap_asks_for_is_neither_read_nor_kept(rig: Rig) -> None:
    rig.send_one("490@c.us")
    rig.now += DAY + 180
    assert past(rig) == []
    rig.now += DAY
    rig.do(maintenance.prune, now=rig.now)
    assert rig.conn.execute("SELECT count(*) FROM handed").fetchone()[0] == 0


# -- which cap holds


def test_the_status_names_the_cap_and_until_when(rig: Rig) -> None:
    rig.accept("491@c.us")
    rig.resolve()
    s = status(rig, full("max_per_minute", rig.now + 30), full("max_per_day", rig.now + 7200))
    assert (s.reason, s.reason_until, s.cap, s.drain) == ("rate_limited", rig.now + 7200, "max_per_day", 7200)
    s = status(rig)
    assert (s.reason, s.reason_until, s.cap, s.drain) == ("rate_limited", None, None, None)


def test_a_cap_on_new_chats_holds_back_those_alone(rig: Rig) -> None:
    rig.send_one("490@c.us")
    (new,) = rig.accept("491@c.us")
    rig.resolve()
    chats = full("new_chats_per_day", rig.now + 500, new_chats=True)
    assert rig.claim(new_chats=False) is None
    assert outbox.next_due(rig.conn, session="default", now=rig.now, new_chats=False) is None, "nothing to try over and over"
    s = status(rig, chats)
    assert (s.head, s.reason, s.reason_until, s.cap) == (new, "rate_limited", chats.until, "new_chats_per_day")
    (old,) = rig.accept("490@c.us")
    s = status(rig, chats)
    assert (s.head, s.reason, s.cap) == (old, "rate_limited", None), "the next one is due and goes"
    assert rig.claimed(new_chats=False).message == old
    assert rig.claimed(new_chats=True).message == new


def test_what_a_cap_holds_back_is_not_due(rig: Rig) -> None:
    rig.send_one("490@c.us")
    rig.accept("491@c.us")
    rig.resolve()
    row = sessions.get(rig.conn, "default")
    assert row is not None
    rig.now += 50
    day, chats = full("max_per_day", rig.now + 500), full("new_chats_per_day", rig.now + 500, new_chats=True)
    assert [outbox.waits(rig.conn, row, now=rig.now, uses=uses).due for uses in ([], [day], [chats])] == [50, None, None]
    rig.accept("490@c.us")
    assert [outbox.waits(rig.conn, row, now=rig.now, uses=uses).due for uses in ([day], [chats])] == [None, 0]


def test_with_all_places_taken_an_ack_decides_not_the_time(rig: Rig) -> None:
    rig.accept(*(f"49{n}@c.us" for n in range(100, 165)))
    rig.resolve()
    claims = [rig.claimed() for _ in range(64)]
    assert rig.claim() is None
    assert outbox.next_due(rig.conn, session="default", now=rig.now) == rig.now + 0.5
    rig.ack(claims[0].key.hex)
    due = outbox.next_due(rig.conn, session="default", now=rig.now)
    assert due is not None and due <= rig.now


def test_sessions_together_are_done_when_the_slowest_is(rig: Rig) -> None:
    rig.accept("491@c.us")
    s = outbox.queue_status(rig.conn, now=rig.now, uses={"default": [full("max_per_day", rig.now + 100)]})
    assert s.drain == 100


def test_an_idle_hour_is_no_pace(rig: Rig) -> None:
    rig.now = rig.now // 60 * 60
    for n in range(4):
        rig.send_one(f"49{n}@c.us")
    rig.accept(*(f"49{n}@c.us" for n in range(10, 20)))
    rig.now = rig.now // 60 * 60 + 40
    s = status(rig)
    assert s.rate == pytest.approx(4 / 300) and s.drain == pytest.approx(100), "ten more at one each ten seconds"
