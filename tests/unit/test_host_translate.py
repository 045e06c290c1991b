"""Errors of pyppeteer, Chromium and wa-js as decisions: the one place."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.browser.page import Broken, Gone, Late, _translated
from gateway.browser.translate import error_of_answer, error_of_exception, refusal_of
from gateway.message import HandOverError, NotSent, Reason, Rejected, Restricted, Unconfirmed, error_of_nack


@pytest.mark.parametrize(
    "text",
    [
        "Protocol Error (Runtime.evaluate): Session closed. Most likely the page has been closed.",
        "Protocol error (Runtime.evaluate): Target closed.",
        "Protocol error (Runtime.evaluate): Inspected target navigated or closed",
        "Protocol error (Runtime.evaluate): Execution context was destroyed.",
        "Protocol error (Runtime.evaluate): Promise was collected",
    ],
)
def test_an_ended_page_leaves_the_outcome_open_and_its_words_in_the_record(text: str) -> None:
    error = error_of_exception(_translated(Exception(text)))
    assert isinstance(error, Unconfirmed)
    assert (error.code, str(error)) == ("page_gone", text)


def test_a_websocket_that_is_closed() -> None:
    assert isinstance(_translated(ConnectionError("Connection is closed")), Gone)
    assert isinstance(_translated(ConnectionRefusedError(111, "refused")), Gone)


def test_a_deadline_and_a_page_that_answers_nonsense_are_open_too() -> None:
    assert error_of_exception(Late("no answer within 20 s")).code == "deadline"
    assert isinstance(error_of_exception(Broken("TypeError: x is undefined")), Unconfirmed)


def test_placed_is_no_error() -> None:
    assert error_of_answer({"status": "placed", "joined": True}) is None


@pytest.mark.parametrize(
    ("answer", "kind", "counted"),
    [
        ({"status": "failed", "code": "message_key_is_not_from_me", "text": ""}, Rejected, None),
        ({"status": "failed", "code": "can_not_send_message_to_this_groupType", "text": ""}, Rejected, None),
        ({"status": "failed", "code": "remote_changed", "text": "the chat is 9@lid now"}, NotSent, False),
        ({"status": "failed", "code": "message_key_remote_id_is_not_same_of_chat", "text": ""}, NotSent, False),
        ({"status": "failed", "code": "other_account", "text": ""}, NotSent, False),
        ({"status": "failed", "code": "page_error", "text": "not connected"}, NotSent, True),
        ({"refused": {"code": "stale_call", "text": ""}}, NotSent, False),
        ({"refused": {"code": "other_document", "text": ""}}, NotSent, False),
        ({"refused": {"code": "library_broken", "text": ""}}, NotSent, False),
        ({"status": "unconfirmed", "code": "page_error", "text": "IndexedDB"}, Unconfirmed, None),
        ({"error": {"code": "page_error", "text": "boom"}}, Unconfirmed, None),
        ({"strange": 1}, Unconfirmed, None),
    ],
)
def test_answers_of_the_bridge(answer: dict[str, Any], kind: type[HandOverError], counted: bool | None) -> None:
    error = error_of_answer(answer)
    assert type(error) is kind
    if isinstance(error, NotSent):
        assert error.counted is counted


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("ContactBlocked: Contact is blocked", Reason.CONTACT_BLOCKED),
        ("contact_blocked", Reason.CONTACT_BLOCKED),
        ("NotAnAdmin: Only admins can send messages", Reason.NOT_AN_ADMIN),
        ("you are not an admin", Reason.NOT_AN_ADMIN),
        ("group_you_are_not_admin", Reason.NOT_AN_ADMIN),
        ("the group is announce-only", Reason.NOT_AN_ADMIN),
        ("NotAParticipant", Reason.NOT_A_MEMBER),
        ("not-in-group", Reason.NOT_A_MEMBER),
        ("AbortError: the transaction was aborted", None),
        ("TypeError: Cannot read properties of undefined (reading 'isAdmin')", None),
        ("not connected", None),
        (None, None),
    ],
)
def test_words_of_a_refusal(words: str | None, reason: Reason | None) -> None:
    assert refusal_of(words) is reason


THROWN = {"status": "unconfirmed", "code": "page_error", "text": "ContactBlocked: Contact is blocked"}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (THROWN | {"ack": None}, Rejected),  # the page has no message of that id
        (THROWN | {"ack": -1}, Rejected),  # it shows it as failed
        (THROWN | {"ack": 0}, Unconfirmed),  # the page sends one with a clock by itself
        (THROWN | {"ack": 1}, Unconfirmed),  # its ack tells
        (THROWN, Unconfirmed),  # an older bridge does not say
        (THROWN | {"ack": None, "text": "IndexedDB"}, Unconfirmed),  # any other error proves nothing
    ],
)
def test_an_error_of_whatsapps_code_rejects_only_what_is_certain_not_to_be_sent(answer: dict[str, Any], kind: type[HandOverError]) -> None:
    error = error_of_answer(answer)
    assert type(error) is kind
    if isinstance(error, Rejected):
        assert (error.reason, error.handed) == (Reason.CONTACT_BLOCKED, True)


def test_a_refusal_before_the_hand_over_leaves_the_id_unused() -> None:
    error = error_of_answer({"status": "failed", "code": "not_an_admin", "text": "the page itself says so"})
    assert isinstance(error, Rejected) and (error.reason, error.handed) == (Reason.NOT_AN_ADMIN, False)


def test_a_nack_without_a_code_is_as_final_as_what_the_page_says_of_it() -> None:
    assert isinstance(error_of_nack(None), NotSent)
    error = error_of_nack(None, Reason.CONTACT_BLOCKED)
    assert isinstance(error, Rejected) and error.reason is Reason.CONTACT_BLOCKED
    assert isinstance(error_of_nack(463, Reason.NOT_AN_ADMIN), Restricted)
