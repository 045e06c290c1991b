"""Every way out of a `recover` command closes the recovery that was opened with it: none stays `running` without a process behind it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time

import pytest

from gateway import beat
from gateway.beat import boot_time
from gateway.session import Evidence, State
from gateway.settings import Settings
from gateway.store import commands, recoveries, sessions
from gateway.store.database import open_database, transaction
from gateway.supervision import Program, ProgramState
from gateway.watchdog import rungs
from gateway.watchdog.judge import Rung
from gateway.watchdog.operator import Operator
from gateway.watchdog.records import Records
from gateway.watchdog.slot_watch import SlotWatch

LIMIT = 30


class Rig:
    """The watchdog's rows, its commands and one slot, without its loop: the test says when it looks."""

    def __init__(self, data):
        self.settings = Settings(data=data)
        self.settings.make_directories()
        self.db = open_database(self.settings.database)
        self.write(sessions.ensure, name="default", now=time.time())
        self.running: list[asyncio.Task] = []
        self.start()

    def start(self):
        """A watchdog that has just been started."""
        for task in self.running:
            task.cancel()
        self.records = Records(self.settings.database, self.settings.run, LIMIT)
        self.records.begin_anew()
        self.slot = SlotWatch(self.settings, "default", self.records, None)
        self.operator = Operator(None, self.records, lambda: {"default": self.slot})
        self.running = [asyncio.create_task(self.records.run())]

    def write(self, operation, **given):
        with transaction(self.db, boot_time() + 5):
            return operation(self.db, **given)

    def request(self, strategy="nudge", session="default", seconds=30.0):
        """What POST /api/recover-session writes; the recovery's id."""
        now = time.time()
        with transaction(self.db, boot_time() + 5):
            id_ = recoveries.open_(self.db, session=session, cause="requested", strategy=strategy, by="api", now=now)
            args = {"recovery": id_, "strategy": strategy}
            commands.ask(
                self.db, session=session, target="watchdog", kind="recover", args=args, now=now, deadline=now + seconds
            )
        return id_

    async def take(self):
        """One look of the operator's, and all it began."""
        await self.operator._look()
        await asyncio.gather(*self.operator._tasks)
        await self.written()

    async def written(self):
        """All that was noted so far is in the database."""
        await asyncio.sleep(0)  # a rung that was begun or ended notes its command
        await self.records.note(lambda conn: None)

    def look(self, state=ProgramState.RUNNING, at=None):
        pid = os.getpid() if state is ProgramState.RUNNING else None
        programs = {n: Program(n, state, pid, boot_time() - 100) for n in ("browser-default", "chromium-default")}
        self.slot.look(programs, at or boot_time())

    def recovery(self, id_):
        found = recoveries.get(self.db, id_)
        assert found is not None
        return found

    def open_commands(self):
        return [r["id"] for r in self.db.execute("SELECT id FROM command WHERE answered_at IS NULL")]


@pytest.fixture
async def rig(tmp_path):
    one = Rig(tmp_path)
    yield one
    for task in one.running:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    one.db.close()


def healthy(settings, heart):
    now = boot_time()
    heart.beat({"evidence": Evidence(
        session="default", state=State.READY, epoch=1, since=now - 90, connected=True, chromium_pid=os.getpid(), answered_at=now,
        canary=None, socket="CONNECTED", stream_mode="MAIN", stream_info="NORMAL", account="4900@c.us", synced_at=now - 80,
    ).as_dict()})  # fmt: skip


async def test_taken_too_late(rig):
    id_ = rig.request(seconds=-1)
    await rig.take()
    assert (rig.recovery(id_).status, rig.recovery(id_).detail) == ("failed", "not begun: the watchdog did not take it up in time")


async def test_refused_because_no_such_session_is_supervised(rig):
    rig.write(sessions.ensure, name="other", now=time.time())
    id_ = rig.request(session="other")
    await rig.take()
    assert rig.recovery(id_).status == "failed" and "other" in rig.recovery(id_).detail
    assert rig.open_commands() == []


async def test_refused_because_the_strategy_is_none(rig):
    id_ = rig.request(strategy="hammer")
    await rig.take()
    assert rig.recovery(id_).status == "failed" and "hammer" in rig.recovery(id_).detail


async def test_refused_because_another_one_waits_to_be_begun(rig):
    rig.slot.request("nudge", None)
    id_ = rig.request()
    await rig.take()
    assert rig.recovery(id_).status == "failed" and "same moment" in rig.recovery(id_).detail


async def test_the_session_is_stopped(rig):
    id_ = rig.request()
    await rig.take()
    assert rig.recovery(id_).status == "running"
    rig.look(ProgramState.STOPPED)
    await rig.written()
    assert (rig.recovery(id_).status, rig.recovery(id_).rungs) == ("failed", [])


async def test_the_session_is_stopped_while_the_rung_is_carried_out(rig):
    id_ = rig.request()
    await rig.take()
    rig.look()
    await rig.written()
    assert [rung.name for rung in rig.recovery(id_).rungs] == ["nudge"]
    rig.look(ProgramState.STOPPED)
    await rig.written()
    assert (rig.recovery(id_).status, rig.open_commands()) == ("failed", []), "nor is the host nudged when it is started again"


async def test_the_host_is_gone(rig):
    id_ = rig.request()
    await rig.take()
    rig.look()
    await rig.written()
    assert len(rig.open_commands()) == 1, "the host is asked"
    rig.look()
    await rig.written()
    assert (rig.recovery(id_).status, rig.recovery(id_).detail) == ("failed", "host_silent was found before nudge could work")
    assert rig.open_commands() == []


async def test_the_host_lives_and_does_not_carry_it_out(rig, monkeypatch):
    monkeypatch.setitem(rungs.OBEY, Rung.NUDGE, -0.9)
    heart = beat.Heart(rig.settings.beat("browser-default"))
    healthy(rig.settings, heart)
    id_ = rig.request()
    await rig.take()
    rig.look()
    await rig.slot._rungs._task
    rig.look()
    await rig.written()
    assert (rig.recovery(id_).status, rig.recovery(id_).detail) == ("failed", "the host did not carry it out")
    assert rig.open_commands() == []
    heart.close()


async def test_the_watchdog_is_restarted_while_the_host_is_asked(rig):
    id_ = rig.request()
    await rig.take()
    rig.look()
    await rig.written()
    rig.slot.close()
    rig.start()
    await rig.written()
    assert (rig.recovery(id_).status, rig.recovery(id_).detail) == ("interrupted", "the watchdog was restarted meanwhile")


async def test_the_watchdog_is_restarted_before_it_took_it(rig):
    id_ = rig.request()
    rig.start()
    await rig.written()
    assert rig.recovery(id_).status == "running", "it still waits, and is taken"
    await rig.take()
    rig.look()
    await rig.written()
    assert [rung.name for rung in rig.recovery(id_).rungs] == ["nudge"]


async def test_the_watchdog_is_restarted_between_taking_and_answering(rig):
    id_ = rig.request()
    rig.write(commands.take, target="watchdog", now=time.time())
    rig.start()
    await rig.written()
    assert rig.recovery(id_).status == "failed" and "restarted" in rig.recovery(id_).detail
    assert rig.open_commands() == []


async def test_another_recovery_is_running(rig):
    heart = beat.Heart(rig.settings.beat("browser-default"))
    healthy(rig.settings, heart)
    rig.slot.request("nudge", None)
    rig.look()
    await rig.written()
    own = recoveries.running(rig.db, "default")
    assert own is not None
    rig.write(recoveries.close, id=own.id, status="interrupted", detail="by a test", now=time.time())
    id_ = rig.request()
    await rig.take()
    rig.look()
    await rig.written()
    assert (rig.recovery(id_).status, rig.recovery(id_).detail) == ("failed", "another recovery was running")
    heart.close()


async def test_the_end_of_the_recovery_could_not_be_written(rig):
    id_ = rig.request()
    await rig.take()
    rig.look()
    await rig.written()
    fill = [rig.records.note(lambda conn: None) for _ in range(LIMIT)]
    rig.look(ProgramState.STOPPED)  # there is no room for its rows
    await asyncio.gather(*fill)
    assert rig.recovery(id_).status == "running"
    await rig.take()
    assert (rig.recovery(id_).status, rig.recovery(id_).detail) == ("interrupted", "no process was carrying it out")


async def test_a_recovery_under_way_is_not_closed_by_the_look_for_those_that_no_process_carries_out(rig):
    heart = beat.Heart(rig.settings.beat("browser-default"))
    healthy(rig.settings, heart)
    id_ = rig.request()
    await rig.take()
    rig.look()
    await rig.take()
    assert rig.recovery(id_).status == "running"
    rig.slot.request("nudge", None)
    heart.close()
