"""The doctor's judgements, without looking at anything."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gateway.doctor import books, browser, ground, neighbours
from gateway.doctor.finding import Finding, Level, fail, ok, split, warn
from gateway.doctor.neighbours import Listener
from gateway.doctor.report import as_text, exit_status
from gateway.filesystem import Mount, find
from gateway.provision import WA_JS_SHA256

MOUNTS = r"""21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 0:21 / /srv rw shared:2 - nfs4 server:/srv rw
23 22 8:2 / /srv/local\040disk rw - xfs /dev/sdb1 rw
24 21 0:22 / /home rw shared:3 master:1 - cifs //server/home rw
25 24 0:23 / /home/box rw - fuse.sshfs box: rw
26 21 0:24 / /over rw - fuse.fuse-overlayfs overlay rw"""


@pytest.mark.parametrize(
    "path, kind, refused",
    [
        ("/var/lib", "ext4", False), ("/srv/gateway", "nfs4", True), ("/srv/local disk/gateway", "xfs", False), ("/srvs", "ext4", False),
        ("/home/me", "cifs", True), ("/home/box/data", "fuse.sshfs", True), ("/over", "fuse.fuse-overlayfs", False),
    ],
)  # fmt: skip
def test_which_file_system_and_whether_it_will_do(path: str, kind: str, refused: bool) -> None:
    mount = find(MOUNTS, Path(path))
    assert (mount.kind, mount.refused) == (kind, refused)


@pytest.mark.parametrize(
    "kind, refused, trusted",
    [
        *((kind, True, False) for kind in ("virtiofs", "fakeowner", "grpcfuse", "fuse.grpcfuse", "osxfs", "fuse.osxfs", "9p", "drvfs")),
        *((kind, True, False) for kind in ("nfs", "nfs4", "cifs", "smb3", "fuse.vmhgfs-fuse", "prl_fs", "fuse.rclone", "gfs2")),
        *((kind, False, True) for kind in ("ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "overlay")),
        *((kind, False, False) for kind in ("fuse", "fuse.mergerfs", "fuse.gocryptfs", "fuseblk", "ecryptfs", "aufs", "new", "unknown")),
    ],
)
def test_known_file_systems_are_known_by_name_and_all_others_are_tried(kind: str, refused: bool, trusted: bool) -> None:
    mount = Mount("/", kind)
    assert (mount.refused, mount.trusted) == (refused, trusted)


def test_what_is_mounted_over_it_counts() -> None:
    assert find(MOUNTS + "\n27 21 0:25 / /var rw - ext4 /dev/sdc rw\n28 27 0:26 / /var rw - nfs server:/ rw", Path("/var/lib")).refused


@pytest.mark.parametrize("free, level", [(99e6, Level.FAIL), (199e6, Level.FAIL), (999e6, Level.WARN), (2e9, Level.OK)])
def test_room(free: float, level: Level) -> None:
    assert ground.judge_room(int(free)).level is level


@pytest.mark.parametrize(
    "owner, mode, writable, level",
    [(1, 0o700, True, Level.OK), (1, 0o750, True, Level.WARN), (2, 0o700, True, Level.WARN), (2, 0o700, False, Level.FAIL)],
)
def test_rights(owner: int, mode: int, writable: bool, level: Level) -> None:
    assert ground.judge_rights(Path("/data"), owner, mode, 1, writable).level is level


def test_a_file_of_roots_left_behind_by_sudo() -> None:
    found = ground.judge_rights(Path("/a b"), 1, 0o700, 1, True, [(Path("/a b/gateway.db"), 0), (Path("/a b/run"), 0)])
    assert found.level is Level.FAIL and found.said.startswith("/a b/gateway.db belongs to root, as do 1 more in /a b; ")
    assert "`chown -R 1 '/a b'`" in found.todo


def sqlite_error(name: str) -> sqlite3.Error:
    error = sqlite3.OperationalError("it failed")
    error.sqlite_errorname = name  # type: ignore[misc]
    return error


@pytest.mark.parametrize(
    "name, refused, level, said",
    [
        ("SQLITE_CANTOPEN", "/d/gateway.db belongs to root: chown", Level.FAIL, "belongs to root"),
        ("SQLITE_CANTOPEN", None, Level.FAIL, "cannot be read"), ("SQLITE_NOTADB", None, Level.FAIL, "is damaged"),
        ("SQLITE_BUSY", None, Level.WARN, "cannot be read"),
    ],
)  # fmt: skip
def test_only_a_damaged_database_is_called_damaged(name: str, refused: str | None, level: Level, said: str) -> None:
    found = books.judge_unreadable(Path("/d/gateway.db"), sqlite_error(name), refused)
    assert found.level is level and said in found.said
    assert ("damaged" in str(found)) == (name == "SQLITE_NOTADB")


def test_the_bundle() -> None:
    path = Path("/wa.js")
    assert browser.judge_bundle(path, WA_JS_SHA256, chosen=False).level is Level.OK
    assert browser.judge_bundle(path, "0" * 64, chosen=False).level is Level.FAIL
    assert browser.judge_bundle(path, "0" * 64, chosen=True).level is Level.WARN


def test_locks() -> None:
    assert neighbours.judge_lock("api", 7, {"api": 7}, "gateway") is None
    assert "supervisord did not start" in str(neighbours.judge_lock("api", 7, {"api": 8}, "vim"))
    assert "no supervisord" in str(neighbours.judge_lock("api", 7, None, "gateway"))


def test_who_holds_a_flock() -> None:
    lines = ("1: FLOCK  ADVISORY  WRITE 4711", "1: -> FLOCK  ADVISORY  WRITE 4712", "2: POSIX  ADVISORY  WRITE 9")
    text = "\n".join(f"{line} fe:01:1234 0 EOF" for line in lines)
    assert neighbours.flock_pids(text, 1234) == [4711]
    assert neighbours.flock_pids(text, 234) == []


@pytest.mark.parametrize(
    "host, listener, taken",
    [
        ("127.0.0.1", Listener("127.0.0.1", 3000, 9), True), ("127.0.0.1", Listener("0.0.0.0", 3000, 9), True),
        ("127.0.0.1", Listener("10.0.0.1", 3000, 9), False), ("0.0.0.0", Listener("10.0.0.1", 3000, 9), True),
        ("localhost", Listener("::1", 3000, None), True), ("127.0.0.1", Listener("127.0.0.1", 3001, 9), False),
        ("127.0.0.1", Listener("127.0.0.1", 3000, 7), False),
    ],
)  # fmt: skip
def test_whose_port(host: str, listener: Listener, taken: bool) -> None:
    assert (neighbours.foreign([(host, 3000)], [listener], api=7) is listener) is taken


def test_people() -> None:
    nobody = [("root", 0, "/bin/bash"), ("www", 33, "/bin/sh"), ("nobody", 65534, "/bin/sh"), ("x", 1002, "/sbin/nologin")]
    nobody.append(("me", 1000, "/bin/bash"))
    assert neighbours.judge_people(nobody, 1000).level is Level.OK
    assert "anna may log in" in neighbours.judge_people([*nobody, ("anna", 1001, "/bin/zsh")], 1000).said


def test_the_clock() -> None:
    assert books.judge_clock(100.0, 104.0, None).level is Level.OK
    assert books.judge_clock(100.0, 106.0, True).level is Level.FAIL
    assert books.judge_clock(100.0, 0.0, False).level is Level.WARN


def test_schema_and_lanes() -> None:
    assert books.judge_schema(3, 4).level is Level.OK
    assert books.judge_schema(5, 4).level is Level.FAIL
    assert books.judge_lanes([]).level is Level.OK
    assert "2 lanes" in books.judge_lanes(["a", "b"]).said


def test_how_it_is_said() -> None:
    assert split("the bundle is not at /x: run `gateway setup`") == fail("the bundle is not at /x", "run `gateway setup`")
    found: dict[str, Finding] = {"disk": ok("room"), "clock": warn("late", "set it")}
    assert exit_status(found) == 0
    assert as_text(found) == "ok    disk: room\nwarn  clock: late\n      → set it"
    assert exit_status({**found, "ports": fail("taken", "stop it")}) == 1
