"""What is wrong with a session, and which rung fits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.session import Evidence, State, complaints
from gateway.supervision import Program, ProgramState
from gateway.watchdog.judge import Facts, Finding, Rung, back_in_service, judge

NOW = 1000.0


def program(name: str, up: float = 500.0, state: ProgramState = ProgramState.RUNNING, pid: int | None = 7) -> Program:
    return Program(name, state, pid, NOW - up if pid else None)


HEALTHY = Evidence(
    session="default",
    state=State.READY,
    epoch=1,
    since=NOW - 400,
    connected=True,
    chromium_pid=7,
    answered_at=NOW - 0.5,
    round_trip=0.002,
    canary=None,
    socket="CONNECTED",
    stream_mode="MAIN",
    stream_info="NORMAL",
    progressed_at=NOW - 390,
    account="49151@c.us",
    expected_account="49151@c.us",
    synced_at=NOW - 390,
)


def facts(evidence: Evidence | None = HEALTHY, **changes: Any) -> Facts:
    base = Facts(now=NOW, host=program("browser-default"), chromium=program("chromium-default"), beat_at=NOW - 0.4, evidence=evidence)
    return replace(base, **changes)


def with_evidence(**changes: Any) -> Facts:
    return facts(replace(HEALTHY, **changes))


SILENT = {"oldest_unacked_at": NOW - 121, "handed_over_at": NOW - 121, "silent_chats": 1}


@pytest.mark.parametrize(
    ("what", "known", "healthy"),
    [
        ("the server answered lately, and since the hand-over", {"server_answered_at": NOW - 20}, True),
        ("it has not answered once", {"server_silent_at": NOW - 50}, False),
        ("it did not answer a single question since", {"server_answered_at": NOW - 40, "server_silent_at": NOW - 5}, True),
        ("it has not answered for long", {"server_answered_at": NOW - 80, "server_silent_at": NOW - 40}, False),
        ("it answered before the hand-over", {"server_answered_at": NOW - 130}, False),
        ("many chats are silent although it answers", {"server_answered_at": NOW - 20, "silent_chats": 5}, False),
        ("another message was acked since", {"last_ack_at": NOW - 100}, True),
    ],
)
def test_silence_about_one_message_is_weighed_against_the_servers_answer(what: str, known: dict[str, Any], healthy: bool) -> None:
    case = with_evidence(**(SILENT | known))
    assert case.evidence is not None
    assert (complaints(case.evidence, NOW, 120) == []) is healthy, what
    assert (judge(case) is None) is healthy, what


def test_where_the_send_timeout_is_short_the_host_has_time_to_ask() -> None:
    e = replace(HEALTHY, oldest_unacked_at=NOW - 4, handed_over_at=NOW - 4, silent_chats=1)
    assert complaints(e, NOW, 2) == []
    assert complaints(e, NOW + 2.1, 2) and complaints(replace(e, server_silent_at=NOW - 1), NOW, 2)


def test_after_a_reload_the_servers_answer_clears_the_session_too() -> None:
    e = replace(HEALTHY, handed_over_at=NOW - 300, oldest_unacked_at=NOW - 10, server_silent_at=NOW - 200)
    assert complaints(e, NOW, 120)
    assert complaints(replace(e, server_silent_at=None, server_answered_at=NOW - 2), NOW, 120) == []


def test_a_call_that_hangs_is_no_health_and_an_outage_is_no_hanging_call() -> None:
    stuck = replace(HEALTHY, calling_since=NOW - 125, last_ack_at=NOW - 1)
    (said,) = complaints(stuck, NOW, 120)
    assert "hangs in the page, for 125 s" in said
    assert complaints(replace(stuck, calling_since=NOW - 119), NOW, 120) == []
    away = replace(stuck, socket="TIMEOUT", stream_info="OFFLINE", socket_down_since=NOW - 5)
    assert judge(facts(away)) is None


def test_the_healthy_session_is_healthy() -> None:
    assert complaints(HEALTHY, NOW, 120) == []
    assert judge(facts()) is None


@pytest.mark.parametrize(
    ("case", "cause", "rung"),
    [
        (facts(beat_at=NOW - 5.1), "host_silent", Rung.RESPAWN_HOST),
        (facts(None, beat_at=None), "host_silent", Rung.RESPAWN_HOST),
        (with_evidence(crashed=True), "page_crashed", Rung.RELAUNCH_CHROMIUM),
        (with_evidence(forwarder_fails=True), "proxy_forwarder_ended", Rung.RELAUNCH_CHROMIUM),
        (with_evidence(missed=2), "page_unresponsive", Rung.RELAUNCH_CHROMIUM),
        (facts(replace(HEALTHY, asked_at=NOW - 4.1), beat_at=NOW), "page_unresponsive", Rung.RELAUNCH_CHROMIUM),
        (facts(replace(HEALTHY, answered_at=NOW - 5.1), beat_at=NOW), "page_unresponsive", Rung.RELAUNCH_CHROMIUM),
        (with_evidence(answered_at=None, since=NOW - 21), "page_never_answered", Rung.RELAUNCH_CHROMIUM),
        (facts(replace(HEALTHY, missed=1), chromium_stopped=True), "chromium_stopped", Rung.RELAUNCH_CHROMIUM),
        (
            facts(replace(HEALTHY, connected=False, answered_at=NOW - 30), chromium=program("c", up=6), chromium_stopped=True),
            "chromium_stopped",
            Rung.RELAUNCH_CHROMIUM,
        ),
        (with_evidence(connected=False, answered_at=NOW - 21), "host_cannot_connect", Rung.RESPAWN_BOTH),
        (facts(replace(HEALTHY, memory_bytes=110), memory_limit=100), "memory", Rung.RELAUNCH_CHROMIUM),
        (facts(replace(HEALTHY, memory_bytes=130, oldest_unacked_at=NOW - 1), memory_limit=100), "memory", Rung.RELAUNCH_CHROMIUM),
        (with_evidence(canary="WPP.chat is gone", canary_failed_since=NOW - 4), "canary", Rung.NUDGE),
        (with_evidence(socket="OPENING", socket_down_since=NOW - 11), "socket_down", Rung.NUDGE),
        (with_evidence(oldest_unacked_at=NOW - 121), "unacked", Rung.RELOAD_PAGE),
        (with_evidence(calling_since=NOW - 121, last_ack_at=NOW - 1), "call_hangs", Rung.RELAUNCH_CHROMIUM),
        (with_evidence(oldest_unacked_at=NOW - 121, last_ack_at=NOW - 122), "unacked", Rung.RELOAD_PAGE),
        (with_evidence(state=State.SYNCING, stream_mode="SYNCING", progressed_at=NOW - 121), "sync_stalled", Rung.RELOAD_PAGE),
        (with_evidence(state=State.STARTING, stream_mode=None, progressed_at=NOW - 121), "start_stalled", Rung.RELOAD_PAGE),
        (facts(chromium=program("c", state=ProgramState.BACKOFF, pid=None)), "chromium_keeps_ending", Rung.RELAUNCH_CHROMIUM),
        (facts(host=program("h", state=ProgramState.FATAL, pid=None)), "host_keeps_ending", Rung.RESPAWN_HOST),
        (facts(refused="an older Chromium"), "chromium_refused", Rung.QUARANTINE),
    ],
)
def test_found(case: Facts, cause: str, rung: Rung) -> None:
    finding = judge(case)
    assert finding is not None
    assert (finding.cause, finding.rung) == (cause, rung)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(with_evidence(missed=1), id="one missed round trip is degraded, no more"),
        pytest.param(with_evidence(state=State.DEGRADED), id="degraded"),
        pytest.param(facts(None, beat_at=None, host=program("h", up=4.9)), id="a host within its start deadline"),
        pytest.param(facts(None, beat_at=None, host=program("h", pid=None, state=ProgramState.EXITED)), id="supervisord restarts the host"),
        pytest.param(
            facts(replace(HEALTHY, connected=False, answered_at=NOW - 30), chromium=program("c", up=19)),
            id="Chromium within its start deadline",
        ),
        pytest.param(
            facts(replace(HEALTHY, connected=False, answered_at=NOW - 30), chromium=program("c", up=4), chromium_stopped=True),
            id="a Chromium that stands still for a moment as it starts",
        ),
        pytest.param(
            facts(replace(HEALTHY, missed=3, answered_at=NOW - 15), chromium=program("c", up=10)), id="no kill before the first round trip"
        ),
        pytest.param(
            facts(replace(HEALTHY, connected=False, answered_at=NOW - 300, since=NOW - 300), woke_at=NOW - 7),
            id="a host that stood still with us while it connected",
        ),
        pytest.param(
            facts(replace(HEALTHY, answered_at=None, since=NOW - 300), woke_at=NOW - 7), id="a page that was to answer as we stood still"
        ),
        pytest.param(facts(None, beat_at=None, host=program("h", up=300), woke_at=NOW - 4.9), id="a host before its first beat"),
        pytest.param(
            facts(replace(HEALTHY, state=State.SYNCING, stream_mode="SYNCING", progressed_at=NOW - 999), woke_at=NOW - 100),
            id="a sync that stood still with us",
        ),
        pytest.param(with_evidence(connected=False, epoch=0, answered_at=None), id="a host that waits for a locked database"),
        pytest.param(facts(None, beat_at=None, host=program("h", state=ProgramState.STOPPED, pid=None)), id="the host is stopped"),
        pytest.param(facts(replace(HEALTHY, crashed=True), desired_down=True), id="the session is stopped"),
        pytest.param(facts(replace(HEALTHY, missed=2), chromium=program("c", state=ProgramState.STOPPING)), id="Chromium is being stopped"),
        pytest.param(with_evidence(socket="OPENING", socket_down_since=NOW - 9), id="WhatsApp Web reconnects by itself"),
        pytest.param(with_evidence(state=State.AWAITING_SCAN, stream_mode="QR", progressed_at=NOW - 9999), id="a QR code on show"),
        pytest.param(with_evidence(state=State.AWAITING_PASSKEY, stream_mode="QR", progressed_at=NOW - 9999), id="a passkey awaited"),
        pytest.param(with_evidence(state=State.LOGGED_OUT, account=None, socket=None, stream_mode=None), id="logged out"),
        pytest.param(with_evidence(state=State.SYNCING, stream_mode="SYNCING", progressed_at=NOW - 100), id="a sync with progress"),
        pytest.param(
            facts(replace(HEALTHY, asked_at=NOW - 4.9, answered_at=NOW - 5.9), beat_at=NOW - 4.8), id="a stopped host, not a mute page"
        ),
        pytest.param(with_evidence(oldest_unacked_at=NOW - 119), id="unacked, within the send timeout"),
        pytest.param(with_evidence(oldest_unacked_at=NOW - 121, last_ack_at=NOW - 1), id="one bad message: others are acked"),
        pytest.param(with_evidence(oldest_unacked_at=NOW - 500, socket="TIMEOUT", socket_down_since=NOW - 5), id="unacked in an outage"),
        pytest.param(
            with_evidence(oldest_unacked_at=NOW - 500, socket="CONFLICT", stream_mode="CONFLICT", progressed_at=NOW - 9),
            id="another window: the host takes over",
        ),
        pytest.param(
            with_evidence(state=State.STARTING, elsewhere_since=NOW - 900, canary="bare", canary_failed_since=NOW - 900, socket=None),
            id="WhatsApp Web cannot be loaded",
        ),
        pytest.param(with_evidence(dialogs=("Read this",)), id="a dialog over the page"),
        pytest.param(with_evidence(account="49152@c.us"), id="another account"),
        pytest.param(with_evidence(canary="not asked"), id="a canary not asked yet"),
        pytest.param(facts(replace(HEALTHY, memory_bytes=110, oldest_unacked_at=NOW - 1), memory_limit=100), id="memory: wait until idle"),
    ],
)
def test_nothing_found(case: Facts) -> None:
    assert judge(case) is None


# -- a full disk


LOST = {"canary": "storage lost: the database connection is closing", "canary_failed_since": NOW - 4}


def test_a_page_whose_storage_was_lost_is_loaded_anew_when_there_is_room() -> None:
    assert judge(with_evidence(**LOST)) == Finding("storage_lost", Rung.RELOAD_PAGE)
    assert judge(facts(replace(HEALTHY, **LOST), room=False)) is None


@pytest.mark.parametrize(
    "case",
    [
        with_evidence(missed=2),
        with_evidence(crashed=True),
        with_evidence(answered_at=None, since=NOW - 21),
        with_evidence(connected=False, answered_at=NOW - 21),
        facts(replace(HEALTHY, memory_bytes=130), memory_limit=100),
        facts(replace(HEALTHY, missed=1), chromium_stopped=True),
        facts(chromium=program("c", state=ProgramState.FATAL, pid=None)),
        with_evidence(oldest_unacked_at=NOW - 121),
        with_evidence(socket="OPENING", socket_down_since=NOW - 11),
    ],
)
def test_on_a_full_disk_chromium_is_left_alone(case: Facts) -> None:
    """Each of these is mended where there is room; on a full disk a relaunch could cost the login."""
    assert judge(case) is not None
    assert judge(replace(case, room=False)) is None


def test_on_a_full_disk_a_host_that_hangs_is_replaced_and_nothing_beyond() -> None:
    silent = facts(beat_at=NOW - 9, room=False)
    assert judge(silent) == Finding("host_silent", Rung.RESPAWN_HOST, ceiling=Rung.RESPAWN_HOST, certain=True)
    failing = facts(host=program("h", state=ProgramState.BACKOFF, pid=None), room=False)
    assert judge(failing) == Finding("host_keeps_ending", Rung.RESPAWN_HOST, ceiling=Rung.RESPAWN_HOST, ended=True)
    assert judge(facts(None, beat_at=None, room=False)) is None, "it waits for the room that its beat file needs"


def test_an_outage_never_climbs_above_a_nudge() -> None:
    outage = {"socket": "OPENING", "socket_down_since": NOW - 9000, "oldest_unacked_at": NOW - 9000}
    for besides in ({}, {"stream_mode": "OFFLINE", "progressed_at": NOW - 9000}, {"canary": "broken", "canary_failed_since": NOW - 9}):
        assert judge(with_evidence(**outage, **besides)) == Finding("socket_down", Rung.NUDGE, ceiling=Rung.NUDGE)


def test_a_page_that_cannot_load_in_an_outage_is_reloaded_at_most() -> None:
    finding = judge(with_evidence(state=State.STARTING, stream_mode=None, socket=None, account=None, progressed_at=NOW - 500))
    assert finding is not None
    assert finding.ceiling is Rung.RELOAD_PAGE


@pytest.mark.parametrize(
    ("case", "healthy", "was_linked", "back"),
    [
        (facts(), True, True, True),
        (with_evidence(state=State.SYNCING, stream_mode="SYNCING"), False, True, False),
        (with_evidence(state=State.STARTING, stream_mode=None), False, False, True),
        (with_evidence(state=State.AWAITING_SCAN, stream_mode="QR"), False, True, True),
        (with_evidence(state=State.AWAITING_SCAN, missed=1), False, False, False),
        (with_evidence(connected=False), False, False, False),
        (with_evidence(state=State.STARTING, answered_at=NOW - 6), False, False, False),
        (facts(None), False, False, False),
    ],
)
def test_back_in_service(case: Facts, healthy: bool, was_linked: bool, back: bool) -> None:
    assert back_in_service(case, healthy, was_linked) is back


ages = st.one_of(st.none(), st.floats(0, 10_000).map(lambda age: NOW - age))
evidences = st.builds(
    Evidence,
    session=st.just("default"),
    state=st.sampled_from(State),
    epoch=st.just(1),
    since=st.floats(0, NOW),
    connected=st.booleans(),
    asked_at=ages,
    answered_at=ages,
    missed=st.integers(0, 3),
    crashed=st.booleans(),
    canary=st.sampled_from([None, "gone"]),
    canary_failed_since=ages,
    socket=st.sampled_from([None, "CONNECTED", "OPENING"]),
    socket_down_since=ages,
    stream_mode=st.sampled_from([None, "QR", "SYNCING", "MAIN"]),
    stream_info=st.sampled_from([None, "NORMAL"]),
    progressed_at=ages,
    account=st.sampled_from([None, "49151@c.us"]),
    oldest_unacked_at=ages,
    last_ack_at=ages,
)


@given(evidences, ages)
def test_a_healthy_session_is_never_touched(e: Evidence, beat_at: float | None) -> None:
    if not complaints(e, NOW, 120) and beat_at is not None and NOW - beat_at <= 5 and not (e.asked_at and NOW - e.asked_at > 4):
        finding = judge(facts(e, beat_at=beat_at))
        assert finding is None or finding.cause == "canary"


@given(evidences, ages, st.sampled_from(ProgramState), st.sampled_from(ProgramState))
def test_what_the_operator_stopped_is_left_alone(e: Evidence, beat_at: float | None, host: ProgramState, chromium: ProgramState) -> None:
    case = facts(e, beat_at=beat_at, host=program("h", state=host), chromium=program("c", state=chromium))
    if {host, chromium} & {ProgramState.STOPPED, ProgramState.STOPPING}:
        assert judge(case) is None


@given(evidences, st.floats(0, 4.9), st.floats(0, 19.9))
def test_nobody_is_killed_within_its_start_deadline(e: Evidence, host_up: float, chromium_up: float) -> None:
    case = facts(e, host=program("h", up=host_up), chromium=program("c", up=chromium_up), beat_at=None)
    finding = judge(case)
    if finding is not None and finding.rung in (Rung.RELAUNCH_CHROMIUM, Rung.RESPAWN_BOTH):
        assert e.crashed or (e.answered_at is not None and e.answered_at > NOW - chromium_up)
    assert finding is None or finding.rung is not Rung.RESPAWN_HOST
