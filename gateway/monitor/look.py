"""One look at the gateway: from its API, or, while that does not answer, from what its processes leave on this machine."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

from gateway import vitals
from gateway.beat import boot_time
from gateway.client import Client, Refused, Unreachable
from gateway.monitor.hints import hint_by
from gateway.monitor.snapshot import Snapshot
from gateway.session import complaints
from gateway.settings import Settings
from gateway.supervision import Fault, Program, ProgramState, Supervisor
from gateway.supervision import Unreachable as NoSupervisor
from gateway.vitals import Vitals, evidence_of

#: Seconds that one call may take: a stopped API must not stop the monitor.
DEADLINE = 3.0
#: How many there are to show at most.
RECOVERIES, EVENTS = 5, 20
#: Events that tell an operator something. What goes as it should the queue's counts tell; at a hundred a second it would drown the rest.
KINDS = "session,recovery,message.failed,message.unconfirmed,message.nacked,message.held"
#: How far back in the log the first look goes; and how many lines the API gives at once.
_BACK = 1000


class Looker:
    """look() as often as you like. It remembers what the API said last, for the time that it says nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._client = settings, Client.of(settings)
        self._last: Snapshot | None = None
        self._cursor: int | None = None
        self._events: deque[dict[str, Any]] = deque(maxlen=EVENTS)

    def look(self) -> Snapshot:
        """How it goes now. Raises nothing: what cannot be asked is said in the snapshot."""
        now = time.time()
        try:
            self._last = self._ask(now)
            return self._last
        except (Refused, Unreachable) as error:
            health, hint = self._without_api()
            last = self._last
            return Snapshot(
                now, self._client.base, health, f"{error}{hint}",
                last.queue if last else None, last.recoveries if last else [], last.events if last else [], last.known_at if last else None,
            )  # fmt: skip

    def _ask(self, now: float) -> Snapshot:
        def get(path: str) -> Any:
            return self._client.get(path, timeout=DEADLINE)

        health = self._client.health(DEADLINE)
        try:
            queue, recoveries = get("/api/queue-status"), get(f"/api/recoveries?limit={RECOVERIES}")["recoveries"]
            if self._cursor is None:
                self._cursor = max(0, get("/api/events?wait=0&limit=1")["cursor"] - _BACK)
            news = get(f"/api/events?wait=0&limit={_BACK}&kinds={KINDS}&after={self._cursor}")
            self._cursor = news["cursor"]
            self._events += news["events"]
        except Refused:  # it answers, and its database does not: health is no less true
            last = self._last
            if last is None:
                return Snapshot(now, self._client.base, health)
            return Snapshot(now, self._client.base, health, None, last.queue, last.recoveries, last.events, last.known_at)
        return Snapshot(now, self._client.base, health, None, queue, recoveries, list(self._events), now)

    def _without_api(self) -> tuple[dict[str, Any], str]:
        """Health in the API's shape from beats, /proc and supervisord; and what to do, to be put behind the problem's sentence."""
        beats = self._settings.run.glob("browser-*.beat")
        names = sorted(path.name.removeprefix("browser-").removesuffix(".beat") for path in beats)
        programs = dict[str, Program]()
        try:
            programs = asyncio.run(Supervisor(self._settings.supervisor_socket).programs())
            hint = hint_by(self._settings, programs)
        except (NoSupervisor, Fault):
            hint = hint_by(self._settings, None)
        found = {v.name: v for v in vitals.processes(self._settings, names)}
        processes = [process(name, found.get(name), programs.get(name)) for name in (*found, *(p for p in programs if p not in found))]
        running = [
            {"session": name, "cause": said["cause"], "rungs": [{"name": said.get("rung")}], "status": "running", "started_at": None}
            for name, said in vitals.recovering(self._settings).items()
        ]
        return {
            "status": "unhealthy", "session_health": False, "version": None, "uptime_seconds": None, "accepting": False,
            "restart_in_progress": bool(running), "recovery": {"running": running},
            "sessions": [self._session(name) for name in names], "processes": processes,
        }, hint  # fmt: skip

    def _session(self, name: str) -> dict[str, Any]:
        evidence = evidence_of(self._settings, name)
        why = complaints(evidence, boot_time(), self._settings.send_timeout)
        return {
            "name": name, "state": evidence.state.value if evidence else "unknown", "healthy": not why, "complaints": why,
            "account": evidence.account if evidence else None, "detail": evidence.detail if evidence else None,
        }  # fmt: skip


def process(name: str, found: Vitals | None, program: Program | None) -> dict[str, Any]:
    """One process in the API's shape, by its signs of life and by what supervisord says of it: that it is down, it knows best."""
    found = found or Vitals(name)
    state: str = found.state
    pid, up = found.pid, found.uptime
    memory = found.memory
    if program is not None and (program.pid != pid or program.state is not ProgramState.RUNNING):
        state, pid = program.state.name.lower(), program.pid
        up = None if program.since is None else max(0.0, boot_time() - program.since)
        memory = None if pid is None else vitals.resident(pid)
    return {"name": name, "state": state, "pid": pid, "beat_age_seconds": found.beat_age, "memory_bytes": memory, "uptime_seconds": up}
