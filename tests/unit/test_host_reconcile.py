"""The decision about a message whose outcome nobody heard: PROTOCOL's list, line by line, then every combination."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.browser.reconcile import Facts, Seen, Sight, Sought, Verdict, decide, sight, sought, sought_before_sending
from gateway.message import Key, State
from gateway.store.model import Claim, Pending, Witness

ABSENT, UNKNOWN = Sight(Seen.ABSENT), Sight(Seen.UNKNOWN)
HEX = "3EB0AA"
PN, LID, GROUP, ME, MY_LID = "491@c.us", "91@lid", "120@g.us", "490@c.us", "90@lid"


def facts(s: Sight = ABSENT, **other: object) -> Facts:
    """An attempt of an earlier document, absent from a synced page of the same incarnation: proven not sent."""
    given: dict[str, object] = {
        "ledger": None, "placed": False, "synced": True, "same_incarnation": True, "generation_gone": True, "attached_since": True,
    } | other  # fmt: skip
    return Facts(sight=s, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("what", "f", "verdict"),
    [
        ("found with an ack", facts(Sight(Seen.FOUND, 1)), Verdict.SENT),
        ("found read", facts(Sight(Seen.FOUND, 3)), Verdict.SENT),
        ("found with the clock: the page sends it itself", facts(Sight(Seen.FOUND, 0)), Verdict.WAIT),
        ("found refused", facts(Sight(Seen.FOUND, -1, 463)), Verdict.NACKED),
        ("found counts more than anything else", facts(Sight(Seen.FOUND, 2), ledger="running", same_incarnation=False), Verdict.SENT),
        ("the call still runs", facts(ledger="running"), Verdict.WAIT),
        ("the call still runs, whatever the page could not say", facts(UNKNOWN, ledger="running"), Verdict.WAIT),
        ("placed was committed, and it is gone", facts(placed=True), Verdict.LOST),
        ("placed stands in the ledger, and it is gone", facts(ledger="placed", generation_gone=False), Verdict.LOST),
        ("absent, its document gone", facts(), Verdict.QUEUE),
        ("absent, the call failed", facts(ledger="failed", generation_gone=False), Verdict.QUEUE),
        ("the call ended before it came anywhere", facts(UNKNOWN, ledger="failed", generation_gone=False), Verdict.QUEUE),
        ("a failed call of another document says nothing of this attempt", facts(UNKNOWN, ledger="failed"), Verdict.ASK_AGAIN),
        ("found, whatever its call says", facts(Sight(Seen.FOUND, 0), ledger="failed", generation_gone=False), Verdict.WAIT),
        ("absent, the call never came and cannot come any more", facts(generation_gone=False), Verdict.QUEUE),
        ("absent, but the call may still come", facts(generation_gone=False, attached_since=False), Verdict.ASK_AGAIN),
        ("absent, but the page is not synced", facts(synced=False), Verdict.ASK_AGAIN),
        ("placed, and not found by a page that may not have read its store", facts(placed=True, synced=False), Verdict.ASK_AGAIN),
        ("of another incarnation, and not found by such a page", facts(same_incarnation=False, synced=False), Verdict.ASK_AGAIN),
        ("absent in another incarnation proves nothing", facts(same_incarnation=False), Verdict.LOST),
        ("a question went unanswered", facts(UNKNOWN), Verdict.ASK_AGAIN),
        ("a question went unanswered, of one that was placed", facts(UNKNOWN, placed=True), Verdict.ASK_AGAIN),
    ],
)
def test_the_list(what: str, f: Facts, verdict: Verdict) -> None:
    assert decide(f) is verdict, what


ALL = [
    Facts(s, ledger, placed, synced, same, gone, attached)
    for s, ledger, placed, synced, same, gone, attached in itertools.product(
        [ABSENT, UNKNOWN, *(Sight(Seen.FOUND, ack) for ack in (-1, 0, 1, 2, 3, 4))],
        [None, "running", "placed", "failed"],
        *[[False, True]] * 5,
    )
]


def test_it_is_queued_again_only_if_everything_proves_that_it_was_not_sent() -> None:
    queued = [f for f in ALL if decide(f) is Verdict.QUEUE]
    assert queued
    for f in queued:
        assert not f.placed
        if f.ledger == "failed" and not f.generation_gone:  # the document itself is the witness
            assert f.sight.seen is not Seen.FOUND
            continue
        assert f.sight.seen is Seen.ABSENT
        assert f.synced and f.same_incarnation
        assert f.ledger in (None, "failed")
        assert f.generation_gone or f.ledger == "failed" or f.attached_since


def test_nothing_found_is_ever_queued_or_given_up() -> None:
    assert {decide(f) for f in ALL if f.sight.seen is Seen.FOUND} == {Verdict.SENT, Verdict.WAIT, Verdict.NACKED}


def test_what_the_page_could_not_say_decides_nothing() -> None:
    nothing_else_known = [f for f in ALL if f.sight.seen is Seen.UNKNOWN and (f.ledger != "failed" or f.generation_gone)]
    assert {decide(f) for f in nothing_else_known} == {Verdict.WAIT, Verdict.ASK_AGAIN}


def test_given_up_only_where_it_may_have_gone_out() -> None:
    for f in ALL:
        if decide(f) is Verdict.LOST:
            assert f.sight.seen is Seen.ABSENT
            assert f.placed or f.ledger == "placed" or not f.same_incarnation


# -- under which keys it is asked for


def pending(**given: object) -> Pending:
    values: dict[str, object] = {
        "rowid": 1, "message": "msg_1", "state": State.UNCONFIRMED, "reason": None, "attempt": 1, "attempts": 0, "key": Key(PN, HEX),
        "hex": HEX, "recipient": 1, "address": PN, "remote": PN, "pn": PN, "lid": LID, "group": False, "participant": None, "placed": False,
        "epoch": 1, "generation": "g", "incarnation": "i", "claimed_at": 0.0, "timeouts": 0, "held": False,
    } | given  # fmt: skip
    return Pending(**values)  # type: ignore[arg-type]


def test_a_person_is_asked_for_under_number_and_lid() -> None:
    asked = sought(pending(), (ME, MY_LID))
    assert asked.chats == (PN, LID)
    assert asked.keys == (f"true_{PN}_{HEX}", f"true_{LID}_{HEX}")


def test_a_group_without_participant_and_under_both_of_our_names() -> None:
    asked = sought(pending(key=Key(GROUP, HEX, MY_LID), remote=GROUP, pn=None, lid=None, group=True), (ME, MY_LID))
    assert asked.chats == (GROUP,)
    assert set(asked.keys) == {f"true_{GROUP}_{HEX}", f"true_{GROUP}_{HEX}_{ME}", f"true_{GROUP}_{HEX}_{MY_LID}"}


def test_a_held_row_that_was_never_handed_over_is_asked_for_by_its_id() -> None:
    assert sought(pending(key=None, hex="3EB0BB", held=True), ()).keys == (f"true_{PN}_3EB0BB", f"true_{LID}_3EB0BB")


def claim(**given: object) -> Claim:
    values: dict[str, object] = {
        "message": "msg_1", "rowid": 1, "attempt": 2, "attempts": 0, "key": Key(PN, HEX), "type": "text", "content": {}, "recipient": 1,
        "address": PN, "remote": PN, "pn": PN, "lid": LID, "new_chat": False, "accept_duplicate": True, "accepted": 0.0, "claimed_at": 0.0,
    } | given  # fmt: skip
    return Claim(**values)  # type: ignore[arg-type]


def test_before_an_accepted_duplicate_is_sent_it_is_asked_for_under_the_same_keys_as_in_reconciling() -> None:
    own = (ME, MY_LID)
    assert sought_before_sending(claim(), own) == sought(pending(), own)
    moved = {"key": Key(LID, HEX), "remote": LID}
    assert sought_before_sending(claim(**moved), own) == sought(pending(**moved), own)
    in_group = {"key": Key(GROUP, HEX, MY_LID), "remote": GROUP, "pn": None, "lid": None}
    assert sought_before_sending(claim(**in_group), own) == sought(pending(group=True, participant=MY_LID, **in_group), own)


def test_a_witness_is_asked_for_under_every_key_of_its_chat() -> None:
    w = Witness(Key(PN, "3EB0CC"), "g0", "i1")
    asked = sought(pending(witness=w), (ME, MY_LID), generation="g2", incarnation="i1")
    assert asked.witness == (f"true_{PN}_3EB0CC", f"true_{LID}_3EB0CC")
    in_group = Witness(Key(GROUP, "3EB0CC", ME), "g0", "i1")
    asked = sought(pending(witness=in_group), (ME, MY_LID), generation="g2", incarnation="i1")
    assert asked.witness == tuple(f"true_{GROUP}_3EB0CC{who}" for who in (f"_{ME}", "", f"_{MY_LID}"))
    other_chat = Witness(Key("499@c.us", "3EB0CC"), "g0", "i1")
    assert sought(pending(witness=other_chat), (), generation="g2", incarnation="i1").witness == ("true_499@c.us_3EB0CC",)


@pytest.mark.parametrize(
    ("what", "generation", "incarnation"), [("sent by this document itself", "g0", "i1"), ("before the profile changed", "g2", "i2")]
)
def test_what_need_not_come_from_the_page_s_store_is_no_witness(what: str, generation: str, incarnation: str) -> None:
    w = Witness(Key(PN, "3EB0CC"), "g0", "i1")
    assert sought(pending(witness=w), (), generation=generation, incarnation=incarnation).witness == (), what


# -- what the page's answers amount to

ASKED = Sought(HEX, (PN, LID), ("pn", "lid"))


def answer(pn: str, lid: str, opened: str | None = PN) -> dict[str, object]:
    return {"opened": {PN: opened, LID: None}, "answers": {"pn": pn, "lid": lid}, "found": None}


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        (answer("msg_not_found", "chat_not_found"), Seen.ABSENT),
        (answer("chat_not_found", "msg_not_found"), Seen.ABSENT),  # the chat has moved to the LID
        (answer("msg_not_found", "msg_not_found"), Seen.ABSENT),
        (answer("chat_not_found", "chat_not_found"), Seen.UNKNOWN),  # no chat answered at all
        (answer("msg_not_found", "deadline"), Seen.UNKNOWN),
        (answer("some error", "msg_not_found"), Seen.UNKNOWN),
        (answer("msg_not_found", "chat_not_found", opened=None), Seen.UNKNOWN),
        ({"opened": {PN: PN}, "answers": {"pn": "msg_not_found"}, "found": None}, Seen.UNKNOWN),  # a key without an answer
    ],
)
def test_absent_only_if_every_question_was_answered(said: dict[str, object], seen: Seen) -> None:
    assert sight(ASKED, said).seen is seen


def test_a_chat_that_was_opened_under_an_id_that_is_new_to_us_is_asked_for_under_it_too() -> None:
    asked, said = Sought(HEX, (PN,), ("pn",)), {"opened": {PN: LID}, "answers": {"pn": "chat_not_found"}, "found": None, "also": ["lid"]}
    assert sight(asked, said).seen is Seen.UNKNOWN
    assert sight(asked, said | {"answers": {"pn": "chat_not_found", "lid": "msg_not_found"}}).seen is Seen.ABSENT


def test_found_under_any_key_is_found() -> None:
    said = {"opened": {}, "answers": {"pn": "deadline"}, "found": {"key": "lid", "ack": -1, "code": 463}}
    assert sight(ASKED, said) == Sight(Seen.FOUND, -1, 463)


words = st.sampled_from(["msg_not_found", "chat_not_found", "deadline", "Error: boom", None])


@given(words, words, st.sampled_from([PN, None]))
def test_any_other_word_is_never_absence(pn: str | None, lid: str | None, opened: str | None) -> None:
    seen = sight(ASKED, {"opened": {PN: opened}, "answers": {"pn": pn, "lid": lid}, "found": None}).seen
    if seen is Seen.ABSENT:
        assert opened and {pn, lid} <= {"msg_not_found", "chat_not_found"} and "msg_not_found" in (pn, lid)
