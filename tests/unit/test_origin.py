"""A database that is a copy, or was put back from a backup, holds what was open; one that was moved or only opened again does not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from store_rig import Rig

from gateway.browser import incarnation
from gateway.message import State
from gateway.origin import place, same
from gateway.settings import Settings
from gateway.store import backup, database, events, highwater, holds, origin, outbox


class Home:
    """A data directory whose writer has settled, and who notes the mark as a writer does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(exist_ok=True)
        self.rig = Rig(path)
        self.settle()

    def settle(self) -> int:
        held = self.rig.do(origin.settle, database=self.rig.path, now=self.rig.now)
        mark = highwater.HighWater(self.rig.path)
        mark.note(events.last(self.rig.conn))
        mark.close()
        return held

    def backup(self, to: Path) -> Path:
        backup.backup(Settings(data=self.path), to)
        return to

    def put_back(self, copy: Path, by: Callable[[Path, Path], object] = shutil.copy) -> int:
        """By hand, in the database's place, after a last writer that has noted how far it was. Returns how many rows are held now."""
        self.settle()
        self.rig.conn.close()
        for path in self.path.glob("gateway.db-*"):
            path.unlink()
        by(copy, self.rig.path)
        return self.reopen()

    def reopen(self) -> int:
        """A writer's start. Returns how many rows are held now."""
        self.rig.conn = database.open_database(self.rig.path)
        return self.settle()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_the_first_opening_and_every_later_one_hold_nothing(home: Home) -> None:
    (message,) = home.rig.accept("4915550001@c.us")
    for _ in range(2):
        home.settle()
        home.rig.conn.close()
        assert home.reopen() == 0
    assert home.rig.get(message).hold is None


def test_a_move_changes_nothing_and_a_copy_holds_every_open_row(home: Home, tmp_path: Path) -> None:
    (message,) = home.rig.accept("4915550001@c.us")
    home.settle()
    moved = home.path.rename(tmp_path / "moved")
    home.rig.path = moved / "gateway.db"
    assert home.reopen() == 0
    copy = Path(shutil.copytree(moved, tmp_path / "copy"))
    home.rig.path = copy / "gateway.db"
    assert home.reopen() == 1
    view = home.rig.get(message)
    assert (view.state, view.hold) == (State.QUEUED, "restored")
    assert home.reopen() == 0, "said once"


def test_a_directory_that_was_put_back_under_the_same_inode_is_another_one(home: Home, tmp_path: Path) -> None:
    """ext4 gives `rm -r data; cp -a backup data` the number that it had; the generation tells."""
    before = place(home.path)
    if "." not in before.partition(":")[0]:
        pytest.fail("this test needs a file system with inode generations, such as ext4, XFS or btrfs")
    for _ in range(3):
        shutil.copytree(home.path, tmp_path / "backup")
        shutil.rmtree(home.path)
        shutil.move(tmp_path / "backup", tmp_path / "moved")
        shutil.copytree(tmp_path / "moved", home.path)
        shutil.rmtree(tmp_path / "moved")
        assert not same(before, place(home.path))


@pytest.mark.parametrize(
    ("recorded", "here", "one"),
    [
        ("17.5:box", "17.5:box", True),
        ("17.5:box", "17.6:box", False),
        ("17.5:box", "18.5:box", False),
        ("17.5:box", "17.5:other", False),
        ("17:box", "17.5:box", True),  # recorded by a version that knew no generations
        ("17:box", "18.5:box", False),
        ("17:box", "17:box", True),  # a file system without them
        ("17.5:box", "17:box", False),
    ],
)
def test_places_are_compared_by_what_both_know(recorded: str, here: str, one: bool) -> None:
    assert same(recorded, here) is one


@pytest.mark.parametrize("in_place", [True, False], ids=["cp", "mv"])
def test_a_backup_put_in_the_databases_place_is_held_though_the_directory_is_the_same(home: Home, tmp_path: Path, in_place: bool) -> None:
    rig = home.rig
    sent, waiting = rig.accept("4915550001@c.us", "4915550002@c.us")
    rig.resolve()
    copy = home.backup(tmp_path / "backup.db")
    assert rig.claimed().message == sent
    rig.ack(rig.get(sent).wa_id.split("_")[2])
    held = home.put_back(copy, shutil.copy if in_place else shutil.move)
    assert held == 2, "what had been queued in the backup may have gone out since, and this one did"
    assert {m.id: (m.state, m.hold) for m in outbox.list_(rig.conn).messages} == {
        sent: (State.QUEUED, "restored"),
        waiting: (State.QUEUED, "restored"),
    }
    assert rig.claim() is None
    rig.do(holds.release, hold="restored", accept_duplicate=True, now=rig.now)
    home.settle()
    assert home.reopen() == 0 and rig.get(waiting).hold is None, "once released, the next start holds nothing again"
    assert rig.claimed() is not None


def test_a_receipt_finds_what_a_backup_took_for_never_handed_over(home: Home, tmp_path: Path) -> None:
    """Its index knows the ids that WhatsApp may know: after a restore those are all, also of what had ended."""
    rig = home.rig
    queued, cancelled = rig.accept("4915550001@c.us", "4915550002@c.us")
    rig.do(outbox.cancel, id=cancelled, now=rig.now)
    copy, ids = home.backup(tmp_path / "backup.db"), [rig.hex(queued), rig.hex(cancelled)]
    rig.do(outbox.requeue, id=cancelled, now=rig.now)
    assert home.put_back(copy) == 1
    for hex_, message in zip(ids, (queued, cancelled), strict=True):
        assert rig.ack(hex_)
        assert rig.get(message).state is State.SENT
        assert rig.ack(hex_, ack=3)
        assert rig.get(message).state is State.READ, "also the later ones, though it was never handed over here"


def test_readers_of_the_event_log_miss_nothing_that_comes_after_a_restore(home: Home, tmp_path: Path) -> None:
    copy = home.backup(tmp_path / "backup.db")
    home.rig.accept("4915550001@c.us")
    cursor = events.last(home.rig.conn)
    home.put_back(copy)
    (message,) = home.rig.accept("4915550002@c.us")
    assert [e.message for e in events.after(home.rig.conn, cursor, 10)] == [message]


def test_the_mark_only_rises_and_a_torn_one_is_none(tmp_path: Path) -> None:
    at = tmp_path / "gateway.db"
    assert highwater.read(at) == 0
    mark = highwater.HighWater(at)
    for event, then in ((7, 7), (5, 7), (123456789, 123456789)):
        mark.note(event)
        assert highwater.read(at) == then
    mark.close()
    later = highwater.HighWater(at)
    later.note(8)
    assert highwater.read(at) == 123456789, "a process that starts knows it too"
    later.close()
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes().replace(b"123456789", b"123456799"))
    assert highwater.read(at) == 0


def test_a_copied_profile_is_another_incarnation(tmp_path: Path) -> None:
    slot = tmp_path / "home" / "sessions" / "default"
    first = incarnation.prepare(slot)
    assert incarnation.prepare(slot) == first
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    assert incarnation.prepare(tmp_path / "copy" / "sessions" / "default") != first
