"""A copied data directory holds what was open; a moved one does not."""

from __future__ import annotations

import shutil
from pathlib import Path

from store_rig import Rig

from gateway.browser import incarnation
from gateway.message import State
from gateway.origin import place
from gateway.store import origin


def test_the_first_opening_and_every_later_one_hold_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    (message,) = rig.accept("4915550001@c.us")
    for _ in range(2):
        assert rig.do(origin.settle, place=place(tmp_path), now=rig.now) == 0
    assert rig.get(message).hold is None


def test_a_move_changes_nothing_and_a_copy_holds_every_open_row(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    rig = Rig(home)
    (message,) = rig.accept("4915550001@c.us")
    rig.do(origin.settle, place=place(home), now=rig.now)
    moved = home.rename(tmp_path / "moved")
    assert rig.do(origin.settle, place=place(moved), now=rig.now) == 0
    copy = Path(shutil.copytree(moved, tmp_path / "copy"))
    assert rig.do(origin.settle, place=place(copy), now=rig.now) == 1
    view = rig.get(message)
    assert (view.state, view.hold) == (State.QUEUED, "restored")
    assert rig.do(origin.settle, place=place(copy), now=rig.now) == 0, "said once"


def test_a_copied_profile_is_another_incarnation(tmp_path: Path) -> None:
    slot = tmp_path / "home" / "sessions" / "default"
    first = incarnation.prepare(slot)
    assert incarnation.prepare(slot) == first
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    assert incarnation.prepare(tmp_path / "copy" / "sessions" / "default") != first
