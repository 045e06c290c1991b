"""Beats of a process that is still starting."""

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
