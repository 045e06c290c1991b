"""Beats: of a process that is still starting, torn, and read again."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gateway import beat


def beats(path: Path, seconds: float) -> int:
    """How many different beats are seen."""
    end, seen = time.monotonic() + seconds, set()
    while time.monotonic() < end:
        if (found := beat.read(path)) is not None:
            assert (found.pid, found.facts) == (os.getpid(), {})
            seen.add(found.at)
        time.sleep(0.002)
    return len(seen)


def test_a_slow_start_is_no_silence_and_ends_when_the_main_loop_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beat, "INTERVAL", 0.01)
    birth = beat.Birth(tmp_path / "x.beat")
    assert beats(tmp_path / "x.beat", 0.2) > 3
    birth.over()
    assert beats(tmp_path / "x.beat", 0.1) == 1, "no beat after its end"


def test_a_start_that_hangs_falls_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beat, "INTERVAL", 0.01)
    monkeypatch.setattr(beat, "START", 0.05)
    birth = beat.Birth(tmp_path / "x.beat")
    birth._thread.join(5)
    assert not birth._thread.is_alive()
    assert beats(tmp_path / "x.beat", 0.1) == 1


def test_a_pages_words_fit_in_any_script(tmp_path: Path) -> None:
    heart = beat.Heart(tmp_path / "b")
    heart.beat({"detail": "🙂" * 300, "dialogs": ["通知" * 30] * 2, "torn": "\ud83d"})
    found = beat.read(tmp_path / "b")
    assert found is not None and found.facts["detail"] == "🙂" * 300 and found.facts["torn"] == "?"
    heart.close()


def test_a_beat_read_again_is_the_same_and_a_torn_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "api.beat"
    heart = beat.Heart(path)
    heart.beat({"n": 1})
    first = beat.read(path)
    assert first is not None and beat.read(path) is first
    heart.beat({"n": 2})
    second = beat.read(path)
    assert second is not None and second.facts == {"n": 2} and second.at >= first.at
    path.write_bytes(path.read_bytes().replace(b'"n": 2', b'"n": 3'))
    assert beat.read(path) is None and beat.read(path) is None
    heart.close()


def test_those_who_wait_for_a_tick_meet_there(monkeypatch: pytest.MonkeyPatch) -> None:
    met = set()
    for now in (1000.0, 1000.25, 1000.999):
        monkeypatch.setattr(beat, "boot_time", lambda now=now: now)
        wait = beat.to_tick(1.0)
        assert 0 < wait <= 1.0
        met.add(round(now + wait, 6))
    assert met == {1001.0}


def test_a_gap_in_our_own_time_is_noticed_once_and_a_slow_look_is_none() -> None:
    stalls = beat.Stalls(2.0)
    for now in (100.0, 101.0, 103.0):
        stalls.look(now)
    assert stalls.woke_at == float("-inf")
    stalls.look(105.1)
    stalls.look(106.0)
    assert stalls.woke_at == 105.1


def test_a_deadline_is_not_used_up_by_a_stop_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [50.0]
    monkeypatch.setattr(beat, "boot_time", lambda: now[0])
    deadline = beat.RunningDeadline(3.0, step=1.0)
    for seconds, passed in ((0.5, False), (600.0, False), (1.0, False), (0.4, False), (0.2, True)):
        now[0] += seconds
        assert deadline.passed() is passed
