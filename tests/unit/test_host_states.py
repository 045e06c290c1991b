"""In which state a session is, from what its page says."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from gateway.browser.bridge import Report
from gateway.browser.states import decide
from gateway.session import State

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
