"""The launcher with a real Chromium: what it becomes, what it sweeps, what it refuses."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from launcher_rig import CHROMIUM, START, Rig, end, until

from gateway import slot as slots
from gateway.browser import incarnation, profile_check
from gateway.doctor.browser import profiles
from gateway.doctor.finding import Level


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    one = Rig(tmp_path / "data")
    yield one
    slots.sweep(one.data, "default", CHROMIUM)


def test_the_pid_becomes_chromium_itself_leader_of_its_group(rig: Rig) -> None:
    started = rig.up()
    assert slots.executable_of(started.pid) == CHROMIUM
    assert os.getpgid(started.pid) == started.pid
    launch = slots.read_launch(rig.data, "default")
    assert launch is not None
    assert launch.pid == started.pid
    assert slots.alive(launch)
    assert launch.version.count(".") == 3
    assert incarnation.current(rig.settings.slot("default"))
    assert not incarnation.mark_clean(rig.settings.slot("default"))
    environ = Path(f"/proc/{started.pid}/environ").read_bytes()
    assert f"{slots.MARK}={rig.data}:default".encode() in environ
    assert b"a-key-that-stays-here" not in environ
    assert slots.memory(rig.data, "default") > 50_000_000
    end(started)


def test_it_answers_on_loopback_with_an_honest_user_agent(rig: Rig) -> None:
    started = rig.up()
    port = rig.port()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/version", timeout=5) as answer:
        said = json.load(answer)
    assert "Headless" not in said["User-Agent"]
    launch = slots.read_launch(rig.data, "default")
    assert launch is not None
    assert said["Browser"].endswith(launch.version)
    assert f"Chrome/{launch.version.split('.')[0]}.0.0.0" in said["User-Agent"]
    own = {host for host in socket.gethostbyname_ex(socket.gethostname())[2] if not host.startswith("127.")}
    for host in own:
        with pytest.raises(OSError):
            socket.create_connection((host, port), 1).close()
    end(started)


def test_leftovers_are_swept_also_stopped_ones_and_crash_handlers(rig: Rig) -> None:
    first = rig.up()
    until(lambda: len(rig.processes()) >= 4)
    old = set(rig.processes())
    for pid in old - {first.pid}:
        os.kill(pid, signal.SIGSTOP)
    end(first)
    left = set(rig.processes())
    assert left, "stopped children outlive their browser"
    second = rig.up()
    assert not old & set(rig.processes())
    assert all(slots.started_at(pid) is None or slots.executable_of(pid) != CHROMIUM for pid in old)
    assert second.pid in rig.processes()
    assert "swept" in rig.log.read_text()
    end(second)


def test_leftovers_are_found_without_the_record(rig: Rig) -> None:
    first = rig.up()
    slots.launch_path(rig.data, "default").unlink()
    assert first.pid in rig.processes()
    old = set(rig.processes())
    second = rig.up()
    first.wait(5)
    assert not old & set(rig.processes())
    end(second)


def test_a_chromium_that_crashes_leaves_no_core_dump(rig: Rig) -> None:
    started = rig.up()
    until(lambda: any("--type=renderer" in line for line in rig.command_lines().values()))
    lines = rig.command_lines()
    assert {resource.prlimit(pid, resource.RLIMIT_CORE) for pid in lines} == {(0, 0)}
    renderer = next(pid for pid, line in lines.items() if "--type=renderer" in line)
    os.kill(renderer, signal.SIGSEGV)
    until(lambda: slots.started_at(renderer) is None)
    os.kill(started.pid, signal.SIGSEGV)
    assert started.wait(10) == -signal.SIGSEGV
    assert not list(rig.data.rglob("core*")), "the data directory is where it runs"


def test_another_slots_chromium_is_left_alone(rig: Rig, tmp_path: Path) -> None:
    other = Rig(tmp_path / "other")
    foreign = other.up()
    first = rig.up()
    end(first)
    second = rig.up()
    assert foreign.poll() is None
    assert foreign.pid in other.processes()
    end(second)
    slots.sweep(other.data, "default", CHROMIUM)
    foreign.wait(5)
    assert other.processes() == []


def test_a_profile_of_a_newer_chromium_is_refused(rig: Rig) -> None:
    rig.profile.mkdir(parents=True)
    (rig.profile / "Last Version").write_text("999.0.1.2")
    assert "would wipe the login" in rig.refusal()
    assert (rig.profile / "Last Version").read_text() == "999.0.1.2"


def test_a_profile_that_somebody_else_uses_is_refused_and_a_dead_owners_lock_is_cleared(rig: Rig) -> None:
    rig.profile.mkdir(parents=True)
    flags = ["--headless=new", f"--user-data-dir={rig.profile}", "--remote-debugging-port=0", "--no-first-run", "about:blank"]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")
    short = Path("/tmp") / f"gateway-test-{os.getpid()}"
    short.mkdir()
    by_hand = subprocess.Popen([CHROMIUM, *flags], env={**os.environ, "TMPDIR": str(short)}, stderr=subprocess.DEVNULL, process_group=0)
    try:
        rig.port()
        assert f"(pid {by_hand.pid})" in rig.refusal()
        assert by_hand.poll() is None
    finally:
        os.killpg(by_hand.pid, signal.SIGKILL)
        by_hand.wait()
        subprocess.run(["rm", "-rf", short], check=True)
    assert (rig.profile / "SingletonLock").is_symlink()
    (rig.profile / "DevToolsActivePort").unlink()
    started = rig.up()
    assert re.fullmatch(rf".*-{started.pid}", str((rig.profile / "SingletonLock").readlink()))
    end(started)


def test_a_lock_from_another_host_does_not_keep_it_from_starting(rig: Rig) -> None:
    rig.profile.mkdir(parents=True)
    (rig.profile / "SingletonLock").symlink_to("container-made-anew-7")
    end(rig.up())


def test_nothing_is_left_when_the_parent_is_killed(rig: Rig) -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {START!r}], process_group=0)"
    parent = rig.up(code)
    until(lambda: len(rig.processes()) >= 4)
    end(parent)
    until(lambda: not rig.processes(), 5)


def test_the_temporary_directory_is_emptied_and_short_enough(rig: Rig) -> None:
    first = rig.up()
    launch = slots.read_launch(rig.data, "default")
    assert launch is not None
    tmp = Path(launch.tmp)
    assert len(str(tmp)) <= 62
    assert any(tmp.iterdir())
    end(first)
    second = rig.up()
    again = slots.read_launch(rig.data, "default")
    assert again is not None
    assert not tmp.exists() or len(list(Path(again.tmp).glob("org.chromium.*"))) == 1
    end(second)
    slots.sweep(rig.data, "default", CHROMIUM)
    subprocess.run(["rm", "-rf", again.tmp], check=True)


def test_a_clean_end_is_marked_and_keeps_the_incarnation(rig: Rig) -> None:
    started = rig.up()
    slot = rig.settings.slot("default")
    marker = incarnation.current(slot)
    started.terminate()
    started.wait(10)
    until(lambda: not rig.processes(), 5)
    assert incarnation.mark_clean(slot)
    end(rig.up())
    assert incarnation.current(slot) == marker
    assert "clean" not in json.loads((slot / incarnation.NAME).read_text())


def test_a_profile_with_which_chromium_never_starts_is_moved_aside(rig: Rig) -> None:
    rig.profile.mkdir(parents=True)
    with (rig.profile / "Local State").open("wb") as file:
        file.truncate(3 << 30)  # zeros, more than Chromium can read into memory: it crashes
    (rig.profile / "kept").write_text("as it was")
    for _ in range(profile_check.STARTS):
        assert rig.launch().wait(30) == -signal.SIGTRAP
    marker = incarnation.current(rig.settings.slot("default"))
    started = rig.up()
    (kept,) = profile_check.aside(rig.settings.slot("default"))
    assert (kept / "kept").read_text() == "as it was"
    assert (rig.profile / "Local State").stat().st_size < 1 << 20
    assert incarnation.current(rig.settings.slot("default")) != marker
    assert f"{kept}" in rig.log.read_text()
    assert profiles(rig.settings).level is Level.WARN
    end(started)


def test_a_good_profile_stays_however_often_its_chromium_was_killed_at_its_start(rig: Rig) -> None:
    end(rig.up())
    (rig.profile / "kept").write_text("a login")
    for _ in range(profile_check.STARTS):  # before a host has met its page, as by the watchdog or an operator
        started = rig.launch()
        until(lambda pid=started.pid: slots.executable_of(pid) == CHROMIUM)
        end(started)
    end(rig.up())
    assert "its profile is tried against an empty one" in rig.log.read_text()
    assert (rig.profile / "kept").read_text() == "a login"
    assert profile_check.aside(rig.settings.slot("default")) == []
