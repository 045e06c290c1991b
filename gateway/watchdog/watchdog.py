"""The watchdog's process: looks at beats four times a second, and lets supervisord restart what it kills.

A thin shell: what is wrong is judge.py's, what is done about it ladder.py's, how supervisord is
spoken to supervisor.py's. Its main loop waits for nothing: neither the database nor a rung.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from gateway import beat, process
from gateway.beat import Stalls, boot_time
from gateway.settings import Settings
from gateway.store.database import has_room_to_claim
from gateway.store.doorbell import Bell
from gateway.supervision import REAPED_AFTER, Fault, Program, ProgramState, Supervisor, Unreachable
from gateway.watchdog.exits import Exits
from gateway.watchdog.killer import Killer
from gateway.watchdog.operator import Operator
from gateway.watchdog.records import Records
from gateway.watchdog.slot_watch import SlotWatch

NAME = "watchdog"
#: Seconds between two looks at the beats.
LOOK = 0.25
#: Seconds between two questions for all programs' states, where no exit asks sooner; and while all of them run: then only a
#: new slot is learnt of in this way, and each question is a millisecond of ours and of supervisord's.
REFRESH, REFRESH_AT_REST = 1.0, 5.0
#: Seconds that the API has from its start to its first beat; twice as long after each that never beat, as a machine too slow
#: for that would else kill it for ever.
API_START, API_START_MAX = 5.0, 60.0
#: After a gap of this many seconds in our own looks (stopped, a suspended machine) all others look silent, and are not:
#: nothing is judged for a beat's age and some.
GAP, GRACE = 2.0, beat.SILENT + 1.0
#: After a longer one all deadlines begin anew, too. Not after each: a machine so loaded that we are often late must not keep
#: the ladder from climbing.
LONG_GAP = beat.SILENT
#: Starts out of FATAL: first wait in seconds, the largest, and the seconds that a program has to run to be trusted again.
FATAL_WAIT, FATAL_WAIT_MAX, TRUSTED = 5.0, 300.0, 60.0

log = structlog.get_logger()


def main(settings: Settings) -> int:
    """Run the watchdog until it is told to stop. Returns an exit status."""
    process.start(settings, NAME)
    asyncio.run(process.run_until_stopped(lambda stop: Watchdog(settings).run(stop)))
    return 0


class Watchdog:
    """One a gateway. run() it once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._supervisor = Supervisor(settings.supervisor_socket)
        self._records = Records(settings.database, settings.run)
        self._killer = Killer(settings, self._supervisor)
        self._slots: dict[str, SlotWatch] = {}
        self._exits = Exits(self._ended)
        self._api_beat = settings.beat("api")
        self._programs: dict[str, Program] = {}
        self._refreshed_at = 0.0
        self._refreshing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._api_kill: asyncio.Task[Any] | None = None
        self._api_start = API_START
        self._stop = asyncio.Event()
        self._stalls, self._long_stalls = Stalls(GAP), Stalls(LONG_GAP)
        self._fatal: dict[str, tuple[float, float]] = {}  # name → (start at, next wait)

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop`."""
        self._stop = stop
        self._records.begin_anew()
        operator = Operator(self._supervisor, self._records, lambda: self._slots)
        bell = Bell(self._settings.run, NAME, self._settings.doorbells)
        try:
            self._spawn(self._records.run())
            self._spawn(process.keep_beating(self._settings.beat(NAME), self._facts))
            self._spawn(operator.run(bell))
            while not stop.is_set():
                self._look(boot_time())
                await asyncio.sleep(LOOK)  # told to stop, it ends a quarter of a second later: that is soon enough
        finally:
            for slot in self._slots.values():
                slot.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._exits.close()
            bell.close()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("A task of the watchdog failed", reason=f"{type(error).__name__}: {error}", exc_info=error)

    def _facts(self) -> dict[str, Any]:
        """For our beat: sessions with something to say, few enough for its page."""
        busy = {name: said for name, slot in self._slots.items() if "rung" in (said := slot.facts_for_beat()) or said["failures"]}
        return {"sessions": dict(list(busy.items())[:8])}

    # -- the look
    def _look(self, now: float) -> None:
        self._stalls.look(now)
        self._long_stalls.look(now)
        at_rest = bool(self._programs) and all(program.state is ProgramState.RUNNING for program in self._programs.values())
        due = now - self._refreshed_at >= (REFRESH_AT_REST if at_rest else REFRESH)
        if due and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = self._spawn(self._refresh())
        if now - self._stalls.woke_at < GRACE:
            return
        for slot in self._slots.values():
            slot.look(self._programs, now, self._long_stalls.woke_at)
        self._look_at_api(now)
        self._look_at_fatal(now)

    async def _refresh(self) -> None:
        """Ask for all programs; follow their processes; take up new slots."""
        try:
            programs = await self._supervisor.programs()
        except (Unreachable, Fault) as error:
            log.warning("supervisord does not answer", reason=str(error))
            self._refreshed_at = boot_time()
            return
        self._programs = self._killer.programs = programs
        self._refreshed_at = boot_time()
        self._exits.follow(programs.values())
        for name in programs:
            if name.startswith("chromium-") and (session := name.removeprefix("chromium-")) not in self._slots:
                self._slots[session] = SlotWatch(self._settings, session, self._records, self._killer)

    def _ended(self, program: Program) -> None:
        if self._stop.is_set():
            return  # everything stops at once
        self._spawn(self._after_end(program))

    async def _after_end(self, program: Program) -> None:
        """A supervised process ended: learn whether that was wanted, have supervisord restart it now, follow its successor."""
        name, pid = program.name, program.pid
        try:
            wanted = (await self._supervisor.program(name)).wanted_down or self._killer.has_killed(program)
            await asyncio.sleep(REAPED_AFTER)
            await self._supervisor.poke()
            for pause in (0.0, 0.02, 0.1, 0.3):
                await asyncio.sleep(pause)
                await self._refresh()
                after = self._programs.get(name)
                if after is None or (after.pid is not None and after.pid != pid) or after.state is ProgramState.BACKOFF:
                    break
        except (Unreachable, Fault) as error:
            log.warning("supervisord does not answer", reason=str(error))
            return
        if wanted or (after is not None and after.wanted_down):
            return
        log.warning("A process ended", process=name, pid=pid, successor=after.pid if after else None)
        for slot in self._slots.values():
            if name in (slot.host, slot.chromium):
                slot.ended(name)

    def _look_at_api(self, now: float) -> None:
        """Kill an API that has not beaten for five seconds; its start deadline is respected, and grows."""
        api = self._programs.get("api")
        if api is None or api.pid is None or api.since is None or api.wanted_down:
            return
        if now - max(api.since, self._long_stalls.woke_at) < self._api_start:
            return
        if self._api_kill is not None and not self._api_kill.done():
            return
        found = beat.read(self._api_beat)
        if found is None and not has_room_to_claim(self._settings.data):
            return  # it waits for the room that its beat file needs
        if found is None or found.pid != api.pid or found.age(now) > beat.SILENT:
            log.error("The API is silent", pid=api.pid, alert=True)
            if found is None or found.pid != api.pid:
                self._api_start = min(2 * self._api_start, API_START_MAX)
            self._api_kill = self._spawn(self._kill_api(api))
        elif now - api.since > TRUSTED:
            self._api_start = API_START

    async def _kill_api(self, api: Program) -> None:
        try:
            await self._killer.kill(api)
        except (Unreachable, Fault, TimeoutError) as error:
            log.error("The API could not be killed", reason=str(error))
        await self._refresh()

    def _look_at_fatal(self, now: float) -> None:
        """Start what supervisord has given up, with a back-off of our own. What is STOPPED is the operator's will."""
        for name, program in self._programs.items():
            if program.state is ProgramState.FATAL:
                at, wait = self._fatal.setdefault(name, (now + FATAL_WAIT, FATAL_WAIT))
                if now >= at:
                    wait = min(2 * wait, FATAL_WAIT_MAX)
                    self._fatal[name] = (now + wait, wait)
                    self._spawn(self._start(name))
            elif name in self._fatal and program.since is not None and now - program.since > TRUSTED:
                del self._fatal[name]

    async def _start(self, name: str) -> None:
        log.warning("Starting a program that supervisord gave up", process=name)
        try:
            await self._supervisor.start(name)
            await self._refresh()
        except (Unreachable, Fault) as error:
            log.warning("A program could not be started", process=name, reason=str(error))
