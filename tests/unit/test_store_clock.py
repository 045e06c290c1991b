"""A clock that was ahead and is set right, or set back by a little: stamps keep their order, and nothing waits for the future."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from store_rig import ME, Rig

from gateway.beat import boot_time
from gateway.browser import lookout
from gateway.browser.standing import Standing
from gateway.message import NotSent, Restricted, Unconfirmed
from gateway.message import State as M
from gateway.pacing import Pacer
from gateway.settings import Settings
from gateway.store import clock, commands, events, handovers, maintenance, outbox, reading, recoveries, sessions
from gateway.store.model import Unacked

HOUR = 3600.0
DAY = 86_400.0


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def row_of(rig: Rig) -> sessions.SessionRow:
    row = sessions.get(rig.conn, "default")
    assert row is not None
    return row


def set_right(rig: Rig, limit: int = 250, **more: Any) -> int:
    """All passes; how many."""
    below, passes = None, 0
    while True:
        below = rig.do(outbox.set_right, "default", now=rig.now, below=below, limit=limit, **more)
        rig.check()
        passes += 1
        if below is None:
            return passes


def stamps(rig: Rig) -> list[float]:
    """Every stamp in the store; what is yet to come is not among them."""
    columns = {
        "session": ("created", "state_since", "last_sent_at", "last_health_at", "last_accepted"),
        "outbox": ("accepted", "state_since", "waiting_since"),
        "attempt": ("claimed_at", "placed_at", "ended_at"),
        "event": ("at",),
        "recovery": ("started_at", "ended_at"),
    }
    return [
        value
        for table, names in columns.items()
        for row in rig.conn.execute(f"SELECT {', '.join(names)} FROM {table}")
        for value in row
        if value is not None
    ]


def in_flight(rig: Rig, address: str) -> outbox.Claim:
    rig.accept(address)
    rig.resolve()
    claim = rig.claimed()
    rig.do(outbox.placed, rig.fence, rowid=claim.rowid, attempt=claim.attempt, now=rig.now)
    return claim


def busy_hour(rig: Rig) -> None:
    """All kinds of stamps, written while the clock is an hour ahead."""
    rig.now += HOUR
    rig.send_one("491@c.us")
    in_flight(rig, "492@c.us")
    claim = in_flight(rig, "493@c.us")
    rig.sent_not(claim, Unconfirmed("deadline"))
    rig.reconciled(claim, "lost")
    rig.accept("494@c.us", ttl=600)
    rig.accept("494@c.us", send_at=rig.now + 2 * HOUR)
    rig.do(sessions.record_health, session="default", healthy=False, complaints=["x"], now=rig.now)
    id_ = rig.do(recoveries.open_, session="default", cause="x", strategy=None, by="api", now=rig.now)
    rig.do(recoveries.close, id=id_, status="succeeded", detail=None, now=rig.now)
    rig.now -= HOUR


def test_all_stamps_of_a_clock_that_was_ahead_are_brought_back(rig: Rig) -> None:
    busy_hour(rig)
    assert max(stamps(rig)) >= rig.now + HOUR and row_of(rig).ahead(rig.now)
    set_right(rig)
    assert max(stamps(rig)) <= rig.now + 1 and not row_of(rig).ahead(rig.now)
    assert set_right(rig) == 1, "and nothing is left to do"
    assert rig.conn.execute("SELECT max(minute) FROM handed").fetchone()[0] <= rig.now // 60
    assert rig.conn.execute("SELECT max(minute) FROM sent_minute").fetchone()[0] <= rig.now // 60


def test_it_goes_by_bounded_batches_and_goes_on_after_a_crash_in_the_middle(rig: Rig) -> None:
    rig.now += HOUR
    for _ in range(3):
        rig.send_one("480@c.us")
    for n in range(12):
        rig.accept(f"49{n}@c.us", "490@c.us")
    rig.now -= HOUR
    assert rig.do(outbox.set_right, "default", now=rig.now, limit=4) is not None
    rig.now += 1  # and here it crashed: its successor knows nothing
    assert set_right(rig, limit=4) > 3
    assert max(stamps(rig)) <= rig.now + 1


def test_order_is_kept_and_what_is_accepted_next_comes_last(rig: Rig) -> None:
    rig.now += HOUR
    first, second = rig.accept("491@c.us", "491@c.us")
    rig.do(outbox.cancel, id=first, now=rig.now)
    rig.now += 10
    rig.do(outbox.requeue, id=first, now=rig.now)  # at the end of its chat
    rig.now -= HOUR
    during = rig.accept("491@c.us")[0]
    set_right(rig)
    after = rig.accept("491@c.us")[0]
    rig.now += 5
    rig.resolve()
    for id_ in (second, first, during, after):
        claim = rig.claimed()
        assert claim.message == id_
        rig.ack(claim.key.hex)


def test_a_last_ack_in_the_future_blinds_nobody(rig: Rig) -> None:
    """Silence of WhatsApp's after it is seen: what is handed over now was handed over after the last ack."""
    rig.now += HOUR
    rig.send_one("491@c.us")
    rig.now -= HOUR
    set_right(rig)
    rig.now += 5
    in_flight(rig, "492@c.us")
    found = reading.unacked(rig.conn, session="default")
    assert found.last_ack_at is not None and found.oldest is not None and found.last_ack_at < found.oldest <= rig.now


def test_what_was_handed_over_before_and_after_the_last_ack_stays_so(rig: Rig) -> None:
    rig.now += HOUR
    before = in_flight(rig, "492@c.us")
    rig.send_one("491@c.us")
    after = in_flight(rig, "493@c.us")
    rig.now -= HOUR
    set_right(rig)
    last = row_of(rig).last_sent_at
    placed = {c.message: rig.get(c.message).attempts[-1].placed_at for c in (before, after)}
    assert last is not None and placed[before.message] < last < placed[after.message]


async def test_a_host_takes_no_ack_of_the_future_for_one_of_this_moment(tmp_path: Path) -> None:
    """What the watchdog judges is this evidence."""
    standing = Standing(session="default", epoch=1, since=0.0, pacer=Pacer(1.0))
    eyes, now = lookout.Lookout(Settings(data=tmp_path), standing, None, None), time.time()  # type: ignore[arg-type]
    await eyes._overdue(Unacked(0, None, now + HOUR, False), now)
    assert standing.evidence().last_ack_at is None
    await eyes._overdue(Unacked(0, None, now - 10, False), now)
    assert standing.evidence().last_ack_at == pytest.approx(boot_time() - 10, abs=1)


def test_a_restriction_does_not_keep_the_jump(rig: Rig) -> None:
    rig.now += HOUR
    claim = in_flight(rig, "491@c.us")
    rig.sent_not(claim, Restricted("nack_463"))
    rig.now -= HOUR
    until = row_of(rig).restricted_until
    assert until is not None and until > rig.now + HOUR
    set_right(rig)
    until = row_of(rig).restricted_until
    assert until is not None and until <= rig.now + sessions.RESTRICTION_GUESS


def test_back_offs_and_ttl_count_from_now_and_send_at_is_the_users(rig: Rig) -> None:
    rig.now += HOUR
    claim = in_flight(rig, "491@c.us")
    rig.sent_not(claim, NotSent("socket"), delay=30)
    fresh, scheduled = rig.accept("492@c.us", ttl=600)[0], rig.accept("493@c.us", send_at=rig.now + 2 * HOUR, ttl=60)[0]
    wanted = rig.get(scheduled)
    rig.now -= HOUR
    set_right(rig)
    assert rig.get(claim.message).due <= rig.now + 300 and rig.get(fresh).due <= rig.now
    expires = rig.get(fresh).expires_at
    assert expires is not None and rig.now + 600 <= expires <= rig.now + 602
    found = rig.get(scheduled)
    assert (found.send_at, found.due, found.expires_at) == (wanted.send_at, wanted.due, wanted.expires_at)
    assert reading.queue_status(rig.conn, now=rig.now).oldest_age is not None


def test_one_event_from_the_future_does_not_stop_retention(rig: Rig) -> None:
    rig.now += 100 * 365 * DAY
    rig.accept("491@c.us")  # one event of the next century, at the head of the log once the older ones are gone
    rig.now -= 100 * 365 * DAY
    rig.do(sessions.pause, "default", rig.now)
    for _ in range(20):
        rig.conn.execute("INSERT INTO event(at, kind, session, data) VALUES (?, 'x', 'default', '{}')", (rig.now,))
    rig.now += 40 * DAY
    rig.conn.execute("INSERT INTO event(at, kind, session, data) VALUES (?, 'young', 'default', '{}')", (rig.now,))
    for _ in range(30):
        rig.do(maintenance.prune, now=rig.now, limit=5)
    assert [e.kind for e in events.after(rig.conn, 0, 99)] == ["young"]


def test_a_whole_stretch_from_the_future_goes_with_what_was_written_after_it(rig: Rig) -> None:
    for table, column, rest in (("event", "at", "kind, data"), ("command", "asked_at", "session, target, kind, args, deadline")):
        values = "'x', '{}'" if table == "event" else "'default', 'browser', 'x', '{}', 0"
        rig.conn.execute(f"DELETE FROM {table}")
        for at in (*[rig.now + 900 * DAY] * 20, rig.now):
            rig.conn.execute(f"INSERT INTO {table}({column}, {rest}) VALUES (?, {values})", (at,))
        for day in range(40):
            rig.do(maintenance.prune, now=rig.now + day * DAY, limit=5)
        assert rig.conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0, table


def test_a_command_asked_for_before_the_clock_was_set_back_is_too_late(rig: Rig) -> None:
    ask = {"session": "default", "target": "browser", "kind": "logout", "args": {}}
    id_ = rig.do(commands.ask, **ask, now=rig.now + HOUR, deadline=rig.now + HOUR + 20)
    assert rig.do(commands.take, target="browser", session="default", fence=rig.fence, now=rig.now) == []
    found = commands.get(rig.conn, id_)
    assert found is not None and found.error == "deadline"


def test_a_clock_set_back_by_a_little_stands_until_it_has_caught_up(rig: Rig) -> None:
    """Stamps of host and API alike: each is no earlier than the last."""
    claim = in_flight(rig, "491@c.us")
    rig.now -= 3
    rig.ack(claim.key.hex)
    second = in_flight(rig, "492@c.us")
    rig.do(outbox.cancel, id=rig.accept("493@c.us")[0], now=rig.now)
    rig.do(sessions.set_state, rig.fence, state=sessions.State.DEGRADED, now=rig.now - 1)
    rig.do(sessions.record_health, session="default", healthy=True, complaints=[], now=rig.now - 1)
    times = [e.at for e in events.after(rig.conn, 0, 999)]
    assert times == sorted(times)
    sent = row_of(rig).last_sent_at
    assert sent is not None and sent >= claim.claimed_at
    attempt = rig.get(second.message).attempts[-1]
    assert claim.claimed_at <= attempt.claimed_at <= attempt.placed_at
    assert not row_of(rig).ahead(rig.now) and set_right(rig) == 1


def test_a_wall_clock_that_cannot_be_right_brings_nothing_back(rig: Rig) -> None:
    busy_hour(rig)
    before = sorted(stamps(rig))
    assert rig.do(outbox.set_right, "default", now=rig.now, stamps=False) is None
    assert sorted(stamps(rig)) == before
    assert 1.7e9 < clock.PLAUSIBLE < 1.8e9


def test_a_session_of_which_nothing_is_ahead_is_left_alone(rig: Rig) -> None:
    busy_hour(rig)
    rig.now += 2 * HOUR
    before = stamps(rig)
    assert set_right(rig) == 1 and stamps(rig) == before
    assert handovers.recall(rig.conn, session="default", now=rig.now) and rig.get(rig.accept("499@c.us")[0]).account == ME
    assert rig.get(rig.accept("498@c.us")[0]).state is M.QUEUED
