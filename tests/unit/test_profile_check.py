"""When a profile is not to blame, and how starts that did not come up are counted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from gateway.beat import boot_id
from gateway.browser import profile_check
from gateway.slot import Launch

LAUNCH = Launch(pid=1, started=1, boot=boot_id(), executable="/chromium")


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    (tmp_path / "profile" / "Default").mkdir(parents=True)
    (tmp_path / "profile" / "Default" / "Preferences").write_text("{}")
    return tmp_path


def test_starts_that_did_not_come_up_are_counted_and_one_that_did_ends_the_row(slot: Path) -> None:
    assert profile_check.failed_starts(slot, None) == 0
    assert [profile_check.failed_starts(slot, LAUNCH) for _ in range(3)] == [1, 2, 3]
    profile_check.came_up(slot)
    assert profile_check.failed_starts(slot, LAUNCH) == 1


def test_a_launcher_that_refused_was_no_start(slot: Path) -> None:
    refused = Launch(pid=1, started=1, boot=boot_id(), refused="an older Chromium")
    assert [profile_check.failed_starts(slot, refused) for _ in range(3)] == [0, 0, 0]


def test_a_whole_profile_has_no_other_reason(slot: Path) -> None:
    assert profile_check.other_reason(slot / "profile") is None


def test_a_full_disk_is_no_damage(slot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = SimpleNamespace(f_bavail=1000, f_frsize=4096, f_files=10, f_favail=5)
    monkeypatch.setattr(profile_check.os, "statvfs", lambda _: full)
    assert profile_check.other_reason(slot / "profile") == "the disk is almost full"


def test_a_file_of_another_user_is_no_damage(slot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_check.os, "geteuid", lambda: 4711)
    assert "belongs to another user: chown" in str(profile_check.other_reason(slot / "profile"))


def test_a_file_without_rights_is_no_damage(slot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_check.os, "access", lambda path, _: Path(path).name != "Preferences")
    assert "Preferences may not be read and written" in str(profile_check.other_reason(slot / "profile"))


def test_a_link_to_a_mount_that_is_missing_is_no_damage(slot: Path) -> None:
    (slot / "profile" / "Cache").symlink_to("/mnt/not-there/cache")
    assert "a link to /mnt/not-there/cache, which is not there" in str(profile_check.other_reason(slot / "profile"))


@pytest.mark.parametrize(("fresh", "own", "moved"), [(True, False, True), (False, False, False), (True, True, False)])
def test_only_a_profile_that_fails_where_an_empty_one_succeeds_is_moved(
    slot: Path, monkeypatch: pytest.MonkeyPatch, fresh: bool, own: bool, moved: bool
) -> None:
    monkeypatch.setattr(profile_check, "comes_up", lambda _, profile, *__: own if profile.name == "profile" else fresh)
    kept = profile_check.replace_if_unusable(slot, lambda _: [], {})
    assert (kept is not None) == moved
    assert (slot / "profile" / "Default").exists() != moved
    assert [path.name for path in slot.glob("trial-*")] == []


def test_no_fourth_profile_is_moved_aside(slot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(profile_check.ASIDE):
        (slot / f"{profile_check.ASIDE_NAME}{n}").mkdir()
    monkeypatch.setattr(profile_check, "comes_up", lambda _, profile, *__: profile.name != "profile")
    assert profile_check.replace_if_unusable(slot, lambda _: [], {}) is None
    assert (slot / "profile" / "Default").exists()
