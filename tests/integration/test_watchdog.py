"""The watchdog with real processes: a real supervisord, and programs that beat as the host and the API do.

Chromium and the page have their own tests; here it is who is killed, when, and what is written down.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from gateway import beat, slot
from gateway.beat import boot_time
from gateway.settings import Settings
from gateway.slot import MARK, mark
from gateway.store import commands, recoveries, sessions
from gateway.store.database import begin, open_database, transaction
from gateway.store.recoveries import Recovery
from gateway.supervision import Program, ProgramState, Supervisor, Unreachable

ROOT = Path(__file__).parents[2]
#: Beats healthy evidence for as long as Chromium's pid is what supervisord's record says; `mute` stops the round trips, `hold` makes it
#: take the write lock and stop still.
HOST = """\
import os, signal, sqlite3, sys, time
from pathlib import Path
from gateway.beat import Heart, boot_time
from gateway.session import Evidence, State
here = Path(sys.argv[1])
heart, began = Heart(here / "run/browser-default.beat"), boot_time()
since = answered = began
while True:
    now = boot_time()
    pid = int((here / "chromium.pid").read_text() or 0)
    mute = (here / "mute").exists() and (here / "mute").read_text() == str(pid)
    answered = answered if mute else now
    heart.beat({"evidence": Evidence(
        session="default", state=State.READY, epoch=1, since=since, connected=True, chromium_pid=pid,
        answered_at=answered, missed=0 if not mute else int((now - answered) // 2), canary=None, socket="CONNECTED",
        stream_mode="MAIN", stream_info="NORMAL", account="1@c.us", expected_account="1@c.us").as_dict()})
    if (here / "hold").exists() and (here / "hold").read_text() == str(os.getpid()):
        db = sqlite3.connect(here / "gateway.db", isolation_level=None, timeout=5)
        db.execute("BEGIN IMMEDIATE")
        os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0.2)
"""
API = """\
import sys, time
from pathlib import Path
from gateway.beat import Heart
heart = Heart(Path(sys.argv[1]) / "run/api.beat")
while True:
    heart.beat()
    time.sleep(0.2)
"""
WATCHDOG = "import sys; from gateway.settings import load; from gateway.watchdog.watchdog import main; sys.exit(main(load()))"
CONF = """\
[supervisord]
nodaemon=true
logfile={here}/supervisord.log
pidfile={here}/supervisord.pid
environment=GATEWAY_DATA="{here}",GATEWAY_HEALTH_INTERVAL="0.5",PYTHONPATH="{root}"
[unix_http_server]
file={here}/run/supervisor.sock
chmod=0700
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:chromium-default]
command=sh -c 'printf $$ > {here}/chromium.pid; exec sleep 1000'
startsecs=1
startretries=1000000
[program:browser-default]
command={python} {here}/host.py {here}
startsecs=1
startretries=1000000
redirect_stderr=true
stdout_logfile={here}/host.log
[program:api]
command={python} {here}/api.py {here}
startsecs=1
[program:watchdog]
command={python} {here}/watchdog.py
startsecs=1
redirect_stderr=true
stdout_logfile={here}/watchdog.log
"""


class Rig:
    """A gateway made of the real watchdog, the real supervisord, and programs that only beat."""

    def __init__(self, here: Path, conf: str = CONF) -> None:
        self.here = here
        self.earlier = 0
        self.settings = Settings(data=here)
        self.settings.make_directories()
        for name, text in (("host", HOST), ("api", API), ("watchdog", WATCHDOG)):
            (here / f"{name}.py").write_text(text)
        (here / "chromium.pid").write_text("")
        (here / "conf").write_text(conf.format(here=here, python=sys.executable, root=ROOT))
        self.supervisor = Supervisor(self.settings.supervisor_socket)
        self.db = open_database(self.settings.database)
        with self.transaction():
            sessions.ensure(self.db, name="default", now=time.time())

    def transaction(self):  # type: ignore[no-untyped-def]
        return transaction(self.db, boot_time() + 5)

    @property
    def log(self) -> str:
        file = self.here / "watchdog.log"
        return file.read_text() if file.exists() else ""

    def recoveries(self) -> list[Recovery]:
        """This test's, youngest first."""
        return [row for row in recoveries.list_(self.db) if row.id > self.earlier]

    async def pid(self, name: str) -> int:
        """Pid of a running program."""
        program = await self.running(name)
        assert program is not None
        assert program.pid is not None
        return program.pid

    async def running(self, name: str) -> Program | None:
        try:
            program = await self.supervisor.program(name)
        except Unreachable:
            return None
        return program if program.state is ProgramState.RUNNING else None

    async def until(self, condition: Callable[[], object], seconds: float = 20.0) -> None:
        """Wait for a condition (a plain or an async function); a failure shows the watchdog's log."""
        end = time.monotonic() + seconds
        while True:
            result = condition()
            if isinstance(result, Awaitable):
                result = await result
            if result:
                return
            assert time.monotonic() < end, self.log[-4000:]
            await asyncio.sleep(0.02)

    async def successor(self, name: str, old: int, seconds: float = 20.0) -> None:
        async def changed() -> bool:
            program = await self.running(name)
            return program is not None and program.pid != old

        await self.until(changed, seconds)

    def ask_for_recovery(self, strategy: str | None, seconds: float = 30.0) -> int:
        """What POST /api/recover-session writes; the recovery's id."""
        now = time.time()
        with self.transaction():
            id = recoveries.open_(self.db, session="default", cause="requested", strategy=strategy, by="api", now=now)
            args = {"recovery": id, "strategy": strategy}
            commands.ask(self.db, session="default", target="watchdog", kind="recover", args=args, now=now, deadline=now + seconds)
        return id

    def rungs(self, id: int) -> list[str]:
        """The rungs of a recovery, as written down by now."""
        row = recoveries.get(self.db, id)
        assert row is not None
        return [rung.name for rung in row.rungs]

    def last(self, status: str) -> Recovery | None:
        found = self.recoveries()
        return found[0] if found and found[0].status == status else None


@contextlib.contextmanager
def supervised(conf: str = CONF) -> Iterator[Rig]:
    with tempfile.TemporaryDirectory() as directory:  # a short path: a unix socket's name holds 107 bytes
        one = Rig(Path(directory), conf)
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(one.here / "conf")]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0)
        try:
            yield one
        finally:
            process.terminate()
            process.wait(30)
            one.db.close()


@pytest.fixture(scope="module")
def gateway() -> Iterator[Rig]:
    with supervised() as one:
        yield one


@pytest.fixture
async def rig(gateway: Rig) -> Rig:
    return await settled(gateway)


async def settled(gateway: Rig) -> Rig:
    """All programs up, the session healthy, and no recoveries but this test's own."""
    for name in ("chromium-default", "browser-default", "api", "watchdog"):
        await gateway.until(lambda name=name: gateway.running(name))  # type: ignore[misc]
    seen = gateway.log.count("Session health check passed")
    await gateway.until(lambda: gateway.log.count("Session health check passed") > seen)
    await gateway.until(lambda: recoveries.running(gateway.db, "default") is None)
    earlier = recoveries.list_(gateway.db, limit=1)
    gateway.earlier = earlier[0].id if earlier else 0
    return gateway


async def test_a_frozen_host_is_killed_and_the_recovery_is_written(rig: Rig) -> None:
    old, chromium = await rig.pid("browser-default"), await rig.pid("chromium-default")
    os.kill(old, signal.SIGSTOP)
    await rig.successor("browser-default", old)
    await rig.until(lambda: rig.last("succeeded"))
    row = rig.recoveries()[0]
    assert (row.cause, [rung.name for rung in row.rungs], row.by) == ("host_silent", ["respawn_host"], "watchdog")
    assert await rig.pid("chromium-default") == chromium
    lines = rig.log
    for line in (
        "Session health check failed, attempting to recover",
        "Starting session recovery...",
        "Session recovery completed successfully",
    ):
        assert line in lines


async def test_a_page_that_answers_no_more_has_its_chromium_relaunched(rig: Rig) -> None:
    old, host = await rig.pid("chromium-default"), await rig.pid("browser-default")
    (rig.here / "mute").write_text(str(old))
    await rig.successor("chromium-default", old)
    await rig.until(lambda: rig.last("succeeded"))
    row = rig.recoveries()[0]
    assert (row.cause, [rung.name for rung in row.rungs]) == ("page_unresponsive", ["relaunch_chromium"])
    assert await rig.pid("browser-default") == host


async def test_a_death_is_noticed_at_once_and_written_down(rig: Rig) -> None:
    old = await rig.pid("chromium-default")
    at = time.monotonic()
    os.kill(old, signal.SIGKILL)

    async def again() -> bool:
        pid = (await rig.supervisor.program("chromium-default")).pid
        return pid not in (None, old)

    await rig.until(again)
    assert time.monotonic() - at < 0.8
    await rig.until(lambda: rig.last("succeeded"))
    assert rig.recoveries()[0].cause == "chromium_exited"


async def test_what_the_operator_stops_stays_stopped(rig: Rig) -> None:
    await rig.supervisor.stop("browser-default")

    async def stopped() -> bool:
        return (await rig.supervisor.program("browser-default")).state is ProgramState.STOPPED

    await rig.until(stopped)
    await rig.until(lambda: (row := sessions.get(rig.db, "default")) is not None and row.state.value == "stopped")
    chromium = await rig.pid("chromium-default")
    os.kill(chromium, signal.SIGKILL)
    await rig.successor("chromium-default", chromium)
    assert await stopped()
    assert rig.recoveries() == []
    await rig.supervisor.start("browser-default")
    await rig.until(lambda: rig.running("browser-default"))


async def test_what_a_stopped_chromium_left_is_swept(rig: Rig) -> None:
    left = subprocess.Popen(["sleep", "1000"], env={**os.environ, MARK: mark(rig.here, "default")}, process_group=0)
    os.kill(left.pid, signal.SIGSTOP)
    executable = slot.executable_of(left.pid)
    slot.write_launch(rig.here, "default", slot.Launch(0, 0, beat.boot_id(), str(executable)))
    await rig.supervisor.stop("chromium-default")
    await rig.until(lambda: left.poll() is not None)
    assert (await rig.supervisor.program("chromium-default")).state is ProgramState.STOPPED
    slot.launch_path(rig.here, "default").unlink()
    await rig.supervisor.start("chromium-default")
    assert rig.recoveries() == []


async def test_a_locked_database_delays_the_row_and_not_the_kill(rig: Rig) -> None:
    old = await rig.pid("browser-default")
    begin(rig.db, boot_time() + 5)  # the watchdog itself may be writing at this moment
    os.kill(old, signal.SIGSTOP)
    await rig.successor("browser-default", old)
    assert rig.recoveries() == []
    rig.db.execute("ROLLBACK")
    await rig.until(lambda: rig.last("succeeded"))
    assert [rung.name for rung in rig.recoveries()[0].rungs] == ["respawn_host"]


async def test_a_silent_api_is_killed(rig: Rig) -> None:
    old = await rig.pid("api")
    os.kill(old, signal.SIGSTOP)
    await rig.successor("api", old)
    assert rig.recoveries() == []


async def test_a_stopped_holder_of_the_write_lock_dies_first(rig: Rig) -> None:
    """The API holds the lock and is stopped: it goes; nobody else does."""
    code = (
        "import sqlite3, sys, time; from gateway.beat import Heart; from pathlib import Path; here = Path(sys.argv[1])\n"
        "db = sqlite3.connect(here / 'gateway.db', isolation_level=None, timeout=5)\nh = Heart(here / 'run/api.beat')\n"
        "first = not (here / 'held').exists()\n"
        "if first: db.execute('BEGIN IMMEDIATE'); (here / 'held').touch()\n"
        "while True: h.beat(); time.sleep(0.2)\n"
    )
    (rig.here / "api.py").write_text(code)
    await rig.supervisor.kill("api", await rig.pid("api"))
    await rig.until(lambda: (rig.here / "held").exists())
    await rig.until(lambda: rig.running("api"))
    holder, host = await rig.pid("api"), await rig.pid("browser-default")
    os.kill(holder, signal.SIGSTOP)
    await rig.successor("api", holder)
    assert await rig.pid("browser-default") == host
    with rig.transaction():
        pass


async def test_an_api_on_a_machine_too_slow_for_its_start_deadline_comes_up(rig: Rig) -> None:
    try:
        (rig.here / "api.py").write_text(f"import time; time.sleep(7)\n{API}")
        await rig.supervisor.kill("api", await rig.pid("api"))

        async def beats() -> bool:
            program, found = await rig.running("api"), beat.read(rig.settings.beat("api"))
            return program is not None and found is not None and found.pid == program.pid

        await rig.until(beats, 40)
    finally:
        (rig.here / "api.py").write_text(API)
        await rig.supervisor.kill("api", await rig.pid("api"))


async def test_the_api_asks_for_a_recovery(rig: Rig) -> None:
    old = await rig.pid("browser-default")
    id = rig.ask_for_recovery("respawn_host")
    await rig.successor("browser-default", old)
    await rig.until(lambda: rig.last("succeeded"))
    assert rig.rungs(id) == ["respawn_host"]
    assert len(rig.recoveries()) == 1


async def test_a_host_that_stops_in_a_transaction_while_it_is_nudged_is_killed(rig: Rig) -> None:
    old = await rig.pid("browser-default")
    id = rig.ask_for_recovery(None)
    await rig.until(lambda: commands.asked(rig.db, target="browser", session="default"))  # this host obeys no command
    began = time.monotonic()
    (rig.here / "hold").write_text(str(old))
    await rig.successor("browser-default", old)
    assert time.monotonic() - began < 9.0, "a silent host is silent for 5 s"
    await rig.until(lambda: rig.last("succeeded"))
    assert rig.rungs(id) == ["nudge", "respawn_host"]
    assert not commands.asked(rig.db, target="browser", session="default"), "the nudge was taken back"


async def test_a_frozen_page_is_not_left_alone_while_a_stranger_holds_the_lock_and_a_nudge_waits(rig: Rig) -> None:
    old, host = await rig.pid("chromium-default"), await rig.pid("browser-default")
    id = rig.ask_for_recovery(None)
    await rig.until(lambda: commands.asked(rig.db, target="browser", session="default"))
    begin(rig.db, boot_time() + 5)
    began = time.monotonic()
    (rig.here / "mute").write_text(str(old))
    await rig.successor("chromium-default", old)
    assert time.monotonic() - began < 8.0, "two round trips are missed after 4 s"
    rig.db.execute("ROLLBACK")
    await rig.until(lambda: rig.last("succeeded"))
    assert rig.rungs(id) == ["nudge", "relaunch_chromium"]
    assert await rig.pid("browser-default") == host


async def test_the_api_stops_and_starts_a_session(rig: Rig) -> None:
    async def do(kind: str) -> None:
        now = time.time()
        with rig.transaction():
            desired = "stopped" if kind == "stop" else "started"
            sessions.set_desired(rig.db, "default", desired, now)
            id = commands.ask(rig.db, session="default", target="watchdog", kind=kind, args={}, now=now, deadline=now + 30)
        await rig.until(lambda: (row := commands.get(rig.db, id)) is not None and row.answered_at is not None)
        row = commands.get(rig.db, id)
        assert row is not None
        assert row.error is None

    await do("stop")
    for name in ("browser-default", "chromium-default"):
        assert (await rig.supervisor.program(name)).state is ProgramState.STOPPED
    await do("start")
    for name in ("browser-default", "chromium-default"):
        await rig.until(lambda name=name: rig.running(name))
    old = await rig.pid("chromium-default")
    await do("restart")
    await rig.successor("chromium-default", old)
    assert rig.recoveries() == []


async def test_a_recovery_that_the_last_watchdog_left_open_is_interrupted(rig: Rig) -> None:
    with rig.transaction():
        recoveries.open_(rig.db, session="default", cause="host_silent", strategy=None, by="watchdog", now=time.time())
    old = await rig.pid("watchdog")
    os.kill(old, signal.SIGKILL)
    await rig.until(lambda: rig.last("interrupted"))


async def test_a_watchdog_that_was_stopped_kills_nobody_when_it_wakes(rig: Rig) -> None:
    watchdog, host = await rig.pid("watchdog"), await rig.pid("browser-default")
    os.kill(watchdog, signal.SIGSTOP)
    os.kill(host, signal.SIGSTOP)  # as a suspended machine: all beats are old
    await rig.until(lambda: (last := beat.read(rig.settings.beat("browser-default"))) is not None and last.age() > beat.SILENT + 0.5)
    os.kill(host, signal.SIGCONT)
    os.kill(watchdog, signal.SIGCONT)
    seen = rig.log.count("Session health check")
    await rig.until(lambda: rig.log.count("Session health check") > seen + 1)
    assert await rig.pid("browser-default") == host
    assert rig.recoveries() == []


#: A Chromium that cannot start while the file `broken` is there, and that supervisord gives up at the first failure.
GIVEN_UP = CONF.replace("sh -c 'printf", "sh -c 'test -e {here}/broken && exit 1; printf")
GIVEN_UP = GIVEN_UP.replace("startretries=1000000", "startretries=0", 1)
STARTED = "Starting a program that supervisord gave up"


async def test_a_chromium_that_supervisord_gave_up_is_started_again_and_again_until_it_can() -> None:
    with supervised(GIVEN_UP) as own:
        rig = await settled(own)
        old = await rig.pid("chromium-default")

        async def given_up() -> bool:
            return (await rig.supervisor.program("chromium-default")).state is ProgramState.FATAL

        (rig.here / "broken").touch()
        (rig.here / "mute").write_text(str(old))  # no page answers until another Chromium is there
        os.kill(old, signal.SIGKILL)
        await rig.until(given_up)
        await rig.until(lambda: STARTED in rig.log)
        await rig.until(given_up)
        assert rig.recoveries()[0].status == "running", "not healed, and not given up"
        (rig.here / "broken").unlink()
        await rig.successor("chromium-default", old, 40.0)
        await rig.until(lambda: rig.last("succeeded"))
        (row,) = rig.recoveries()
        assert row.cause in ("chromium_exited", "chromium_keeps_ending"), "whichever is seen first"
