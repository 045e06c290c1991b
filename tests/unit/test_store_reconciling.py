"""What nobody knows is asked for, and said where it cannot be known."""

from __future__ import annotations

import pytest
from store_rig import Rig

from gateway.message import NotSent, Unconfirmed
from gateway.message import State as M
from gateway.store import counters, outbox
from gateway.store.outbox import Conflict


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


def unconfirmed(rig, address="491@c.us"):
    rig.accept(address)
    rig.resolve()
    claim = rig.claimed()
    rig.sent_not(claim, Unconfirmed("deadline"))
    return claim


def test_what_has_no_outcome_is_asked_for_first_however_old_then_what_ended_within_a_day(rig):
    old = unconfirmed(rig)
    rig.now += 100 * 86_400
    sent = rig.send_one("492@c.us")
    rig.accept("493@c.us", "494@c.us")
    rig.resolve()
    lost, sending = rig.claimed(), rig.claimed()
    rig.sent_not(lost, Unconfirmed("x"))
    rig.reconciled(lost, "lost")
    assert [p.message for p in rig.pending()] == [old.message, sending.message, lost.message, sent]
    rig.now += 86_500
    assert [p.message for p in rig.pending()] == [old.message, sending.message]


def test_the_page_may_forget_what_is_settled_and_nothing_else(rig):
    ids = {name: unconfirmed(rig, f"49{n}@c.us").key.hex for n, name in enumerate(("open", "acked", "nacked", "lost"), 1)}
    rig.ack(ids["acked"])
    rig.nack(ids["nacked"], NotSent("nack_500"))
    (lost,) = [p for p in rig.pending() if p.hex == ids["lost"]]
    rig.do(outbox.reconciled, rig.fence, rowid=lost.rowid, attempt=lost.attempt, verdict="lost", now=rig.now)
    asked = [*ids.values(), "3EB0DELETED"]
    assert outbox.settled(rig.conn, session="default", hexes=asked) == [*asked[1:]]
    assert outbox.settled(rig.conn, session="default", hexes=[]) == []


def test_a_pending_row_says_all_that_the_decision_needs(rig):
    (id_,) = rig.accept("491@c.us")
    recipient = rig.conn.execute("SELECT recipient FROM outbox").fetchone()[0]
    rig.resolved(recipient, "491@c.us", lid="77@lid")
    claim = rig.claimed()
    rig.new_host()
    (pending,) = rig.pending()
    assert (pending.message, pending.state, pending.key, pending.attempt) == (id_, M.UNCONFIRMED, claim.key, 1)
    assert (pending.remote, pending.pn, pending.lid, pending.group) == ("77@lid", "491@c.us", "77@lid", False)
    assert (pending.epoch, pending.generation, pending.incarnation, pending.placed) == (1, "g1", "i1", False)


def test_the_witness_is_the_newest_acked_message_of_the_chat_else_of_the_session(rig):
    claim = unconfirmed(rig)
    assert rig.pending()[0].witness is None, "nothing was acked yet"
    rig.ack(claim.key.hex)
    first = claim.key
    elsewhere = unconfirmed(rig, "492@c.us")
    assert rig.pending()[0].witness.key == first, "of another chat, as its own has none"
    rig.ack(elsewhere.key.hex)
    rig.now += 1
    here = unconfirmed(rig)
    assert [p.witness.key for p in rig.pending() if p.message == here.message] == [first], "of its own chat"
    assert all(p.witness is None for p in rig.pending() if p.message != here.message), "what has an outcome needs none"


def test_documents_that_died_under_a_message_are_counted_and_hosts_are_not(rig):
    (id_,) = rig.accept("491@c.us")
    rig.resolve()
    rowid = rig.get(id_).rowid
    ends = [("g1", "page_gone"), ("g2", "deadline"), ("g3", "host_gone"), ("g4", "not_found"), ("g5", "page_gone"), ("g5", "page_gone")]
    for generation, code in ends:
        rig.generation = generation
        claim = rig.claimed()
        rig.sent_not(claim, Unconfirmed(code))
        rig.reconciled(claim, "absent")
    assert outbox.deaths(rig.conn, rowid=rowid, generation="g6") == 3
    assert outbox.deaths(rig.conn, rowid=rowid, generation="g5") == 2, "the present one lives"
    claim = rig.claimed()
    rig.sent_not(claim, Unconfirmed("page_gone"))
    rig.reconciled(claim, "absent", counted=True, max_attempts=1)
    assert (rig.state(id_), rig.get(id_).reason) == (M.FAILED, "attempts")


def test_absent_means_the_same_id_again(rig):
    claim = unconfirmed(rig)
    assert rig.reconciled(claim, "absent")
    again = rig.claimed()
    assert (again.key, again.attempt, again.attempts) == (claim.key, 2, 0)
    assert not rig.reconciled(claim, "absent"), "late"
    assert rig.state(claim.message) is M.SENDING


def test_absent_may_count_as_an_attempt(rig):
    claim = unconfirmed(rig)
    rig.reconciled(claim, "absent", counted=True, max_attempts=1)
    assert (rig.state(claim.message), rig.get(claim.message).reason) == (M.FAILED, "attempts")


def test_lost_is_said_counted_and_undone_by_a_late_receipt(rig):
    claim = unconfirmed(rig)
    (after,) = rig.accept("491@c.us")
    rig.reconciled(claim, "lost")
    assert (rig.state(claim.message), rig.get(claim.message).reason) == (M.FAILED, "outcome_unknown")
    assert counters.value(rig.conn, "outcome_unknown_total", {"session": "default"}) == 1
    assert rig.claimed().message == after, "its chat goes on"
    assert rig.ack(claim.key.hex, 2)
    assert rig.get(claim.message).reason is None


def test_waiting_changes_nothing(rig):
    claim = unconfirmed(rig)
    assert rig.reconciled(claim, "waiting")
    assert rig.state(claim.message) is M.UNCONFIRMED


def test_an_unknown_outcome_is_requeued_only_with_accept_duplicate_and_is_asked_for_first(rig):
    claim = unconfirmed(rig)
    rig.reconciled(claim, "lost")
    with pytest.raises(Conflict) as error:
        rig.do(outbox.requeue, id=claim.message, now=rig.now)
    assert error.value.code == "outcome_unknown"
    rig.do(outbox.requeue, id=claim.message, accept_duplicate=True, now=rig.now)
    with pytest.raises(Conflict) as error:
        rig.do(outbox.cancel, id=claim.message, now=rig.now)
    assert error.value.code == "outcome_unknown"
    again = rig.claimed()
    assert again.accept_duplicate and again.key == claim.key
    rig.sent_not(again, NotSent("not_placed"), max_attempts=1)
    with pytest.raises(Conflict, match="sent already"):  # this call did not send it; what went before may have
        rig.do(outbox.requeue, id=claim.message, now=rig.now)


def test_a_send_timeout_makes_unconfirmed_and_never_drops(rig):
    rig.accept("491@c.us")
    rig.resolve()
    claim = rig.claimed()
    rig.now += 120
    assert rig.do(outbox.overdue, rig.fence, now=rig.now, send_timeout=120).unconfirmed == []
    rig.now += 1
    assert rig.do(outbox.overdue, rig.fence, now=rig.now, send_timeout=120).unconfirmed == [claim.message]
    assert rig.do(outbox.overdue, rig.fence, now=rig.now, send_timeout=120).unconfirmed == []
    rig.check()
    assert rig.state(claim.message) is M.UNCONFIRMED


def time_out(rig, synced_at):
    rig.now += 121
    done = rig.do(outbox.overdue, rig.fence, now=rig.now, send_timeout=120, generation=rig.generation, synced_at=synced_at)
    rig.check()
    return done.failed


def test_unacked_for_a_send_timeout_in_each_of_two_generations_is_given_up(rig):
    rig.accept("491@c.us")
    rig.resolve()
    claim, synced = rig.claimed(), rig.now
    for _ in range(3):
        assert time_out(rig, synced) == []
    rig.generation, synced = "g2", rig.now + 100  # the next one is synced 100 s later: its time counts from there
    assert time_out(rig, synced) == []
    assert time_out(rig, synced) == [claim.message]
    assert (rig.state(claim.message), rig.get(claim.message).reason) == (M.FAILED, "outcome_unknown")


def test_ten_send_timeouts_in_one_generation_are_enough(rig):
    rig.accept("491@c.us")
    rig.resolve()
    claim, synced = rig.claimed(), rig.now
    for _ in range(9):
        assert time_out(rig, synced) == []
    assert time_out(rig, synced) == [claim.message]


def test_a_clock_set_back_starts_the_timeout_anew(rig):
    rig.accept("491@c.us")
    rig.resolve()
    claim = rig.claimed()
    rig.now -= 1000
    assert rig.do(outbox.overdue, rig.fence, now=rig.now, send_timeout=120) == outbox.Overdue([], [])
    rig.now += 121
    assert rig.do(outbox.overdue, rig.fence, now=rig.now, send_timeout=120).unconfirmed == [claim.message]
