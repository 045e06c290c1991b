"""The evidence fits into the beat file's one page, whatever the page and errors say."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import beat, pacing
from gateway.beat import fitting, written
from gateway.browser.bridge import Report
from gateway.browser.standing import Standing
from gateway.session import Evidence


def said_by_the_page(text: str) -> Standing:
    """A host whose page answers every question with `text`; each number is as long as numbers get, each cap is on and used up."""
    pacer = pacing.Pacer(1.0, caps=pacing.caps(minute=10**9, hour=10**9, day=10**9, new_chats=10**9))
    at = 123_456_789.123456789
    standing = Standing(session="s" * 63, epoch=10**9, since=at, pacer=pacer)
    values: dict[str, Any] = {f.name: text for f in fields(Report)} | {"dialogs": [], "ready": True, "url": text}
    standing.report = Report(**values)
    standing.detail, standing.dialogs = text, (text,) * 9
    standing.expected_account = "123456789012345@c.us"
    for f in fields(Standing):
        if f.name.endswith("_at") or f.name.endswith("_since") or f.name in ("round_trip", "restricted_until"):
            setattr(standing, f.name, at)
    standing.memory_bytes, standing.chromium_pid, standing.missed, standing.takeovers = 10**12, 4_194_304, 10**6, 16
    return standing


@pytest.mark.parametrize("text", ["x" * 500, "\x01" * 500, "通" * 500, "🙂" * 500, '\\"' * 250, "\ud83d" * 500])
def test_a_beat_holds_whatever_the_page_says(tmp_path: Path, text: str) -> None:
    heart = beat.Heart(tmp_path / "b")
    standing = said_by_the_page(text)
    heart.beat({"evidence": standing.evidence().as_dict()})
    found = beat.read(tmp_path / "b")
    heart.close()
    assert found is not None
    evidence = Evidence.from_dict(found.facts["evidence"])
    assert evidence.canary and evidence.socket and evidence.detail and len(evidence.dialogs) == 2


@given(st.text(), st.integers(0, 100))
def test_what_is_cut_fits_and_nothing_else_is_cut(text: str, size: int) -> None:
    cut = fitting(text, size)
    assert cut is not None and text.startswith(cut)
    assert len(written(cut)) - 2 <= size
    if cut != text:
        assert len(written(text[: len(cut) + 1])) - 2 > size


def test_nothing_stays_nothing() -> None:
    assert fitting(None, 10) is None


def test_a_hand_over_is_stuck_only_from_the_sync_on() -> None:
    standing = said_by_the_page("x")
    standing.calling_since, standing.steady_at = 10.0, 50.0
    assert standing.evidence().calling_since == 50.0
    standing.steady_at = 5.0
    assert standing.evidence().calling_since == 10.0
    standing.calling_since = None
    assert standing.evidence().calling_since is None
