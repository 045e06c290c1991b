"""The recovery ladder as a state machine: fed with findings and the time, it answers the next steps. Pure.

One ladder a session, one recovery at a time. It begins at the rung that fits the evidence, climbs when a rung had
its time and the evidence is still bad, and after the last one waits in quarantine, for a time that
grows to a cap, and tries again: it never gives up.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Literal

from gateway.pauses import doubling
from gateway.watchdog.judge import Finding, Rung

#: Seconds after which a rung counts as tried in vain, if the evidence is bad by then. For the kills: the start
#: deadlines of what they restart (5 s, 20 s) and some for the page; a rung that works closes the recovery at once.
PATIENCE: dict[Rung, float] = {
    Rung.NUDGE: 10.0,
    Rung.RELOAD_PAGE: 30.0,
    Rung.RESPAWN_HOST: 10.0,
    Rung.RELAUNCH_CHROMIUM: 30.0,
    Rung.RESPAWN_BOTH: 40.0,
    Rung.QUARANTINE: 0.0,
}
#: A recovery whose evidence is neither bad nor good (a sync that goes on, an outage) is closed after this many seconds.
LONGEST = 900.0
#: Times in one recovery that what a rung brought up may break anew and get the finding's rung again, at once; then it climbs.
ANEW = 3
#: First wait in quarantine, in seconds; it doubles with each recovery that failed.
BACKOFF = 15.0
#: The longest wait in quarantine: what healed by itself is noticed at once anyway, as evidence is looked at all the time.
BACKOFF_MAX = 600.0

#: Seconds for which a page that is being loaded anew may be mute without being hung.
LOADS = 8.0

#: rung in vain → the next. A respawned host does nothing for a page that answers and is ill; a reload nothing for one that is mute.
NEXT: dict[Rung, Rung] = {
    Rung.NUDGE: Rung.RELOAD_PAGE,
    Rung.RELOAD_PAGE: Rung.RELAUNCH_CHROMIUM,
    Rung.RESPAWN_HOST: Rung.RELAUNCH_CHROMIUM,
    Rung.RELAUNCH_CHROMIUM: Rung.RESPAWN_BOTH,
    Rung.RESPAWN_BOTH: Rung.QUARANTINE,
}

#: Why a recovery of a session that its operator stopped, or one of its programs, ends.
STOPPED = "the operator stopped the session"

Status = Literal["succeeded", "failed"]


class Outcome(enum.Enum):
    """How far the last rung has come."""

    UNDER_WAY = enum.auto()  #: the host has been asked and has not answered
    DONE = enum.auto()  #: carried out; the evidence tells what it was good for
    MISSED = enum.auto()  #: the host was asked and did not carry it out in time
    UNDELIVERED = enum.auto()  #: the database was locked or full: the host could not know, or could not answer


@dataclass(frozen=True, slots=True)
class Open:
    """Begin a recovery row; `recovery` is the id of one that the API opened already."""

    cause: str
    strategy: Rung | None
    recovery: int | None = None


@dataclass(frozen=True, slots=True)
class Do:
    """Carry out a rung, in place of one that may be under way.

    `done`: what it would kill died by itself, so it is only written down. `again`: it is written down already.
    """

    rung: Rung
    done: bool = False
    again: bool = False


@dataclass(frozen=True, slots=True)
class Close:
    """End the recovery row."""

    status: Status
    detail: str | None


@dataclass(frozen=True, slots=True)
class Quarantine:
    """All rungs failed: hands off until `until` (boot clock), and alert."""

    until: float
    cause: str


Step = Open | Do | Close | Quarantine


@dataclass(frozen=True, slots=True)
class Request:
    """Somebody asked for a recovery: with a strategy that rung and no other, else the ladder decides."""

    strategy: Rung | None
    recovery: int | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """The recovery that runs now; times by the boot clock."""

    cause: str
    began: float
    rung: Rung
    rung_at: float
    ceiling: Rung
    only: bool = False  #: the operator chose the rung: no other is tried
    tried: tuple[Rung, ...] = ()
    anew: int = 0  #: how often what a rung had brought up broke again


@dataclass(frozen=True, slots=True)
class Ladder:
    """State of a session's ladder."""

    attempt: Attempt | None = None
    failures: int = 0  #: recoveries that failed in a row
    resume_at: float = 0.0  #: before this moment nothing is begun
    quarantined: bool = False


def advance(
    ladder: Ladder,
    *,
    now: float,
    finding: Finding | None,
    back: bool,
    hands_off: bool = False,
    outcome: Outcome = Outcome.DONE,
    served: bool = False,
    request: Request | None = None,
) -> tuple[Ladder, list[Step]]:
    """The next state and what to do for it.

    `back`: the session serves again, by evidence younger than the last rung. `outcome`: of that rung. `served`:
    what the finding is about is no process that this recovery killed. `hands_off`: the operator stopped the
    session, so nothing is begun and what runs ends.
    """
    if ladder.attempt is not None:
        return _go_on(ladder, ladder.attempt, now, finding, back, hands_off, outcome, served)
    if request is not None and hands_off:
        return Ladder(), [Open("requested", request.strategy, request.recovery), Close("failed", STOPPED)]
    if request is not None:
        rung = request.strategy or (finding.rung if finding and finding.rung is not Rung.QUARANTINE else Rung.NUDGE)
        ceiling = finding.ceiling if finding and not request.strategy else Rung.QUARANTINE
        return _begin(ladder, now, "requested", rung, ceiling, request, only=request.strategy is not None)
    if hands_off:
        return replace(ladder, failures=0, resume_at=0.0, quarantined=False), []
    if finding is None:
        if back and ladder.failures:
            return replace(ladder, failures=0, resume_at=0.0, quarantined=False), []
        return ladder, []
    if now < ladder.resume_at and not (finding.ended and not ladder.quarantined):
        return ladder, []
    if finding.rung is Rung.QUARANTINE:
        return _refuse(ladder, now, finding)
    return _begin(ladder, now, finding.cause, finding.rung, finding.ceiling, None, done=finding.ended)


def awake(ladder: Ladder, now: float) -> Ladder:
    """The ladder after a time for which nothing could be judged: what runs gets its patience anew."""
    return ladder if ladder.attempt is None else replace(ladder, attempt=replace(ladder.attempt, began=now, rung_at=now))


def _begin(
    ladder: Ladder, now: float, cause: str, rung: Rung, ceiling: Rung, request: Request | None, *, only: bool = False, done: bool = False
) -> tuple[Ladder, list[Step]]:
    attempt = Attempt(cause, now, rung, now, max(ceiling, rung, key=lambda r: r.height), only, (rung,))
    opened = Open(cause, request.strategy if request else None, request.recovery if request else None)
    return replace(ladder, attempt=attempt), [opened, Do(rung, done)]


def _refuse(ladder: Ladder, now: float, finding: Finding) -> tuple[Ladder, list[Step]]:
    """Nothing that we can do mends it: the row says so, and the wait begins at once."""
    ended, steps = _fail(ladder, now, finding.cause, "no restart mends this")
    return ended, [Open(finding.cause, None), *steps]


def _go_on(
    ladder: Ladder, a: Attempt, now: float, finding: Finding | None, back: bool, hands_off: bool, outcome: Outcome, served: bool
) -> tuple[Ladder, list[Step]]:
    if hands_off:
        return Ladder(), [Close("failed", STOPPED)]
    if finding is not None and _graver(a, finding, now):
        return _overtake(ladder, a, now, finding)
    if outcome is Outcome.UNDER_WAY:
        return ladder, []
    if now - a.began > LONGEST and not back:
        # neither good nor bad all the time, as in an outage: no reason to punish, a new finding may begin at once
        return replace(ladder, attempt=None), [Close("failed", "the session did not come back; nothing that a restart would mend was seen")]
    if outcome is Outcome.UNDELIVERED and (a.only or finding is not None):
        # a locked database is no fault of the session: what was not tried is tried again, and nothing graver
        return replace(ladder, attempt=replace(a, rung_at=now)), [Do(a.rung, again=True)]
    if back:
        return Ladder(), [Close("succeeded", None)]
    if outcome is Outcome.MISSED:
        return _fail(ladder, now, a.cause, "the host did not carry it out") if a.only else _climb(ladder, a, now, Rung.RESPAWN_HOST)
    if finding is not None and finding.certain and served and not a.only and a.anew < ANEW:
        # the rung worked, and what it brought up broke again: no reason to wait, and none to kill more than that
        return replace(ladder, attempt=replace(a, rung_at=now, anew=a.anew + 1)), [Do(finding.rung)]
    if finding is None or now - a.rung_at < PATIENCE[a.rung]:
        return ladder, []
    if a.only:
        return _fail(ladder, now, a.cause, f"after {a.rung} still: {finding.cause}")
    ceiling = min(a.ceiling, finding.ceiling, key=lambda r: r.height)
    # the evidence may have become worse meanwhile: no gentler rung than it asks for
    return _climb(ladder, replace(a, ceiling=ceiling), now, max(NEXT[a.rung], finding.rung, key=lambda r: r.height))


def _graver(a: Attempt, finding: Finding, now: float) -> bool:
    """Whether this is a fault of its own, for which a rung that leaves the failed process alone does nothing: not worth waiting for.

    After a kill of Chromium there is no such thing: until its start deadline, findings follow from the kill.
    """
    if finding.rung is Rung.QUARANTINE or finding.rung.height <= a.rung.height or a.rung.height >= Rung.RELAUNCH_CHROMIUM.height:
        return False
    if a.rung is Rung.RELOAD_PAGE and not finding.certain and not finding.ended:
        return now - a.rung_at >= LOADS
    return True


def _overtake(ladder: Ladder, a: Attempt, now: float, finding: Finding) -> tuple[Ladder, list[Step]]:
    """Go to the rung of a graver finding at once. A rung that an operator chose ends with it: the next look begins anew."""
    if a.only:
        return replace(ladder, attempt=None), [Close("failed", f"{finding.cause} was found before {a.rung} could work")]
    ceiling = max(finding.ceiling, finding.rung, key=lambda r: r.height)
    return _climb(ladder, replace(a, ceiling=ceiling), now, finding.rung, done=finding.ended)


def _climb(ladder: Ladder, a: Attempt, now: float, rung: Rung, *, done: bool = False) -> tuple[Ladder, list[Step]]:
    if rung.height > a.ceiling.height or rung is Rung.QUARANTINE:
        return _fail(ladder, now, a.cause, f"tried {', '.join(a.tried)}")
    if rung in a.tried:  # a respawned host that misses its command again
        return _climb(ladder, a, now, NEXT[rung])
    return replace(ladder, attempt=replace(a, rung=rung, rung_at=now, tried=(*a.tried, rung))), [Do(rung, done)]


def _fail(ladder: Ladder, now: float, cause: str, detail: str) -> tuple[Ladder, list[Step]]:
    """Close the row and wait. Only what reached the last rung, or cannot be mended, is a quarantine."""
    failures = ladder.failures + 1
    until = now + doubling(failures, first=BACKOFF, largest=BACKOFF_MAX)
    a = ladder.attempt
    grave = ladder.quarantined or a is None or Rung.RESPAWN_BOTH in a.tried
    steps: list[Step] = [Close("failed", detail)]
    if grave:
        steps.append(Quarantine(until, cause))
    return Ladder(None, failures, until, grave), steps
