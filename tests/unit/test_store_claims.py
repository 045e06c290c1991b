"""From the claim to the outcome: order, fences, retries, acks and nacks."""

from __future__ import annotations

import pytest
from store_rig import ME, Rig

from gateway.message import SPARED, IllegalTransition, Key, NotSent, Reason, Rejected, Restricted, Unconfirmed
from gateway.message import State as M
from gateway.session import State as S
from gateway.store import counters, lanes, outbox, recipients, sessions, transitions


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


def test_a_claim_is_written_ahead_with_all_that_reconciling_needs(rig):
    (id_,) = rig.accept("491@c.us")
    assert rig.claim() is None, "its recipient is yet to be looked up"
    rig.resolve()
    claim = rig.claimed()
    view = rig.get(id_)
    assert (claim.message, claim.attempt, claim.attempts, claim.new_chat) == (id_, 1, 0, True)
    assert claim.key == Key("491@c.us", rig.hex(id_))
    assert view.state is M.SENDING and view.wa_id == str(claim.key)
    (attempt,) = view.attempts
    assert (attempt.epoch, attempt.generation, attempt.incarnation, attempt.key) == (1, "g1", "i1", str(claim.key))
    assert attempt.placed_at is attempt.ended_at is attempt.outcome is None


def test_the_key_of_a_group_message_names_us_as_participant(rig):
    rig.accept("1203@g.us")
    rig.resolve()
    claim = rig.claimed()
    assert claim.key.participant == ME and not claim.new_chat


def test_placed_is_noted_once_and_counted(rig):
    rig.accept("491@c.us")
    rig.resolve()
    claim = rig.claimed()
    rig.now += 2
    assert rig.do(outbox.placed, rig.fence, rowid=claim.rowid, attempt=1, now=rig.now)
    assert not rig.do(outbox.placed, rig.fence, rowid=claim.rowid, attempt=1, now=rig.now)
    assert counters.value(rig.conn, "handover_seconds_sum", {"session": "default"}) == 2
    assert rig.pending()[0].placed
    assert rig.claim() is None


def test_one_message_of_a_chat_at_a_time_and_in_order(rig):
    ids = rig.accept("491@c.us", "491@c.us", "491@c.us")
    rig.resolve()
    for id_ in ids:
        claim = rig.claimed()
        assert claim.message == id_
        assert rig.claim() is None, "the chat is busy"
        rig.ack(claim.key.hex)


def test_chats_do_not_wait_for_each_other(rig):
    first, second, _ = rig.accept("491@c.us", "492@c.us", "491@c.us")
    rig.resolve()
    held_back = rig.claimed()
    rig.sent_not(held_back, NotSent("socket"), delay=100)
    assert rig.claimed().message == second
    assert rig.claim() is None, "what waits for its retry holds back its chat"
    assert rig.reason() == "retry_backoff"
    rig.now += 100
    assert rig.claimed().message == first


def test_priority_orders_chats_not_the_messages_within_one(rig):
    rig.accept("491@c.us")
    rig.accept("491@c.us", priority=9)
    (urgent,) = rig.accept("492@c.us", priority=5)
    rig.resolve()
    assert rig.claimed().message == urgent
    assert rig.claimed().address == "491@c.us"
    assert rig.claim() is None


def test_a_scheduled_message_waits_for_its_time_and_holds_back_nobody(rig):
    (later,) = rig.accept("491@c.us", send_at=rig.now + 1000)
    (now,) = rig.accept("491@c.us")
    rig.resolve()
    claim = rig.claimed()
    assert claim.message == now
    rig.ack(claim.key.hex)
    assert rig.claim() is None
    assert rig.reason() == "scheduled"
    assert outbox.next_due(rig.conn, session="default", now=rig.now) == rig.get(later).send_at
    rig.now += 1000
    assert rig.claimed().message == later


def test_a_retry_waits_and_is_a_dead_letter_after_so_many_attempts(rig):
    (id_,) = rig.accept("491@c.us")
    rig.resolve()
    hexes = set()
    for attempt in (1, 2, 3):
        claim = rig.claimed()
        assert (claim.attempt, claim.attempts) == (attempt, attempt - 1)
        hexes.add(claim.key.hex)
        assert rig.sent_not(claim, NotSent("chat_not_opened", "the chat did not open"), delay=50, max_attempts=3)
        if attempt < 3:
            assert rig.claim() is None
            assert rig.reason() == "retry_backoff"
            rig.now += 50
    view = rig.get(id_)
    assert (view.state, view.reason, view.error) == (M.FAILED, "attempts", "the chat did not open")
    assert [a.outcome for a in view.attempts] == ["not_sent"] * 3
    assert len(hexes) == 1, "one row, one id, until a nack"


def test_what_was_not_the_messages_fault_counts_no_attempt(rig):
    rig.accept("491@c.us")
    rig.resolve()
    for _ in range(5):
        claim = rig.claimed()
        assert claim.attempts == 0
        rig.sent_not(claim, NotSent("remote_changed", counted=False), delay=0, max_attempts=2)


def test_hand_overs_that_count_no_attempt_come_to_an_end_that_is_said(rig):
    (id_,) = rig.accept("491@c.us")
    rig.resolve()
    for n in range(SPARED):
        assert outbox.spared(rig.conn, rowid=rig.get(id_).rowid) == n
        rig.sent_not(rig.claimed(), NotSent("remote_changed", "the chat is another one", counted=False), delay=0, max_attempts=2)
    assert (rig.state(id_), rig.get(id_).attempts_counted) == (M.QUEUED, 0)
    for _ in range(2):
        rig.sent_not(rig.claimed(), NotSent("remote_changed", "the chat is another one", counted=False), delay=0, max_attempts=2)
    view = rig.get(id_)
    assert (view.state, view.reason, view.error) == (M.FAILED, "attempts", "the chat is another one")
    rig.now += 1
    rig.do(outbox.requeue, id=id_, now=rig.now)
    assert outbox.spared(rig.conn, rowid=view.rowid) == 0, "a requeue begins anew"


def test_what_host_page_or_account_refuse_ends_no_message_however_often(rig):
    (id_,) = rig.accept("491@c.us")
    rig.resolve()
    for _ in range(2 * SPARED):
        rig.sent_not(rig.claimed(), NotSent("other_document", page=True), delay=0, max_attempts=2)
    assert (rig.state(id_), rig.get(id_).attempts_counted) == (M.QUEUED, 0)


def test_a_rejected_message_is_a_dead_letter_at_once(rig):
    first, second = rig.accept("491@c.us", "491@c.us")
    rig.resolve()
    rig.sent_not(rig.claimed(), Rejected("too_long"))
    assert (rig.get(first).state, rig.get(first).reason) == (M.FAILED, "rejected")
    assert rig.claimed().message == second


def test_a_refusal_says_its_reason_and_uses_up_the_id_that_whatsapp_had(rig):
    first, second = rig.accept("491@c.us", "492@c.us")
    rig.resolve()
    before = {id_: rig.hex(id_) for id_ in (first, second)}
    for _ in range(2):
        claim = rig.claimed()
        handed = claim.message == first
        rig.sent_not(claim, Rejected("contact_blocked", reason=Reason.CONTACT_BLOCKED, handed=handed))
    assert {rig.get(id_).reason for id_ in (first, second)} == {"contact_blocked"}
    assert rig.get(first).attempts[0].outcome == "rejected"
    assert rig.hex(first) != before[first], "WhatsApp's page may show a failed message under the old one"
    assert rig.hex(second) == before[second], "it never had this one"
    assert rig.ack(before[first]), "a receipt that comes all the same still counts"


def test_timeouts_count_anew_once_a_hand_over_is_proven_not_sent(rig):
    (id_,) = rig.accept("491@c.us")
    rig.resolve()
    claim = rig.claimed()
    for _ in range(9):
        rig.now += 11
        rig.do(outbox.overdue, rig.fence, now=rig.now, send_timeout=10, generation="g1", synced_at=rig.now - 1000)
    rig.reconciled(claim, "absent")
    assert rig.state(id_) is M.QUEUED
    rig.claimed()
    rig.now += 11
    rig.do(outbox.overdue, rig.fence, now=rig.now, send_timeout=10, generation="g1", synced_at=rig.now - 1000)
    assert rig.state(id_) is M.UNCONFIRMED, "one send timeout, not the tenth"


def test_an_unconfirmed_message_keeps_its_chat_busy_until_an_ack(rig):
    (id_,) = rig.accept("491@c.us")
    rig.accept("491@c.us")
    rig.resolve()
    claim = rig.claimed()
    rig.sent_not(claim, Unconfirmed("session_closed", "Session closed. Most likely the page has been closed."))
    assert rig.state(id_) is M.UNCONFIRMED
    assert rig.claim() is None
    assert rig.ack(claim.key.hex)
    (attempt,) = rig.get(id_).attempts
    assert (attempt.outcome, attempt.code) == ("sent", "session_closed")
    assert attempt.error == "Session closed. Most likely the page has been closed."
    assert rig.claimed()


def test_proof_that_comes_late_still_settles_an_unconfirmed_message(rig):
    (id_,) = rig.accept("491@c.us")
    rig.resolve()
    claim = rig.claimed()
    rig.sent_not(claim, Unconfirmed("deadline"))
    assert rig.sent_not(claim, NotSent("refused"))
    assert rig.state(id_) is M.QUEUED


def test_the_way_out_of_a_claim_is_guarded(rig):
    rig.accept("491@c.us")
    rig.resolve()
    first = rig.claimed()
    rig.sent_not(first, NotSent("x"), delay=0)
    second = rig.claimed()
    assert not rig.sent_not(first, Rejected("late news of the first attempt"))
    assert rig.ack(second.key.hex)
    assert not rig.sent_not(second, NotSent("the ack was faster"))
    assert rig.state(second.message) is M.SENT


def test_a_fenced_host_changes_nothing(rig):
    rig.accept("491@c.us")
    rig.resolve()
    claim, old = rig.claimed(), rig.fence
    rig.new_host()
    assert rig.state(claim.message) is M.UNCONFIRMED
    assert rig.get(claim.message).attempts[0].code == "host_gone"
    new, rig.fence = rig.fence, old
    for attempt in (
        rig.claim,
        lambda: rig.sent_not(claim, NotSent("x")),
        lambda: rig.ack(claim.key.hex),
        lambda: rig.nack(claim.key.hex, NotSent("x")),
        lambda: rig.reconciled(claim, "absent"),
        lambda: rig.do(outbox.placed, old, rowid=claim.rowid, attempt=1, now=rig.now),
        lambda: rig.do(outbox.overdue, old, now=rig.now, send_timeout=1),
        lambda: rig.do(sessions.set_state, old, state=S.DEGRADED, now=rig.now),
        lambda: rig.do(recipients.stale, old, recipient=claim.recipient),
    ):
        with pytest.raises(sessions.Fenced):
            attempt()
    rig.fence = new
    assert rig.state(claim.message) is M.UNCONFIRMED


def test_acks_skip_forward_and_never_go_back(rig):
    (id_,) = rig.accept("491@c.us")
    rig.resolve()
    hex_ = rig.claimed().key.hex
    assert not rig.ack(hex_, 0)
    assert rig.ack(hex_, 3)
    assert not rig.ack(hex_, 2)
    assert rig.state(id_) is M.READ
    assert rig.ack(hex_, 4)
    assert not rig.ack(hex_, 4)
    assert not rig.ack("3EB0UNKNOWN", 1)
    for state in ("sent", "delivered", "read", "played"):
        assert counters.value(rig.conn, "messages_total", {"session": "default", "state": state}) == 1, "a skipped state was reached"


@pytest.mark.parametrize("state", ["queued", "cancelled", "failed", "expired", "unconfirmed", "sending"])
def test_an_ack_reaches_a_message_in_any_state(rig, state):
    (id_,) = rig.accept("491@c.us", ttl=500)
    rig.resolve()
    claim = rig.claimed()
    errors = {"sending": None, "unconfirmed": Unconfirmed("x"), "failed": Rejected("x")}
    if error := errors.get(state, NotSent("x")):  # proven not sent, it seemed
        rig.sent_not(claim, error)
    if state == "cancelled":
        rig.do(outbox.cancel, id=id_, now=rig.now)
    elif state == "expired":
        rig.now += 1000
        rig.do(outbox.expire, now=rig.now)
    assert rig.state(id_).word == state
    assert rig.ack(claim.key.hex, 2)
    assert rig.state(id_) is M.DELIVERED


def test_a_nack_gives_a_new_id_and_the_old_one_still_finds_the_message(rig):
    (id_,) = rig.accept("491@c.us")
    rig.resolve()
    old = rig.claimed().key.hex
    assert rig.nack(old, NotSent("nack_500"), delay=0)
    assert rig.state(id_) is M.QUEUED
    assert not rig.nack(old, NotSent("nack_500")), "heard twice"
    new = rig.claimed().key.hex
    assert new != old
    assert rig.ack(old), "a receipt says that it went out after all"
    assert rig.state(id_) is M.SENT
    assert [a.outcome for a in rig.get(id_).attempts] == ["sent", None]


def test_a_nack_after_an_ack_says_nothing(rig):
    (id_,) = rig.accept("491@c.us")
    rig.resolve()
    hex_ = rig.claimed().key.hex
    rig.ack(hex_)
    assert not rig.nack(hex_, NotSent("nack"))
    assert rig.state(id_) is M.SENT and rig.hex(id_) == hex_


def test_a_nack_of_an_unknown_outcome_makes_it_known(rig):
    (id_,) = rig.accept("491@c.us")
    rig.resolve()
    claim = rig.claimed()
    rig.sent_not(claim, Unconfirmed("x"))
    rig.reconciled(claim, "lost")
    assert rig.get(id_).reason == "outcome_unknown"
    assert rig.nack(claim.key.hex, NotSent("nack"))
    assert (rig.state(id_), rig.get(id_).reason) == (M.FAILED, "attempts")
    rig.do(outbox.requeue, id=id_, now=rig.now)
    assert rig.claimed().key.hex != claim.key.hex


def test_a_restriction_holds_back_new_chats_counts_no_attempt_and_lets_others_go_on(rig):
    rig.send_one("490@c.us")
    (new,) = rig.accept("491@c.us")
    rig.resolve()
    rig.nack(rig.claimed().key.hex, Restricted("nack_463", until=rig.now + 100), delay=0)
    assert rig.state(new) is M.QUEUED and rig.get(new).attempts_counted == 0
    assert rig.claim() is None
    assert rig.reason() == "account_restricted"
    (old,) = rig.accept("490@c.us")
    assert rig.claimed().message == old
    assert outbox.next_due(rig.conn, session="default", now=rig.now) == sessions.get(rig.conn, "default").restricted_until
    rig.now += 100
    assert rig.claimed().message == new


def test_one_message_tries_whether_a_restriction_has_ended(rig):
    rig.accept("491@c.us", "492@c.us", "493@c.us")
    rig.resolve()
    together = [rig.claimed(), rig.claimed()]
    for claim in together:
        rig.nack(claim.key.hex, Restricted("nack_463"), delay=0)
    for guess in (60, 120, 240):
        until = sessions.get(rig.conn, "default").restricted_until
        assert until == pytest.approx(rig.now + guess, abs=5), "those refused together count once"
        rig.now = until - 5
        assert rig.claim() is None
        rig.now = until
        probe = rig.claimed()
        assert rig.claim() is None and rig.reason() == "account_restricted", "one at a time"
        assert outbox.next_due(rig.conn, session="default", now=rig.now) is None
        rig.nack(probe.key.hex, Restricted("nack_463"), delay=0)
    rig.now = sessions.get(rig.conn, "default").restricted_until
    rig.ack(rig.claimed().key.hex)
    row = sessions.get(rig.conn, "default")
    assert (row.restricted_until, row.restrictions) == (None, 0)
    assert rig.claimed() and rig.claimed(), "it has ended: all go on"


def test_a_restriction_of_everything_stops_everything(rig):
    rig.send_one("490@c.us")
    rig.accept("490@c.us")
    rig.sent_not(rig.claimed(), Restricted("banned", everything=True), delay=0)
    assert rig.claim() is None and rig.reason() == "account_restricted"
    rig.now += sessions.RESTRICTION_GUESS
    assert rig.claim()


def test_nothing_is_claimed_unless_ready_resumed_and_linked(rig):
    rig.accept("491@c.us")
    rig.resolve()
    rig.do(sessions.set_state, rig.fence, state=S.DEGRADED, now=rig.now)
    assert rig.claim() is None and rig.reason() == "session_not_ready"
    rig.do(sessions.set_state, rig.fence, state=S.READY, now=rig.now)
    rig.do(sessions.pause, "default", rig.now)
    assert rig.claim() is None and rig.reason() == "paused"
    rig.do(sessions.resume, "default", rig.now)
    rig.do(sessions.unlinked, rig.fence, now=rig.now)
    assert rig.claim() is None and rig.reason() == "session_not_ready"
    rig.link(ME)
    assert rig.reason() == "rate_limited"
    assert rig.claim()


def test_a_cap_on_new_chats_lets_those_with_history_go_on(rig):
    rig.send_one("490@c.us")
    rig.accept("491@c.us")
    (known,) = rig.accept("490@c.us")
    rig.resolve()
    assert rig.claimed(new_chats=False).message == known
    assert rig.claim(new_chats=False) is None
    assert rig.claim()


def test_so_many_hand_overs_may_wait_for_acks(rig):
    rig.accept(*[f"49{n}@c.us" for n in range(4)])
    rig.resolve()
    claims = [rig.claimed(unacked_limit=3) for _ in range(3)]
    assert rig.claim(unacked_limit=3) is None
    assert outbox.unacked(rig.conn, session="default") == outbox.Unacked(3, claims[0].claimed_at, None, False)
    rig.ack(claims[0].key.hex)
    assert rig.claim(unacked_limit=3)


def test_silent_chats_are_those_with_an_overdue_message_since_the_last_ack(rig):
    rig.accept("491@c.us", "492@c.us", "493@c.us")
    rig.resolve()
    claims = [rig.claimed() for _ in range(3)]
    silent = lambda: outbox.unacked(rig.conn, session="default").silent  # noqa: E731
    assert silent() == 0, "none is overdue yet"
    rig.now += 6
    rig.do(outbox.overdue, rig.fence, now=rig.now, send_timeout=5)
    assert silent() == 3
    rig.ack(claims[0].key.hex)
    assert silent() == 0, "what was handed over before the last ack says nothing of the session"


def test_what_nobody_acks_is_told_from_one_odd_message(rig):
    def unacked():
        return outbox.unacked(rig.conn, session="default")

    def overdue(generation):
        return rig.do(outbox.overdue, rig.fence, now=rig.now, send_timeout=5, generation=generation, synced_at=0.0)

    rig.accept("491@c.us", "492@c.us")
    rig.resolve()
    odd, other = rig.claimed(), rig.claimed()
    rig.now += 1
    rig.ack(other.key.hex)
    assert unacked() == outbox.Unacked(1, odd.claimed_at, rig.now, False), "older than the last ack"
    rig.now += 1
    rig.accept("493@c.us")
    rig.resolve()
    late = rig.claimed()
    assert unacked().oldest == late.claimed_at, "the one that was handed over since counts"
    for generation in ("g1", "g2"):
        rig.now += 6
        overdue(generation)
    assert rig.state(late.message) is M.FAILED
    assert unacked() == outbox.Unacked(0, None, unacked().last_ack_at, True)
    rig.send_one("494@c.us")
    assert not unacked().given_up, "an ack shows that messages go out again"


def test_illegal_transitions_raise(rig):
    (id_,) = rig.accept("491@c.us")
    row = transitions.row_of(rig.conn, rig.get(id_).rowid)
    with pytest.raises(IllegalTransition):
        rig.do(transitions.move, row, M.UNCONFIRMED, now=rig.now)
    rig.do(outbox.cancel, id=id_, now=rig.now)
    with pytest.raises(IllegalTransition, match="not queued any more"):
        rig.do(transitions.move, row, M.SENDING, now=rig.now)
    with pytest.raises(IllegalTransition):
        rig.do(transitions.move_many, [row], M.EXPIRED, now=rig.now)
    rig.check()


def test_lanes_can_be_rebuilt_and_a_wrong_one_is_seen(rig):
    rig.accept("491@c.us", "492@c.us", "492@c.us")
    rig.conn.execute("UPDATE lane SET due = due + 1 WHERE recipient = 1")
    rig.conn.execute("DELETE FROM lane WHERE recipient = 2")
    assert len(lanes.check(rig.conn)) == 3
    assert rig.do(lanes.rebuild) == 2
    rig.check()


def test_the_times_of_sending_are_observed(rig):
    (id_,) = rig.accept("491@c.us", send_at=rig.now + 500)
    rig.resolve()
    rig.now += 501
    claim = rig.claimed()
    rig.ack(claim.key.hex)
    assert counters.value(rig.conn, "send_seconds_sum", {"session": "default"}) == pytest.approx(rig.now - rig.get(id_).send_at)
    _, histograms = counters.read(rig.conn)
    (sent,) = [h for h in histograms if h.name == "send_seconds"]
    assert sent.buckets[-1] == (float("inf"), 1) and sent.buckets[0][1] == 0
    assert sessions.get(rig.conn, "default").last_sent_at == rig.now
    assert outbox.queue_status(rig.conn, now=rig.now).rate == pytest.approx(1 / 300)
