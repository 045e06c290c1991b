"""The session's pace: never faster than the interval, never more than a cap in any window, whatever the dice and the kills."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pacing import DAY, HOUR, JITTER, MINUTE, PARTS, Cap, Pacer, Past, Use, caps, drain, holding

dice = st.floats(0, 1, exclude_max=True)
intervals = st.floats(0.01, 3600)
limits = st.integers(1, 40)
steps = st.lists(st.floats(0, 30), min_size=1, max_size=120)


def test_the_first_one_goes_at_once() -> None:
    assert Pacer(1.0).delay(1000.0) == 0.0


@given(intervals, st.lists(dice, min_size=2, max_size=50))
def test_jitter_only_lengthens(interval: float, rolls: list[float]) -> None:
    pacer, now, starts = Pacer(interval), 1000.0, []
    for roll in rolls:
        now += pacer.delay(now)
        pacer.started(now, roll)
        starts.append(now)
    for before, after in itertools.pairwise(starts):
        assert interval * (1 - 1e-9) <= after - before <= interval * (1 + JITTER) * (1 + 1e-9)


@given(st.lists(dice, max_size=50))
def test_off_it_waits_for_nothing(rolls: list[float]) -> None:
    pacer = Pacer(0.0, caps=caps(minute=0, hour=0, day=0, new_chats=0))
    for roll in rolls:
        assert pacer.delay(5.0) == 0.0 and pacer.new_chats(5.0)
        pacer.started(5.0, roll, new_chat=True)
    assert pacer.delay(5.0) == 0.0 and pacer.uses(5.0) == []


def test_time_that_passed_counts() -> None:
    pacer = Pacer(2.0)
    pacer.started(10.0, 0.0)
    assert pacer.delay(11.5) == 0.5
    assert pacer.delay(60.0) == 0.0


# -- caps


def most_in_a_window(starts: list[float], span: float) -> int:
    """The largest number of these in any stretch that is shorter than `span`, wherever it begins."""
    return max(sum(1 for other in starts if start <= other < start + span * (1 - 1e-9)) for start in starts)


@given(limits, limits, steps)
def test_no_window_wherever_it_begins_has_more_than_its_cap(minute: int, hour: int, pauses: list[float]) -> None:
    pacer, now, starts = Pacer(0.0, caps=caps(minute=minute, hour=hour, day=0, new_chats=0)), 1000.0, []
    for pause in pauses:
        now += pause
        now += pacer.delay(now)
        assert pacer.delay(now) == 0.0, "what was promised holds"
        pacer.started(now, 0.0)
        starts.append(now)
    assert most_in_a_window(starts, MINUTE) <= minute
    assert most_in_a_window(starts, HOUR) <= hour


@given(limits, st.integers(2, 100))
def test_a_cap_costs_no_more_than_a_part_of_its_window(limit: int, count: int) -> None:
    pacer, now = Pacer(0.0, caps=[Cap("max_per_minute", limit, MINUTE)]), 1000.0
    for _ in range(count):
        now += pacer.delay(now)
        pacer.started(now, 0.0)
    assert now - 1000.0 <= (count - 1) // limit * (MINUTE + MINUTE / PARTS) + 1e-6


@given(limits, steps, st.lists(st.integers(0, 119), max_size=4), st.integers(0, 2**32))
def test_hosts_that_are_killed_do_not_send_more(limit: int, pauses: list[float], kills: list[int], seed: int) -> None:
    """The store keeps, by the minute, how many there were and when the last was: a successor never waits too little for it."""
    cap, now, starts, stored = Cap("max_per_minute", limit, MINUTE), 1000.0, list[float](), dict[int, tuple[int, float]]()
    pacer, wall = Pacer(0.0, caps=[cap]), random.Random(seed).uniform(0, 1e9)
    for number, pause in enumerate(pauses):
        now += pause
        if number in kills:
            pacer = Pacer(0.0, caps=[cap])
            pacer.recall([Past(wall + now - last, count, 0) for count, last in stored.values()], now)
        now += pacer.delay(now)
        pacer.started(now, 0.0)
        starts.append(now)
        bucket = int((wall + now) // 60)
        stored[bucket] = (stored.get(bucket, (0, 0.0))[0] + 1, wall + now)
    assert most_in_a_window(starts, MINUTE * (1 - 1e-6)) <= limit


def test_the_interval_is_kept_over_a_kill() -> None:
    pacer = Pacer(5.0)
    pacer.recall([Past(age=2.0, count=1, new_chats=0), Past(age=900.0, count=7, new_chats=0)], 1000.0)
    assert pacer.delay(1000.0) == pytest.approx(3.0)


def test_new_chats_have_a_cap_of_their_own() -> None:
    pacer = Pacer(0.0, caps=caps(minute=0, hour=0, day=0, new_chats=2))
    for _ in range(5):
        pacer.started(1000.0, 0.0)
    assert pacer.new_chats(1000.0)
    pacer.started(1000.0, 0.0, new_chat=True)
    pacer.started(1001.0, 0.0, new_chat=True)
    assert not pacer.new_chats(1002.0) and pacer.delay(1002.0) == 0.0, "chats with history go on"
    assert not pacer.new_chats(1000.0 + DAY) and pacer.new_chats(1001.0 + DAY * (1 + 1 / PARTS))


def test_what_never_left_the_page_is_taken_back() -> None:
    pacer = Pacer(0.0, caps=caps(minute=1, hour=0, day=0, new_chats=1))
    pacer.started(1000.0, 0.0, new_chat=True)
    assert pacer.delay(1000.0) > 0 and not pacer.new_chats(1000.0)
    pacer.take_back(1000.0, new_chat=True)
    assert pacer.delay(1000.0) == 0.0 and pacer.new_chats(1000.0)
    pacer.take_back(1000.0, new_chat=True)
    assert [use.left for use in pacer.uses(1000.0)] == [1, 1], "no more than there was"


@given(limits, steps)
def test_a_window_does_not_grow_with_what_goes_through_it(limit: int, pauses: list[float]) -> None:
    pacer, now = Pacer(0.0, caps=[Cap("max_per_minute", 10**9, MINUTE)]), 1000.0
    for pause in pauses:
        now += pause / 10
        for _ in range(limit):
            pacer.started(now, 0.0)
            pacer.delay(now)
    assert len(pacer._windows[0]._parts) <= PARTS + 2


# -- what people are told


def use(name: str = "max_per_day", left: int = 0, until: float | None = 3600.0, **more: object) -> Use:
    return Use.from_dict({"name": name, "limit": 200, "span": DAY, "new_chats": False, "left": left, "until": until} | more)


def test_the_cap_that_holds_longest_is_named() -> None:
    day, minute = use(), use("max_per_minute", until=30.0, span=60.0)
    chats = use("new_chats_per_day", until=7200.0, new_chats=True)
    assert holding([minute, day, chats], new_chats=False) == day
    assert holding([minute, day, chats], new_chats=True) == chats
    assert holding([use(left=3, until=None)], new_chats=True) is None


@pytest.mark.parametrize(
    ("queued", "rate", "uses", "seconds"),
    [
        (0, 0.0, [], None),
        (0, 2.0, [], 0.0),
        (100, 2.0, [], 50.0),
        (100, 0.0, [], None),  # nobody knows
        (100, 2.0, [use(left=100, until=None)], 50.0),  # the cap lets all through
        (300, 2.0, [use(left=100, until=None)], DAY),  # 100 now, the rest when those have left the window
        (301, 2.0, [use(left=100, until=None)], 2 * DAY),
        (10, 0.0, [use()], 3600.0),
        (10, 0.001, [use()], 3600.0),  # the rate of the last minutes is the cap's doing
        (500, 0.0, [use()], 3600.0 + 2 * DAY),
        (10, 0.0, [use(new_chats=True)], None),
    ],
)
def test_how_long_it_takes_knows_the_caps(queued: int, rate: float, uses: list[Use], seconds: float | None) -> None:
    assert drain(queued, rate, uses, now=0.0) == seconds
