"""The incarnation's marker: kept while nothing on disk can have been lost, renewed otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.beat import boot_id
from gateway.browser import incarnation
from gateway.slot import Launch, started_at, write_launch


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "sessions" / "default"


def reboot(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(incarnation, "boot_id", lambda: name)


def test_kept_over_launches_of_one_boot(slot: Path) -> None:
    assert incarnation.current(slot) is None
    first = incarnation.prepare(slot)
    assert incarnation.prepare(slot) == first == incarnation.current(slot)


def test_renewed_at_a_change_of_boot(slot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = incarnation.prepare(slot)
    reboot(monkeypatch, "another")
    second = incarnation.prepare(slot)
    assert second != first
    assert incarnation.prepare(slot) == second


def test_kept_over_a_boot_that_ended_clean_and_only_over_that(slot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = incarnation.prepare(slot)
    assert incarnation.mark_clean(slot)
    reboot(monkeypatch, "second")
    assert incarnation.prepare(slot) == first
    reboot(monkeypatch, "third")  # the second ended without a mark
    assert incarnation.prepare(slot) != first


def test_a_mark_does_not_outlive_the_next_launch(slot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = incarnation.prepare(slot)
    assert incarnation.mark_clean(slot)
    assert incarnation.prepare(slot) == first
    reboot(monkeypatch, "second")
    assert incarnation.prepare(slot) != first


def test_no_mark_while_a_launcher_lives(slot: Path, tmp_path: Path) -> None:
    incarnation.prepare(slot)
    write_launch(tmp_path, "default", Launch(os.getpid(), started_at(os.getpid()) or 0, boot_id()))
    assert not incarnation.mark_clean(slot)


def test_no_mark_for_a_profile_that_never_started(slot: Path) -> None:
    assert not incarnation.mark_clean(slot)


def test_renew(slot: Path) -> None:
    first = incarnation.prepare(slot)
    assert incarnation.renew(slot) != first
    assert incarnation.prepare(slot) == incarnation.current(slot)


def test_a_torn_file_is_the_safe_side(slot: Path) -> None:
    first = incarnation.prepare(slot)
    (slot / incarnation.NAME).write_text('{"marker": "')
    assert incarnation.prepare(slot) != first
