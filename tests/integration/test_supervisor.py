"""supervisord for real, with tiny programs: exits noticed at once, the surest kill, the operator's will."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path

import pytest

from gateway.beat import boot_time
from gateway.slot import started_at
from gateway.supervision import REAPED_AFTER, Fault, Program, ProgramState, Supervisor, Unreachable
from gateway.watchdog.exits import Exits

CONF = """\
[supervisord]
nodaemon=true
logfile={here}/supervisord.log
pidfile={here}/supervisord.pid
[unix_http_server]
file={here}/s.sock
chmod=0700
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[rpcinterface:gateway]
supervisor.rpcinterface_factory = gateway.supervisord_extension:make
[program:sleeper]
command=sh -c 'echo $$ >> {here}/starts; sleep 1000 & sleep 1000'
autorestart=true
startsecs=1
stopasgroup=true
stopwaitsecs=1
[program:idle]
command=sleep 1000
autostart=false
startsecs=0
[program:broken]
command=sh -c "sleep 0.2; exit 1"
autostart=false
startsecs=1
startretries=0
[program:failing]
command=sh -c "sleep 0.2; exit 1"
autostart=false
startsecs=1
startretries=1000
[program:deaf]
command=sh -c "trap '' TERM; while true; do sleep 1; done"
priority=1
autostart=false
stopwaitsecs=1
killasgroup=true
[program:deaf_too]
command=sh -c "trap '' TERM; while true; do sleep 1; done"
priority=2
autostart=false
stopwaitsecs=1
killasgroup=true
"""


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 10.0) -> None:
    """Wait for a condition; asked each 10 ms."""
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, "not within the deadline"
        await asyncio.sleep(0.01)


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    with tempfile.TemporaryDirectory() as directory:  # a short path: a unix socket's name holds 107 bytes
        here = Path(directory)
        (here / "conf").write_text(CONF.format(here=here))
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(here / "conf")]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0)
        client = Supervisor(here / "s.sock")
        client.here, client.process = here, process  # type: ignore[attr-defined]
        try:
            await until(lambda: running(client, "sleeper"))
            yield client
        finally:
            process.terminate()
            process.wait(20)


async def running(client: Supervisor, name: str) -> Program | None:
    """The program, once it is RUNNING."""
    try:
        program = await client.program(name)
    except (Unreachable, Fault):  # it starts, or reloads
        return None
    return program if program.state is ProgramState.RUNNING else None


async def test_a_program_is_known_with_its_pid_and_its_start(supervisor: Supervisor) -> None:
    program = await supervisor.program("sleeper")
    assert program.pid is not None
    assert started_at(program.pid) is not None
    assert program.since is not None
    assert 0 < boot_time() - program.since < 30
    assert set(await supervisor.programs()) == {"sleeper", "idle", "broken", "failing", "deaf", "deaf_too"}
    with pytest.raises(Fault):
        await supervisor.program("nobody")


async def test_an_exit_is_noticed_and_the_restart_hurried(supervisor: Supervisor) -> None:
    """supervisord alone takes one to two seconds; with a pidfd and a poke the successor is there within some 10 ms."""
    program = await supervisor.program("sleeper")
    assert program.pid is not None
    ended: asyncio.Queue[tuple[str, int | None]] = asyncio.Queue()
    exits = Exits(lambda of: ended.put_nowait((of.name, of.pid)))
    exits.follow([program])
    killed_at = time.monotonic()
    os.killpg(program.pid, signal.SIGKILL)
    async with asyncio.timeout(1):
        assert await ended.get() == ("sleeper", program.pid)
    await asyncio.sleep(REAPED_AFTER)
    await supervisor.poke()

    async def successor() -> bool:
        pid = (await supervisor.program("sleeper")).pid
        return pid not in (None, program.pid)

    await until(successor)
    assert time.monotonic() - killed_at < 0.5
    exits.close()


async def test_the_kill_takes_a_stopped_program_with_its_whole_group(supervisor: Supervisor) -> None:
    program = await supervisor.program("sleeper")
    assert program.pid is not None
    group = [int(p) for p in subprocess.run(["pgrep", "-g", str(program.pid)], capture_output=True, text=True, check=True).stdout.split()]
    assert len(group) == 3
    for pid in group:
        os.kill(pid, signal.SIGSTOP)
    at = time.monotonic()
    assert await supervisor.kill("sleeper", program.pid)

    async def again() -> bool:
        pid = (await supervisor.program("sleeper")).pid
        return pid not in (None, program.pid)

    await until(again)
    assert time.monotonic() - at < 0.5

    async def gone() -> bool:
        return all(started_at(pid) is None for pid in group)

    await until(gone)


async def test_a_successor_is_innocent(supervisor: Supervisor) -> None:
    first = await supervisor.program("sleeper")
    assert first.pid is not None
    assert await supervisor.kill("sleeper", first.pid)
    await until(lambda: running(supervisor, "sleeper"))
    second = await supervisor.program("sleeper")
    assert not await supervisor.kill("sleeper", first.pid)
    assert (await supervisor.program("sleeper")).pid == second.pid


async def test_stop_is_respected(supervisor: Supervisor) -> None:
    await supervisor.stop("sleeper")

    async def stopped() -> bool:
        return (await supervisor.program("sleeper")).state is ProgramState.STOPPED

    await until(stopped)
    await supervisor.poke()
    program = await supervisor.program("sleeper")
    assert program.wanted_down
    assert program.pid is None
    await supervisor.start("sleeper")
    await until(lambda: running(supervisor, "sleeper"))


async def test_start_works_from_fatal_and_from_backoff(supervisor: Supervisor) -> None:
    for name, state in (("broken", ProgramState.FATAL), ("failing", ProgramState.BACKOFF)):
        await supervisor.start(name)

        async def reached(name: str = name, state: ProgramState = state) -> bool:
            return (await supervisor.program(name)).state is state

        await until(reached)
        await supervisor.start(name)  # raises where supervisord refuses


async def test_programs_start_at_once_and_a_successor_too_with_nobody_to_poke(supervisor: Supervisor) -> None:
    """supervisord alone takes up to a second for the first, and one to two for the second."""
    log = supervisor.here / "supervisord.log"  # type: ignore[attr-defined]
    times = {word: _time(log, word) for word in ("supervisord started", "spawned: 'sleeper'")}
    assert max(times.values()) - min(times.values()) < 0.3, times
    program = await supervisor.program("sleeper")
    assert program.pid is not None
    os.killpg(program.pid, signal.SIGKILL)
    starts = supervisor.here / "starts"  # type: ignore[attr-defined]
    at = time.monotonic()

    async def successor() -> bool:
        return len(starts.read_text().split()) == 2

    await until(successor)
    assert time.monotonic() - at < 0.5


async def test_all_programs_are_stopped_side_by_side(supervisor: Supervisor) -> None:
    """Two that have to be killed after 1 s each are gone together; supervisord alone takes 4 to 6 s for them."""
    for name in ("deaf", "deaf_too"):
        await supervisor.start(name)
        await until(lambda name=name: running(supervisor, name))
    pids = [program.pid for program in (await supervisor.programs()).values() if program.pid]
    assert len(pids) == 3
    assert not await supervisor.shutting_down()
    at = time.monotonic()
    os.kill(supervisor.process.pid, signal.SIGTERM)  # type: ignore[attr-defined]

    async def said() -> bool:
        try:
            return await supervisor.shutting_down()
        except Unreachable:
            return False

    await until(said)
    await asyncio.to_thread(supervisor.process.wait, 10)  # type: ignore[attr-defined]
    assert time.monotonic() - at < 2.6
    assert all(started_at(pid) is None for pid in pids)


async def test_after_a_reload_it_works_as_before(supervisor: Supervisor) -> None:
    before = await supervisor.program("sleeper")
    os.kill(supervisor.process.pid, signal.SIGHUP)  # type: ignore[attr-defined]

    async def again() -> bool:
        program = await running(supervisor, "sleeper")
        return program is not None and program.pid != before.pid

    await until(again)
    await test_all_programs_are_stopped_side_by_side(supervisor)


def _time(log: Path, word: str) -> float:
    """Of the first line of supervisord's log with that word."""
    line = next(line for line in log.read_text().splitlines() if word in line)
    return datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f").timestamp()


async def test_a_silent_supervisord_costs_a_deadline_and_no_more(supervisor: Supervisor) -> None:
    pid = int((supervisor.here / "supervisord.pid").read_text())  # type: ignore[attr-defined]
    impatient = Supervisor(supervisor.here / "s.sock", deadline=0.2)  # type: ignore[attr-defined]
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(Unreachable):
            await impatient.poke()
    finally:
        os.kill(pid, signal.SIGCONT)
    await supervisor.poke()
    with pytest.raises(Unreachable):
        await Supervisor(supervisor.here / "none").poke()  # type: ignore[attr-defined]
