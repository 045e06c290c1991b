"""In which state a session is, from what its page says."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from gateway.browser.bridge import Report
from gateway.browser.states import decide
from gateway.session import IN_CARE, State, allowed

WELL = Report(
    generation="g", version="v", epoch=1, attachment=1, url="", loaded=True, library="4.6.0", ready=True, authenticated=True,
    socket="CONNECTED", mode="MAIN", info="NORMAL", account="491@c.us", lid=None, device="491:1@c.us", qr=False, passkey=False,
    canary=None, steady=9.0, drops=0, events=0, overflowed=False, dialogs=[], running=None,
)  # fmt: skip
QR = replace(WELL, ready=False, authenticated=False, account=None, socket="UNPAIRED", mode="QR", qr=True)


def turn(previous: State, report: Report | None, **given: Any) -> State:
    known = {"answers": True, "linked": True, "reconciled": True, "had_account": True} | given
    return decide(previous, report, **known)


@pytest.mark.parametrize(
    ("previous", "report", "given", "state"),
    [
        (State.STARTING, None, {}, State.STARTING),
        (State.READY, None, {}, State.DEGRADED),
        (State.AWAITING_SCAN, None, {}, State.STARTING),
        (State.RECOVERING, None, {}, State.RECOVERING),
        (State.QUARANTINED, None, {}, State.QUARANTINED),
        (State.STARTING, QR, {"had_account": False}, State.AWAITING_SCAN),
        (State.READY, QR, {}, State.LOGGED_OUT),
        (State.LOGGED_OUT, QR, {"had_account": False}, State.AWAITING_SCAN),
        (State.AWAITING_SCAN, replace(QR, qr=False, mode=None), {"had_account": False}, State.AWAITING_SCAN),
        (State.AWAITING_SCAN, replace(QR, passkey=True), {"had_account": False}, State.AWAITING_PASSKEY),
        (State.STARTING, replace(QR, passkey=True), {"had_account": False}, State.AWAITING_PASSKEY),  # after a host's restart
        (State.LOGGED_OUT, replace(QR, passkey=True), {"had_account": False}, State.AWAITING_PASSKEY),  # a quick scan
        (State.QUARANTINED, replace(QR, passkey=True), {"had_account": False}, State.AWAITING_PASSKEY),
        (State.READY, replace(QR, passkey=True), {}, State.LOGGED_OUT),  # the login is lost, whatever else the page shows
        (State.AWAITING_PASSKEY, replace(QR, qr=False, mode=None), {"had_account": False}, State.AWAITING_PASSKEY),
        (State.STOPPED, WELL, {}, State.STARTING),
        (State.STOPPED, None, {}, State.STARTING),
        (State.LOGGED_OUT, WELL, {}, State.READY),
        (State.STARTING, replace(WELL, mode="SYNCING"), {}, State.SYNCING),
        (State.SYNCING, WELL, {"reconciled": False}, State.SYNCING),
        (State.SYNCING, WELL, {"linked": False}, State.SYNCING),
        (State.SYNCING, WELL, {}, State.READY),
        (State.RECOVERING, WELL, {}, State.READY),
        (State.READY, replace(WELL, socket="TIMEOUT"), {}, State.DEGRADED),
        (State.READY, replace(WELL, socket="CONFLICT", mode="CONFLICT"), {}, State.DEGRADED),
        (State.READY, replace(WELL, canary="chat.find is gone"), {}, State.DEGRADED),
        (State.SYNCING, replace(WELL, canary="chat.find is gone"), {}, State.SYNCING),
        (State.READY, WELL, {"answers": False}, State.DEGRADED),
        (State.AWAITING_SCAN, QR, {"answers": False}, State.AWAITING_SCAN),
        (State.READY, replace(WELL, authenticated=False, ready=False, mode=None), {}, State.DEGRADED),
    ],
)
def test_turns(previous: State, report: Report | None, given: dict[str, Any], state: State) -> None:
    assert turn(previous, report, **given) is state


def test_ready_only_if_everything_is_well() -> None:
    for previous, ready, canary, mode, info, socket, linked, reconciled, answers in itertools.product(
        State, [True, False], [None, "x"], ["MAIN", "SYNCING"], ["NORMAL", "OFFLINE"], ["CONNECTED", "TIMEOUT"], *[[True, False]] * 3
    ):
        report = replace(WELL, ready=ready, canary=canary, mode=mode, info=info, socket=socket)
        state = turn(previous, report, linked=linked, reconciled=reconciled, answers=answers)
        well = ready and canary is None and (mode, info, socket) == ("MAIN", "NORMAL", "CONNECTED") and linked and reconciled
        if state is State.READY:
            assert well and answers


def test_no_state_that_a_page_asks_for_is_refused() -> None:
    """The product of all states and all that a page may say: what decide() answers, the table of transitions allows."""
    reports: list[Report | None] = [None]
    for authenticated, ready, qr, passkey, mode, socket, canary in itertools.product(
        [True, False], [True, False], [True, False], [True, False], [None, "QR", "SYNCING", "MAIN", "OFFLINE", "CONFLICT"],
        ["CONNECTED", "TIMEOUT"], [None, "x"],
    ):  # fmt: skip
        said = {"authenticated": authenticated, "ready": ready, "qr": qr, "passkey": passkey, "mode": mode, "socket": socket}
        reports.append(replace(WELL, **said, canary=canary))
    refused = set()
    for previous, report, answers, linked, reconciled, had_account in itertools.product(State, reports, *[[True, False]] * 4):
        wanted = decide(previous, report, answers=answers, linked=linked, reconciled=reconciled, had_account=had_account)
        if wanted is not previous and not allowed(previous, wanted):
            refused.add((previous.value, wanted.value))
    assert refused == set()


def test_no_state_that_the_watchdog_gives_is_refused() -> None:
    assert [(old, new) for old in State for new in (*IN_CARE, State.STOPPED) if old is not new and not allowed(old, new)] == []
    handed_back = set(State) - IN_CARE - {State.STOPPED}
    assert [(old, new) for old in IN_CARE for new in handed_back if not allowed(old, new)] == []


def test_from_each_state_a_page_that_is_well_leads_to_ready() -> None:
    for state in State:
        for _ in range(2):
            state = turn(state, WELL)
        assert state is State.READY
