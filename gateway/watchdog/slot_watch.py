"""One session under watch: gathers its facts, feeds its ladder, carries out what the ladder answers."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from dataclasses import dataclass
from typing import Any

import structlog

from gateway import beat
from gateway.beat import boot_time
from gateway.session import IN_CARE, Evidence, State, complaints
from gateway.settings import Settings
from gateway.slot import read_launch, stopped, sweep
from gateway.store import sessions
from gateway.store.database import has_room_to_claim
from gateway.supervision import Program, ProgramState
from gateway.vitals import evidence_in
from gateway.watchdog.judge import UNLINKED, Facts, Finding, Rung, back_in_service, judge
from gateway.watchdog.killer import Killer
from gateway.watchdog.ladder import Close, Do, Ladder, Open, Quarantine, Request, Step, advance, awake
from gateway.watchdog.records import Records, Row
from gateway.watchdog.rungs import OBEY, Rungs, Target

#: Seconds after a stop within which Chromium's own children end by themselves.
SWEEP_AFTER = 1.0
#: Seconds from which on a beat is waited for, and each look counts.
OVERDUE = 2 * beat.INTERVAL

log = structlog.get_logger()


@dataclass(slots=True)
class Health:
    """The verdict of the last full check."""

    healthy: bool
    at: float  #: boot clock


class SlotWatch:
    """A session's watch. Lives as long as the watchdog; close() cancels a rung under way."""

    def __init__(self, settings: Settings, session: str, records: Records, killer: Killer) -> None:
        self.session = session
        self.host, self.chromium = f"browser-{session}", f"chromium-{session}"
        self._settings, self._records, self._killer = settings, records, killer
        self._ladder = Ladder()
        self._row: Row | None = None
        self._rungs = Rungs(session, records, killer)
        self._ended: Finding | None = None
        self._request: Request | None = None
        self._was_linked = False
        self._evidence: Evidence | None = None
        self._beat_path = settings.beat(self.host)
        self._beat: beat.Beat | None = None  # the one looked at last, and the evidence in it
        self._of_beat: Evidence | None = None
        self._programs: dict[str, Program] = {}  # as looked at last
        self._woke_at = float("-inf")
        self._at_rest = False  # that look found nothing to do, nor anything under way
        self._down = False
        self._sweep_at = 0.0
        self._sweeping: asyncio.Task[None] | None = None
        self._checked: Health | None = None
        self.desired_down = False

    # -- what others tell it
    def ended(self, program: str) -> None:
        """A process of the slot ended by itself; supervisord restarts it."""
        if program == self.chromium:
            launch = read_launch(self._settings.data, self.session)
            if launch is not None and launch.refused:
                return  # a launcher that refused: judged by what it said
            self._ended = Finding("chromium_exited", Rung.RELAUNCH_CHROMIUM, ended=True)
        elif self._ended is None:
            self._ended = Finding("host_exited", Rung.RESPAWN_HOST, ended=True)

    def request(self, strategy: str | None, recovery: int | None) -> None:
        """An operator asks for a recovery. Raises ValueError for a strategy that is none, and while another request waits."""
        rung = Rung(strategy) if strategy else None
        if self._request is not None:
            raise ValueError("another recovery of this session was asked for at the same moment")
        self._request = Request(rung, recovery)

    def facts_for_beat(self) -> dict[str, Any]:
        """What the watchdog's beat says of this session: for /api/health, while the database may be stuck."""
        a = self._ladder.attempt
        said: dict[str, Any] = {"failures": self._ladder.failures, "quarantined": self._ladder.quarantined}
        if a is not None:
            said |= {"cause": a.cause, "rung": a.rung, "recovery": self._row.id if self._row else None}
        elif self._ladder.failures:
            said["resume_at"] = self._ladder.resume_at
        return said

    # -- the look
    def look(self, programs: dict[str, Program], now: float, woke_at: float = float("-inf")) -> None:
        """Judge, and begin or go on with what has to be done. Never waits. `now` is boot time, `woke_at` as in Facts."""
        if woke_at > self._woke_at:
            self._woke_at, self._ladder = woke_at, awake(self._ladder, now)
        found = beat.read(self._beat_path)
        if self._at_rest and self._nothing_new(found, programs, now):
            return
        facts = self._facts(found, programs, now)
        self._note_down(facts)
        self._sweep_stopped(facts)
        if facts.evidence is not None:
            self._evidence = facts.evidence
        self._check(facts)
        if self._rungs.killing:
            return
        finding = self._ended or judge(facts)
        if self._ended is not None and facts.hands_off:
            finding = None
        self._ended = None
        request, self._request = self._request, None
        if self._ladder.attempt is not None and request is not None:
            self._adopt(request)
            request = None
        cared_for = self._ladder.attempt is not None or self._ladder.quarantined
        self._ladder, steps = advance(
            self._ladder,
            now=now,
            finding=finding,
            back=self._back(facts),
            hands_off=facts.hands_off,
            outcome=self._rungs.outcome,
            served=self._served(facts, finding),
            request=request,
        )
        self._at_rest = finding is None and not steps and self._ladder == Ladder() and not facts.hands_off
        for step in steps:
            self._take(step, facts)
        if cared_for and self._ladder.attempt is None and not self._ladder.quarantined and not facts.hands_off:
            self._hand_back(facts)

    def _nothing_new(self, found: beat.Beat | None, programs: dict[str, Program], now: float) -> bool:
        """Whether a look would see what the last one saw: the same beat, not overdue, the same programs, and nobody's wish.

        A host beats once a second, and what is wrong with its page is judged by the time of the beat.
        """
        if found is None or found is not self._beat or found.age(now) > OVERDUE or programs is not self._programs:
            return False
        return self._ended is None and self._request is None and not self.desired_down and not self._check_due(now)

    def _facts(self, found: beat.Beat | None, programs: dict[str, Program], now: float) -> Facts:
        self._programs = programs
        host, chromium = programs.get(self.host), programs.get(self.chromium)
        if found is not None and (host is None or host.pid != found.pid):
            found = None  # a predecessor's last words
        if found is not self._beat:  # four looks see one beat
            self._beat, self._of_beat = found, evidence_in(found) if found else None
        evidence = self._of_beat
        launch = read_launch(self._settings.data, self.session)
        if launch is not None and chromium is not None and chromium.pid not in (None, launch.pid):
            launch = None  # a predecessor's: today's launcher has not judged yet
        return Facts(
            now=now,
            host=host,
            chromium=chromium,
            beat_at=found.at if found else None,
            evidence=evidence,
            chromium_stopped=bool(chromium and chromium.pid and stopped(chromium.pid)),
            refused=launch.refused if launch else None,
            desired_down=self.desired_down,
            send_timeout=self._settings.send_timeout,
            memory_limit=self._settings.chromium_memory_limit,
            woke_at=self._woke_at,
            room=has_room_to_claim(self._settings.data),
        )

    def _back(self, f: Facts) -> bool:
        """Whether evidence that is younger than the last rung, and of today's processes, shows the session in service."""
        e = f.evidence
        if e is None or f.beat_at is None or f.now - f.beat_at > beat.SILENT or (e.answered_at or 0.0) <= self._rungs.acted_at:
            return False
        if f.chromium is None or (e.chromium_pid is not None and e.chromium_pid != f.chromium.pid):
            return False
        healthy = not complaints(e, f.now, f.send_timeout)
        return back_in_service(f, healthy, self._was_linked)

    def _served(self, f: Facts, finding: Finding | None) -> bool:
        """Whether what the finding is about is not what this recovery killed, or its beginning: what is wrong now began after that.

        A host is, if it was started since; Chromium, if its page has answered since, or if it stands still and is
        not the one that was killed.
        """
        acted_on = self._rungs.acted_on
        if finding is not None and finding.rung is Rung.RESPAWN_HOST:
            return f.host is not None and f.host.since is not None and f.host.since > acted_on.get(self.host, 0.0)
        if f.chromium_stopped and f.chromium is not None and not self._killer.has_killed(f.chromium):
            return True
        e = f.evidence
        if e is None or f.chromium is None or e.chromium_pid != f.chromium.pid:
            return False
        return (e.answered_at or 0.0) > acted_on.get(self.chromium, 0.0)

    def _check(self, f: Facts) -> None:
        """The full check, each health interval and whenever the verdict changes."""
        said = complaints(f.evidence if f.beat_at is not None and f.now - f.beat_at <= beat.SILENT else None, f.now, f.send_timeout)
        healthy = not said
        last = self._checked
        if f.hands_off or (last is not None and last.healthy == healthy and not self._check_due(f.now)):
            return
        self._checked = Health(healthy, f.now)
        if healthy:
            log.info("Session health check passed", session=self.session)
        elif judge(f) is not None or self._ended is not None or self._ladder.attempt is not None:
            log.warning("Session health check failed, attempting to recover", session=self.session, reasons=said)
        else:
            log.info("The session is not healthy, and no recovery would mend it", session=self.session, reasons=said)
        at, session = time.time(), self.session
        self._records.note(lambda conn: sessions.record_health(conn, session=session, healthy=healthy, complaints=said, now=at))

    def _check_due(self, now: float) -> bool:
        return self._checked is None or now - self._checked.at >= self._settings.health_interval

    def _note_down(self, f: Facts) -> None:
        """Write down once that the operator stopped the session: its host cannot say so any more."""
        down = f.hands_off and (f.host is None or f.host.pid is None)
        if down and not self._down:
            self._force(State.STOPPED, "stopped by the operator")
        self._down = down

    def _sweep_stopped(self, f: Facts) -> None:
        """A Chromium that was stopped may leave stopped children and crash handlers, and no launcher comes to sweep them."""
        if f.chromium is None or f.chromium.state is not ProgramState.STOPPED:
            self._sweep_at = f.now + SWEEP_AFTER
        elif f.now >= self._sweep_at:
            self._sweep_at = float("inf")
            self._sweeping = asyncio.create_task(asyncio.to_thread(self._sweep))

    def _sweep(self) -> None:
        try:
            if swept := sweep(self._settings.data, self.session):
                log.warning("A stopped Chromium's leftovers were swept", session=self.session, processes=swept)
        except TimeoutError as error:
            log.error("A stopped Chromium's leftovers stay", session=self.session, reason=str(error), alert=True)

    # -- carrying out
    def _take(self, step: Step, f: Facts) -> None:
        at = time.time()
        match step:
            case Open(cause, strategy, recovery):
                e = self._evidence
                self._was_linked = e is not None and e.state not in UNLINKED and (e.account is not None or e.state is State.READY)
                self._rungs.acted_on.clear()
                self._row = self._records.opened(self.session, cause=cause, strategy=strategy, now=at, id=recovery)
                log.warning("Starting session recovery...", session=self.session, cause=cause, strategy=strategy)
                if not f.hands_off:
                    self._force(State.RECOVERING, cause)
            case Do(rung, done, again):
                assert self._row is not None
                log.info("Recovery rung", session=self.session, rung=rung, done_already=done, again=again)
                self._rungs.end()
                if not again:
                    self._records.tried(self._row, rung, at)
                self._carry_out(rung, done, f)
            case Close(status, detail):
                self._rungs.end()
                self._close(status, detail)
            case Quarantine(until, cause):
                wait = round(until - f.now)
                log.error("Session quarantined", session=self.session, cause=cause, seconds=wait, reason=f.refused, alert=True)
                self._force(State.QUARANTINED, f.refused or cause)

    def _close(self, status: str, detail: str | None) -> None:
        assert self._row is not None
        self._records.closed(self._row, "succeeded" if status == "succeeded" else "failed", detail, time.time())
        self._row = None
        if status == "succeeded":
            log.info("Session recovery completed successfully", session=self.session)
        else:
            log.error("Session recovery failed", session=self.session, reason=detail)

    def _hand_back(self, f: Facts) -> None:
        """What we called recovering or quarantined is the host's again: its state, which it may not write anew by itself."""
        e = f.evidence
        if e is None:
            return
        at, session, state = time.time(), self.session, e.state
        if state in IN_CARE:  # the host only repeats what we called it, until its page is well
            state = State.STARTING if e.account is None else State.DEGRADED

        def op(conn: sqlite3.Connection) -> None:
            row = sessions.get(conn, session)
            if row is not None and row.state in IN_CARE:
                sessions.force_state(conn, name=session, state=state, now=at)

        self._records.note(op, "api", self.host)

    def _force(self, state: State, detail: str | None) -> None:
        at, session = time.time(), self.session

        def op(conn: sqlite3.Connection) -> None:
            if sessions.get(conn, session) is not None:
                sessions.force_state(conn, name=session, state=state, now=at, detail=detail)

        self._records.note(op, "api")

    def _adopt(self, request: Request) -> None:
        """A request while a recovery runs: the API opened its row before ours was written, or after it was closed."""
        if self._row is not None and request.recovery is not None:
            self._records.superseded(self._row, request.recovery, time.time())

    def _carry_out(self, rung: Rung, done: bool, f: Facts) -> None:
        """Begin one rung; `done`: what it would kill has ended by itself."""
        if rung in OBEY:
            self._rungs.ask(rung, f.now)
            return
        targets = {Rung.RESPAWN_HOST: [f.host], Rung.RELAUNCH_CHROMIUM: [f.chromium], Rung.RESPAWN_BOTH: [f.chromium, f.host]}[rung]
        alive = [program for program in targets if program is not None and program.pid is not None]
        if done:
            self._rungs.note_done([program.name for program in targets if program is not None], f.now)
        else:
            self._rungs.kill(rung, [Target(one, self._chromium_is_guilty if one is f.chromium else None) for one in alive], f.now)

    def _chromium_is_guilty(self) -> bool:
        """Whether Chromium has to go by what is known now, or because somebody asked for it."""
        a = self._ladder.attempt
        if a is not None and a.only:
            return True
        found = judge(self._facts(beat.read(self._beat_path), self._killer.programs, boot_time()))
        return found is not None and found.rung.height >= Rung.RELAUNCH_CHROMIUM.height

    def close(self) -> None:
        """End a rung under way; its row is closed as interrupted by the next watchdog."""
        self._rungs.end()
