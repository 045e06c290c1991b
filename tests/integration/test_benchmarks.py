"""The benchmarks run from end to end and say what they ought to; how fast anything is is not judged here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
#: What the page must have a row for, by a few words of it.
WANTED = [
    "64 connections", "256 connections", "Idempotency-Key", "syncs of 10 ms", "waiting in one chat", "waiting in as many chats", "future",
    "finished", "linking another number", "cleared since the last ack", "messages held", "an attach asks for", "dead letters",
    "/metrics", "at rest", "memory of our", "memory of Chromium", "handed over", "pacing 0", "Chromium killed", "host killed",
    "slow look-ups", "first message at the server",
]  # fmt: skip


def test_each_benchmark_runs_and_has_its_row(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, BENCHMARKS, "--quick", "--write", tmp_path], capture_output=True, text=True, timeout=170, cwd=tmp_path
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    page = (tmp_path / "benchmarks.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert [words for words in WANTED if sum(words in row for row in rows) < 1] == []
    assert not [row for row in rows if "not measured" in row]
    assert "Chromium 1" in page and "kernel: Linux" in page
    for picture in ("benchmarks-accepts.svg", "benchmarks-claims.svg"):
        drawn = ElementTree.fromstring((tmp_path / picture).read_text())
        assert drawn.tag.endswith("svg") and len(list(drawn.iter())) > 20 and picture in page


def test_a_missed_floor_is_said(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from report import Limit, Row, ratio

    most, least = Limit(10.0, 5.0, most=True), Limit(0.35, 0.5)
    assert [most.verdict(v) for v in (4, 5, 7, 10, 11)] == ["kept", "kept", "floor", "floor", "missed"]
    assert [least.verdict(v) for v in (0.6, 0.4, 0.2)] == ["kept", "floor", "missed"]
    assert Row("x", None, "s", "", most).verdict == "" and Row("x", 3.0, "s", "").verdict == ""
    assert ratio("x", [1.0, 4.0, 30.0], [2.0, 4.0, 10.0], "", None).value == 1.0
