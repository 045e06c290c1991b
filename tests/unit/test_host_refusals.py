"""Retries that count no attempt: they grow rarer, their end is said, and other chats do not notice them."""

from __future__ import annotations

import types
from itertools import pairwise
from typing import Any, cast

import pytest

from gateway.beat import boot_time
from gateway.browser.attendant import Attendant
from gateway.browser.bridge import Report
from gateway.browser.refusals import EXPECTED, LONGEST_PAUSE, SAID_AFTER, Refusals
from gateway.browser.standing import Standing
from gateway.browser.translate import STALE, error_of_answer, of_refusal
from gateway.message import SPARED, NotSent, spared_pause
from gateway.pacing import Cap, Pacer
from gateway.settings import Settings

PAGE = NotSent("stale_call", page=True)


def test_a_page_that_refuses_everything_is_asked_more_and_more_rarely_and_it_is_said() -> None:
    refusals, now, pauses = Refusals(), 0.0, []
    for _ in range(40):
        refusals.note(PAGE, now)
        pauses.append(round(refusals.pause(now), 6))
        now += refusals.pause(now) + 0.01
    assert pauses[:EXPECTED] == [0.0] * EXPECTED and pauses[-1] == LONGEST_PAUSE
    assert all(a <= b for a, b in pairwise(pauses))
    assert refusals.said(now) == "the page refuses every message (stale_call)"
    refusals.note(None, now)
    assert refusals.said(now) is None and refusals.pause(now) == 0.0, "it has taken one"


def test_evidence_says_it_as_a_failing_canary_which_the_watchdog_has_mended() -> None:
    report = Report(
        generation="g", version="v", epoch=1, attachment=1, url="u", loaded=True, library="4.6.0", ready=True, authenticated=True,
        socket="CONNECTED", mode="MAIN", info="NORMAL", account="491@c.us", lid=None, device="491:1@c.us", qr=False, passkey=False,
        canary=None, steady=9.0, drops=0, events=0, overflowed=False, dialogs=[], running=None,
    )  # fmt: skip
    standing = Standing("default", 1, 0.0, Pacer(1.0))
    attendant = Attendant(Settings(), standing, cast(Any, types.SimpleNamespace(url="u")))
    standing.asked_at = boot_time()
    attendant._answered(report, None)
    assert (standing.evidence().canary, standing.canary_failed_since) == (None, None)
    for n in range(EXPECTED + 2):
        standing.refusals.note(PAGE, boot_time() - 2 * SAID_AFTER + n)
    standing.asked_at = boot_time()
    attendant._answered(report, None)
    assert standing.evidence().canary == "the page refuses every message (stale_call)"
    assert standing.canary_failed_since is not None


def test_calls_under_way_when_the_page_is_attached_to_anew_are_no_matter() -> None:
    refusals = Refusals()
    for _ in range(EXPECTED):
        refusals.note(PAGE, 1.0)
    assert refusals.pause(1.0) == 0.0 and refusals.said(1.0 + SAID_AFTER) is None


def test_refusals_under_way_together_count_once_and_other_errors_not_at_all() -> None:
    refusals = Refusals()
    for _ in range(EXPECTED + 8):
        refusals.note(PAGE, 1.0)
    assert refusals.pause(1.0) == 0.5
    refusals.note(NotSent("chat_not_opened"), 9.0)
    assert refusals.said(1.0 + SAID_AFTER) is not None


@pytest.mark.parametrize("code", sorted(STALE))
def test_a_chat_in_trouble_counts_no_attempt_and_is_no_trouble_of_the_page(code: str) -> None:
    error = error_of_answer({"status": "failed", "code": code, "text": ""})
    assert isinstance(error, NotSent) and (error.counted, error.page) == (False, False)


def test_a_refusal_of_the_fence_is_the_pages_and_counts_never() -> None:
    for code in ("stale_host", "stale_call", "other_document", "library_broken"):
        assert (of_refusal(code, "").page, of_refusal(code, "").counted) == (True, False)
    assert not of_refusal("something_else", "").page and of_refusal("something_else", "").counted


def test_pauses_of_one_message_grow_from_half_a_second_to_a_minute() -> None:
    pauses = [spared_pause(n) for n in range(SPARED)]
    assert pauses[0] == 0.5 and pauses[-1] == 60.0 and all(a <= b for a, b in pairwise(pauses))
    assert 600 < sum(pauses) < 1_200


def test_other_chats_need_not_wait_for_a_hand_over_that_went_nowhere() -> None:
    pacer = Pacer(1.0, caps=[Cap("max_per_minute", 10, 60.0)])
    pacer.started(100.0, 0.0)
    pacer.take_back(100.0, interval=True)
    assert pacer.delay(100.0) == 0.0
    pacer.started(100.1, 0.0)
    pacer.started(101.2, 0.0)
    pacer.take_back(100.1, interval=True)
    assert pacer.delay(101.2) == pytest.approx(1.0), "another one has gone out meanwhile"
    pacer.take_back(101.2)
    assert pacer.delay(101.2) == pytest.approx(1.0), "one that was refused for good keeps its interval"
