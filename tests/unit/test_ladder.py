"""The ladder: begins where the evidence says, climbs in vain's order, never two at once, never gives up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.watchdog.judge import Finding, Rung
from gateway.watchdog.ladder import (
    ANEW,
    BACKOFF,
    BACKOFF_MAX,
    LOADS,
    LONGEST,
    PATIENCE,
    STOPPED,
    Close,
    Do,
    Ladder,
    Open,
    Outcome,
    Quarantine,
    Request,
    Step,
    advance,
    awake,
)

MUTE = Finding("page_unresponsive", Rung.RELAUNCH_CHROMIUM)
ILL = Finding("unacked", Rung.RELOAD_PAGE)
CANARY = Finding("canary", Rung.NUDGE)
SILENT = Finding("host_silent", Rung.RESPAWN_HOST)
OUTAGE = Finding("socket_down", Rung.NUDGE, ceiling=Rung.NUDGE)
REFUSED = Finding("chromium_refused", Rung.QUARANTINE)


def run(finding: Finding | None, seconds: float, ladder: Ladder | None = None, now: float = 0.0) -> tuple[Ladder, list[Step]]:
    """The ladder's steps while the evidence stays like this, looked at each second."""
    ladder, steps = ladder or Ladder(), []
    for second in range(int(seconds) + 1):
        ladder, new = advance(ladder, now=now + second, finding=finding, back=False)
        steps += new
    return ladder, steps


def rungs(steps: list[Step]) -> list[Rung]:
    return [step.rung for step in steps if isinstance(step, Do)]


def test_nothing_wrong_nothing_done() -> None:
    assert run(None, 100) == (Ladder(), [])


def test_it_begins_at_the_rung_that_fits_and_ends_when_the_session_is_back() -> None:
    ladder, steps = advance(Ladder(), now=10, finding=MUTE, back=False)
    assert steps == [Open("page_unresponsive", None), Do(Rung.RELAUNCH_CHROMIUM)]
    ladder, steps = advance(ladder, now=12, finding=None, back=True)
    assert steps == [Close("succeeded", None)]
    assert ladder == Ladder()


@pytest.mark.parametrize(
    ("finding", "climbed"),
    [
        (CANARY, [Rung.NUDGE, Rung.RELOAD_PAGE, Rung.RELAUNCH_CHROMIUM, Rung.RESPAWN_BOTH]),
        (ILL, [Rung.RELOAD_PAGE, Rung.RELAUNCH_CHROMIUM, Rung.RESPAWN_BOTH]),
        (SILENT, [Rung.RESPAWN_HOST, Rung.RELAUNCH_CHROMIUM, Rung.RESPAWN_BOTH]),
        (MUTE, [Rung.RELAUNCH_CHROMIUM, Rung.RESPAWN_BOTH]),
    ],
)
def test_it_climbs_and_ends_in_quarantine(finding: Finding, climbed: list[Rung]) -> None:
    total = sum(PATIENCE[rung] for rung in climbed)
    ladder, steps = run(finding, total)
    assert rungs(steps) == climbed
    assert steps[-2:] == [Close("failed", f"tried {', '.join(climbed)}"), Quarantine(total + BACKOFF, finding.cause)]
    assert ladder.quarantined


def test_no_second_rung_before_the_first_had_its_time() -> None:
    _, steps = run(MUTE, PATIENCE[Rung.RELAUNCH_CHROMIUM] - 1)
    assert rungs(steps) == [Rung.RELAUNCH_CHROMIUM]


def test_a_fault_that_comes_again_during_the_recovery_gets_its_rung_again_at_once_and_kills_no_host() -> None:
    crash = Finding("page_crashed", Rung.RELAUNCH_CHROMIUM, certain=True)
    ladder, _ = advance(Ladder(), now=0, finding=crash, back=False)
    ladder, waited = advance(ladder, now=3, finding=crash, back=False, served=False)
    assert waited == [], "not known to be another one"
    for second in range(4, 4 + 3 * ANEW, 3):
        ladder, again = advance(ladder, now=second, finding=crash, back=False, served=True)
        assert again == [Do(Rung.RELAUNCH_CHROMIUM)]
    ladder, waited = advance(ladder, now=second + 3, finding=crash, back=False, served=True)
    assert waited == [], "a page that always breaks has to wait its time, and the ladder climbs"
    ladder, climbed = advance(ladder, now=second + PATIENCE[Rung.RELAUNCH_CHROMIUM], finding=crash, back=False, served=True)
    assert climbed == [Do(Rung.RESPAWN_BOTH)]


def test_a_successor_that_falls_silent_too_is_replaced_and_its_chromium_lives() -> None:
    silent = Finding("host_silent", Rung.RESPAWN_HOST, certain=True)
    ladder, _ = advance(Ladder(), now=0, finding=silent, back=False)
    assert advance(ladder, now=1, finding=silent, back=False, served=False) == (ladder, []), "still the one that was killed"
    ladder, again = advance(ladder, now=PATIENCE[Rung.RESPAWN_HOST] + 1, finding=silent, back=False, served=True)
    assert again == [Do(Rung.RESPAWN_HOST)]


def test_a_silence_during_the_recovery_has_to_wait_its_time() -> None:
    ladder, _ = advance(Ladder(), now=0, finding=MUTE, back=False)
    assert advance(ladder, now=5, finding=MUTE, back=False, served=True) == (ladder, [])


def test_an_outage_is_nudged_and_never_more() -> None:
    _, steps = run(OUTAGE, 3600)
    assert set(rungs(steps)) == {Rung.NUDGE}
    assert not any(isinstance(step, Quarantine) for step in steps)
    assert len(rungs(steps)) < 15


def test_a_worse_finding_meanwhile_is_not_answered_with_a_gentler_rung() -> None:
    ladder, _ = advance(Ladder(), now=0, finding=CANARY, back=False)
    _, steps = advance(ladder, now=PATIENCE[Rung.NUDGE], finding=MUTE, back=False)
    assert rungs(steps) == [Rung.RELAUNCH_CHROMIUM]


def test_an_outage_in_the_middle_of_a_recovery_stops_the_climb() -> None:
    ladder, _ = advance(Ladder(), now=0, finding=MUTE, back=False)
    ladder, steps = advance(ladder, now=PATIENCE[Rung.RELAUNCH_CHROMIUM], finding=OUTAGE, back=False)
    assert not rungs(steps)
    assert not ladder.quarantined


def test_a_command_that_the_host_missed_respawns_it() -> None:
    ladder, _ = advance(Ladder(), now=0, finding=ILL, back=False)
    ladder, steps = advance(ladder, now=1, finding=ILL, back=False, outcome=Outcome.MISSED)
    assert steps == [Do(Rung.RESPAWN_HOST)]
    _, steps = run(ILL, PATIENCE[Rung.RESPAWN_HOST], ladder, 2)
    assert rungs(steps) == [Rung.RELAUNCH_CHROMIUM]


def test_a_process_that_died_by_itself_is_written_down_and_not_killed_again() -> None:
    _, steps = advance(Ladder(), now=0, finding=Finding("chromium_exited", Rung.RELAUNCH_CHROMIUM, ended=True), back=False)
    assert steps == [Open("chromium_exited", None), Do(Rung.RELAUNCH_CHROMIUM, done=True)]


def test_what_no_restart_mends_goes_to_quarantine_at_once_and_is_tried_again() -> None:
    ladder, steps = advance(Ladder(), now=0, finding=REFUSED, back=False)
    assert steps == [Open("chromium_refused", None), Close("failed", "no restart mends this"), Quarantine(BACKOFF, "chromium_refused")]
    ladder, steps = advance(ladder, now=BACKOFF - 1, finding=REFUSED, back=False)
    assert steps == []
    _, steps = advance(ladder, now=BACKOFF, finding=REFUSED, back=False)
    assert isinstance(steps[0], Open)


def test_quarantine_waits_longer_each_time_up_to_the_cap_and_ends_when_the_session_is_back() -> None:
    ladder, now, waits = Ladder(), 0.0, []
    for _ in range(10):
        ladder, steps = advance(ladder, now=now, finding=REFUSED, back=False)
        wait = next(step.until for step in steps if isinstance(step, Quarantine)) - now
        waits.append(wait)
        now += wait
    assert waits == sorted(waits)
    assert waits[0] == BACKOFF
    assert waits[-1] == BACKOFF_MAX
    ladder, steps = advance(ladder, now=now, finding=None, back=True)
    assert (ladder, steps) == (Ladder(), [])


def test_the_operators_strategy_is_done_and_no_other() -> None:
    ladder, steps = advance(Ladder(), now=0, finding=None, back=True, request=Request(Rung.RESPAWN_HOST, 42))
    assert steps == [Open("requested", Rung.RESPAWN_HOST, 42), Do(Rung.RESPAWN_HOST)]
    ladder, steps = run(SILENT, PATIENCE[Rung.RESPAWN_HOST], ladder, 0)
    assert rungs(steps) == []
    assert steps == [Close("failed", "after respawn_host still: host_silent")]


def test_the_operators_strategy_ends_with_a_graver_finding_and_the_next_look_heals_it() -> None:
    ladder, _ = advance(Ladder(), now=0, finding=None, back=True, request=Request(Rung.NUDGE, 42))
    ladder, steps = advance(ladder, now=2, finding=MUTE, back=False, outcome=Outcome.UNDER_WAY)
    assert steps == [Close("failed", "page_unresponsive was found before nudge could work")]
    _, steps = advance(ladder, now=2.25, finding=MUTE, back=False)
    assert steps == [Open("page_unresponsive", None), Do(Rung.RELAUNCH_CHROMIUM)]


CRASH = Finding("page_crashed", Rung.RELAUNCH_CHROMIUM, certain=True)
GONE = Finding("host_exited", Rung.RESPAWN_HOST, ended=True)


@pytest.mark.parametrize("outcome", [Outcome.UNDER_WAY, Outcome.DONE, Outcome.UNDELIVERED, Outcome.MISSED])
@pytest.mark.parametrize(
    ("first", "graver", "step"),
    [
        (CANARY, SILENT, Do(Rung.RESPAWN_HOST)),
        (CANARY, MUTE, Do(Rung.RELAUNCH_CHROMIUM)),
        (CANARY, ILL, Do(Rung.RELOAD_PAGE)),
        (OUTAGE, MUTE, Do(Rung.RELAUNCH_CHROMIUM)),  # although an outage by itself asks for no more than a nudge
        (ILL, CRASH, Do(Rung.RELAUNCH_CHROMIUM)),
        (ILL, GONE, Do(Rung.RESPAWN_HOST, done=True)),
        (SILENT, MUTE, Do(Rung.RELAUNCH_CHROMIUM)),
    ],
)
def test_a_graver_finding_ends_a_lighter_rung_at_once(first: Finding, graver: Finding, step: Do, outcome: Outcome) -> None:
    ladder, _ = advance(Ladder(), now=0, finding=first, back=False)
    _, steps = advance(ladder, now=0.5, finding=graver, back=False, outcome=outcome)
    assert steps == [step]


def test_a_page_that_is_loaded_anew_may_be_mute_for_some_seconds() -> None:
    ladder, _ = advance(Ladder(), now=0, finding=ILL, back=False)
    assert advance(ladder, now=LOADS - 1, finding=MUTE, back=False) == (ladder, [])
    assert advance(ladder, now=LOADS, finding=MUTE, back=False)[1] == [Do(Rung.RELAUNCH_CHROMIUM)]


def test_no_lighter_and_no_equal_finding_ends_a_rung() -> None:
    for first, other in [(MUTE, ILL), (MUTE, CRASH), (MUTE, SILENT), (ILL, CANARY), (SILENT, ILL), (CANARY, OUTAGE), (CANARY, REFUSED)]:
        ladder, _ = advance(Ladder(), now=0, finding=first, back=False)
        assert advance(ladder, now=0.5, finding=other, back=False, outcome=Outcome.UNDER_WAY) == (ladder, [])


def test_a_rung_under_way_is_no_success_however_healthy_the_session_is() -> None:
    ladder, _ = advance(Ladder(), now=0, finding=None, back=True, request=Request(Rung.NUDGE, 42))
    assert advance(ladder, now=1, finding=None, back=True, outcome=Outcome.UNDER_WAY) == (ladder, [])
    assert advance(ladder, now=2, finding=None, back=True, outcome=Outcome.DONE)[1] == [Close("succeeded", None)]


def test_a_rung_that_the_database_kept_from_the_host_is_tried_again_and_nobody_is_killed() -> None:
    ladder, now = advance(Ladder(), now=0, finding=CANARY, back=False)[0], 0.0
    while now <= LONGEST - PATIENCE[Rung.NUDGE]:
        now += PATIENCE[Rung.NUDGE]
        ladder, steps = advance(ladder, now=now, finding=CANARY, back=False, outcome=Outcome.UNDELIVERED)
        assert steps == [Do(Rung.NUDGE, again=True)]
    _, steps = advance(ladder, now=LONGEST + 1, finding=CANARY, back=False, outcome=Outcome.UNDELIVERED)
    assert [type(step) for step in steps] == [Close]
    _, steps = advance(ladder, now=now + 1, finding=None, back=True, outcome=Outcome.UNDELIVERED)
    assert steps == [Close("succeeded", None)], "it healed without"


@pytest.mark.parametrize(
    ("finding", "rung"), [(None, Rung.NUDGE), (ILL, Rung.RELOAD_PAGE), (MUTE, Rung.RELAUNCH_CHROMIUM), (REFUSED, Rung.NUDGE)]
)
def test_without_a_strategy_the_ladder_decides(finding: Finding | None, rung: Rung) -> None:
    _, steps = advance(Ladder(), now=0, finding=finding, back=False, request=Request(None, 42))
    assert rungs(steps) == [rung]


def test_a_request_does_not_wait_for_the_end_of_quarantine() -> None:
    ladder = Ladder(None, failures=5, resume_at=1e9, quarantined=True)
    _, steps = advance(ladder, now=0, finding=MUTE, back=False, request=Request(None, 1))
    assert rungs(steps) == [Rung.RELAUNCH_CHROMIUM]


def test_an_operator_who_stops_the_session_ends_the_recovery() -> None:
    ladder, _ = advance(Ladder(), now=0, finding=MUTE, back=False)
    ladder, steps = advance(ladder, now=1, finding=None, back=False, hands_off=True)
    assert steps == [Close("failed", STOPPED)]
    assert ladder == Ladder()


def test_a_recovery_that_is_asked_for_on_a_stopped_session_ends_before_any_rung() -> None:
    ladder, steps = advance(Ladder(), now=0, finding=None, back=False, hands_off=True, request=Request(Rung.NUDGE, 42))
    assert steps == [Open("requested", Rung.NUDGE, 42), Close("failed", STOPPED)]
    assert ladder == Ladder()


def test_a_recovery_without_good_or_bad_evidence_ends_some_time() -> None:
    ladder, _ = advance(Ladder(), now=0, finding=MUTE, back=False)
    ladder, steps = advance(ladder, now=LONGEST + 1, finding=None, back=False)
    assert isinstance(steps[0], Close)
    assert ladder.failures == 0


def test_a_rung_has_its_patience_anew_after_a_time_for_which_nothing_could_be_judged() -> None:
    ladder, _ = advance(Ladder(), now=0, finding=MUTE, back=False)
    ladder = awake(ladder, 3600)
    assert advance(ladder, now=3600 + PATIENCE[Rung.RELAUNCH_CHROMIUM] - 1, finding=MUTE, back=False)[1] == []
    assert awake(Ladder(), 3600) == Ladder()


EXITED = Finding("chromium_exited", Rung.RELAUNCH_CHROMIUM, ended=True)
Moment = tuple[float, Finding | None, bool, bool, Outcome, Request | None]
findings = st.sampled_from([None, MUTE, ILL, CANARY, SILENT, OUTAGE, REFUSED, EXITED])
moments = st.lists(
    st.tuples(
        st.floats(0.25, 700),
        findings,
        st.booleans(),
        st.booleans(),
        st.sampled_from(Outcome),
        st.one_of(st.none(), st.builds(Request, st.sampled_from([None, *list(Rung)[:-1]]), st.integers(1, 9))),
    ),
    max_size=60,
)


@settings(deadline=None)  # a busy machine is no failure
@given(moments)
def test_one_recovery_at_a_time_each_opened_and_closed_once(story: list[Moment]) -> None:
    ladder, now, is_open = Ladder(), 0.0, False
    for seconds, finding, back, hands_off, outcome, request in story:
        now += seconds
        ladder, steps = advance(ladder, now=now, finding=finding, back=back, hands_off=hands_off, outcome=outcome, request=request)
        for step in steps:
            match step:
                case Open():
                    assert not is_open
                    is_open = True
                case Do():
                    assert is_open
                    assert step.rung is not Rung.QUARANTINE
                case Close():
                    assert is_open
                    is_open = False
                case Quarantine(until, _):
                    assert not is_open
                    assert now < until <= now + BACKOFF_MAX
        assert is_open == (ladder.attempt is not None)
        assert len(rungs(steps)) <= 1
        if ladder.attempt:
            assert len(set(ladder.attempt.tried)) == len(ladder.attempt.tried)


@settings(deadline=None)  # a busy machine is no failure
@given(moments)
def test_it_never_gives_up(story: list[Moment]) -> None:
    ladder, now = Ladder(), 0.0
    for seconds, finding, back, hands_off, outcome, request in story:
        now += seconds
        ladder, _ = advance(ladder, now=now, finding=finding, back=back, hands_off=hands_off, outcome=outcome, request=request)
    _, steps = run(MUTE, LONGEST + BACKOFF_MAX + 2, ladder, now)
    assert rungs(steps) or (ladder.attempt is not None and any(isinstance(s, Close) for s in steps))
