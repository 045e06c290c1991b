"""The trial of file systems that are not known by name: real processes, SQLite and locks, on a disk that is made to lose them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gateway_rig import GATEWAY, free_port

from gateway import filesystem, filesystem_trial
from gateway.filesystem import Mount, unfit
from gateway.filesystem_trial import problem

TRIAL = "import sys; from pathlib import Path; from gateway.filesystem_trial import problem; print(problem(Path(sys.argv[1])))"


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that takes locks or shared memory away from a process."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.fail("this test needs a C compiler (apt install gcc), to make a file system that loses locks with")
    library = tmp_path_factory.mktemp("lost") / "lost_locks.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, Path(__file__).with_name("lost_locks.c"), "-ldl"], check=True)
    return library


@pytest.mark.parametrize(
    "fault, said",
    [
        ("LOST_LOCKS", "locks are lost: two processes write at once"),
        ("LOST_FLOCKS", "locks are lost: two processes hold one lock"),
        ("PRIVATE_MEMORY", "one process does not see what another has written (shared memory)"),
        ("NOTHING", "None"),
    ],
)
def test_a_fault_is_found_and_nothing_is_left(lost: Path, tmp_path: Path, fault: str, said: str) -> None:
    environ = {**os.environ, "LD_PRELOAD": str(lost), fault: "1"}
    done = subprocess.run([sys.executable, "-c", TRIAL, str(tmp_path)], env=environ, capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == said, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_good_disk_passes_soon_and_a_trial_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def took() -> float:
        begun = time.monotonic()
        assert problem(tmp_path) is None
        return time.monotonic() - begun

    assert min(took() for _ in range(3)) < 1.0
    assert str(problem(tmp_path, deadline=0.001)).startswith("two processes on one database do not end within")
    assert problem(tmp_path / "none") is None, "where no trial can be made nothing is said against the file system"
    slow = tmp_path / "slow.py"
    slow.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(filesystem_trial, "__file__", str(slow))
    assert "do not end" in str(problem(tmp_path, deadline=0.2))


def test_the_trial_is_made_where_the_name_tells_nothing_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials: list[Path] = []
    monkeypatch.setattr(filesystem, "problem", lambda data: trials.append(data))
    for kind, number in (("ext4", 0), ("fuse.new", 1), ("fuse.new", 1), ("fuse.newer", 2)):
        monkeypatch.setattr(filesystem, "mount_of", lambda _, kind=kind: Mount("/mnt", kind))
        assert unfit(tmp_path, tmp_path / "tried") is None
        assert len(trials) == number
    monkeypatch.setattr(filesystem, "problem", lambda data: "locks are lost")
    (tmp_path / "tried").unlink()
    assert "a trial there shows: locks are lost: set GATEWAY_DATA to a directory on a local disk; in a container use a named volume" in str(
        unfit(tmp_path, tmp_path / "tried")
    )
    assert not (tmp_path / "tried").exists()


def test_up_and_each_process_refuse_what_fails_the_trial(lost: Path, tmp_path: Path) -> None:
    data, planted = tmp_path / "data", tmp_path / "mountinfo"
    planted.write_text(f"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:99 / {data} rw - fuse.new server rw\n")
    environ = {**os.environ, "GATEWAY_DATA": str(data), "GATEWAY_LISTEN": f"127.0.0.1:{free_port()}", "LOST_LOCKS": "1"}
    for word in ("up", "api"):
        shell = f'mount --bind {planted} /proc/$$/mountinfo && export LD_PRELOAD={lost} && exec "$@"'
        command = ["unshare", "--map-root-user", "--mount", "sh", "-c", shell, "sh", *GATEWAY, word]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
        said = done.stdout + done.stderr
        assert done.returncode == 78 and "lies on fuse.new" in said and "locks are lost" in said and "named volume" in said, said
    assert not (data / "gateway.db").exists()
