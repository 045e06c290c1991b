"""Pauses that grow: no count of failures is too large for them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gateway
from gateway.browser.interruptions import FIRST_PAUSE, LONGEST_PAUSE, Takeovers
from gateway.message import backoff
from gateway.pauses import doubling


@pytest.mark.parametrize(
    ("failures", "seconds"), [(-1, 2.0), (0, 2.0), (1, 2.0), (2, 4.0), (5, 32.0), (6, 60.0), (1_026, 60.0), (10**9, 60.0)]
)
def test_it_doubles_up_to_the_largest(failures: int, seconds: float) -> None:
    assert doubling(failures, first=2.0, largest=60.0) == seconds


def test_every_pause_in_use_has_an_answer_for_any_count() -> None:
    assert 150.0 <= backoff(10**6, first=2.0, largest=300.0, random=0.5) <= 300.0
    takeovers = Takeovers()
    for n in range(5_000):
        takeovers.done(n / 100)
    assert not takeovers.due(50.0 + FIRST_PAUSE)
    assert takeovers.due(50.0 + LONGEST_PAUSE)


def test_no_other_module_raises_two_to_a_count_of_its_own() -> None:
    """An exponent that grows without bound raises OverflowError after 1,025 failures, and ended the host."""
    sources = Path(gateway.__file__).parent.rglob("*.py")
    found = [str(path) for path in sources if re.search(r"\b2\.0\s*\*\*", path.read_text())]
    assert [Path(path).name for path in found] == ["pauses.py"]
