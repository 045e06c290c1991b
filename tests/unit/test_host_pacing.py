"""The session's pace: never faster than the interval, whatever the dice say; nothing at all at 0."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from gateway.browser.pacing import JITTER, Pacer

dice = st.floats(0, 1, exclude_max=True)
intervals = st.floats(0.01, 3600)


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
    pacer = Pacer(0.0)
    for roll in rolls:
        assert pacer.delay(5.0) == 0.0
        pacer.started(5.0, roll)
    assert pacer.delay(5.0) == 0.0


def test_time_that_passed_counts() -> None:
    pacer = Pacer(2.0)
    pacer.started(10.0, 0.0)
    assert pacer.delay(11.5) == 0.5
    assert pacer.delay(60.0) == 0.0
