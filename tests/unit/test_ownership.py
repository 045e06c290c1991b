"""Files of another user's in the data directory: what is said, and that root leaves none behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway import ownership
from gateway.ownership import by_sudo, entries, give_to_parents_owner, refusal

USER = 4711  # no account has it


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with a profile, seen by a user who may use only what is that user's."""
    data = tmp_path / "a b"
    (data / "sessions" / "default" / "profile" / "Default").mkdir(parents=True)
    (data / "gateway.db").touch()
    (data / "link").symlink_to("/etc/shadow")
    mine = os.geteuid()
    monkeypatch.setattr(ownership, "usable", lambda path, found: found.st_uid == mine)
    return data


def test_all_of_it_is_looked_at_and_no_link_is_followed(data: Path) -> None:
    found = {str(path.relative_to(data)) for path, _ in entries(data)}
    assert found == {".", "gateway.db", "sessions", "sessions/default", "sessions/default/profile", "sessions/default/profile/Default"}
    assert {str(path.relative_to(data)) for path, _ in entries(data, depth=1)} == {".", "gateway.db", "sessions"}
    assert list(entries(data / "none")) == [] and refusal(data / "none") is None


def test_the_sentence_has_the_path_and_the_command(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(data) is None
    monkeypatch.setattr(ownership, "usable", lambda path, found: path.name != "gateway.db")
    monkeypatch.setattr(os, "geteuid", lambda: USER)
    monkeypatch.setattr(os, "getegid", lambda: USER)
    owner = ownership.named(data.stat().st_uid)
    said = refusal(data)
    assert said == f"{data}/gateway.db belongs to {owner} and uid {USER} may not use it: as root, run `chown -R {USER}:{USER} '{data}'`"


def test_the_look_is_bounded(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "MOST", 3)
    assert len(list(entries(data))) <= 4


def test_root_by_sudo_is_told_to_leave_sudo_out(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.fail("this test has to run as root: only root can be root by sudo")
    sudo = {"SUDO_UID": str(USER)}
    assert by_sudo(tmp_path, sudo) is None, "root's own directory"
    os.chown(tmp_path, USER, USER)
    assert by_sudo(tmp_path, {}) is None and by_sudo(tmp_path / "none", sudo) is None
    assert by_sudo(tmp_path, sudo) == f"{tmp_path} belongs to uid {USER} and this is root by sudo: run it as uid {USER}, without sudo"


def test_what_root_makes_within_another_users_directory_is_that_users(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.fail("this test has to run as root: only root can give files away")
    os.chown(tmp_path, USER, USER)
    made = tmp_path / "data"
    made.mkdir()
    give_to_parents_owner(made)
    assert (made.stat().st_uid, made.stat().st_gid) == (USER, USER)
