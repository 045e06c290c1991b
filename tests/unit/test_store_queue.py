"""Cancel, clear, requeue, expire; holds and their release; the clock set back; retention."""

from __future__ import annotations

import pytest
from store_rig import ME, Rig

from gateway.message import NotSent, Rejected, Unconfirmed
from gateway.message import State as M
from gateway.store import database, lanes, maintenance, outbox, recipients, sessions
from gateway.store.outbox import Cleared, Conflict, Draft, NotFound, Released

OTHER = "4911@c.us"


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


def code(rig, verb, **arguments):
    with pytest.raises(Conflict) as error:
        rig.do(verb, now=rig.now, **arguments)
    return error.value.code


def test_a_queued_message_is_cancelled_and_can_be_requeued(rig):
    first, second = rig.accept("491@c.us", "491@c.us")
    rig.resolve()
    rig.do(outbox.cancel, id=first, now=rig.now)
    rig.check()
    assert rig.state(first) is M.CANCELLED
    assert code(rig, outbox.cancel, id=first) == "message_state"
    rig.now += 1
    rig.do(outbox.requeue, id=first, now=rig.now)
    rig.check()
    assert code(rig, outbox.requeue, id=first) == "message_state"
    claim = rig.claimed()
    assert claim.message == second, "a requeued message goes to the end of its chat"
    rig.ack(claim.key.hex)
    assert rig.claimed().message == first
    with pytest.raises(NotFound):
        rig.do(outbox.cancel, id="msg_x", now=rig.now)


def test_what_was_handed_over_is_not_cancelled(rig):
    (id_,) = rig.accept("491@c.us")
    rig.resolve()
    claim = rig.claimed()
    assert code(rig, outbox.cancel, id=id_) == "outcome_unknown"
    rig.sent_not(claim, Unconfirmed("x"))
    assert code(rig, outbox.cancel, id=id_) == "outcome_unknown"
    rig.sent_not(claim, NotSent("refused"))
    rig.do(outbox.cancel, id=id_, now=rig.now)
    assert rig.state(id_) is M.CANCELLED


def test_a_rejected_message_is_requeued_under_its_id_with_all_attempts_before_it(rig):
    (id_,) = rig.accept("491@c.us")
    rig.resolve()
    claim = rig.claimed()
    rig.sent_not(claim, Rejected("x"))
    rig.do(outbox.requeue, id=id_, now=rig.now)
    again = rig.claimed()
    assert (again.attempt, again.attempts, again.accept_duplicate, again.key) == (2, 0, False, claim.key)


def test_clear_tells_apart_what_the_rows_wait_for_and_leaves_the_unknown_alone(rig):
    waiting, scheduled, backoff, held, flying, unknown = rig.accept(*[f"49{n}@c.us" for n in range(6)])
    rig.resolve()
    rig.conn.execute("UPDATE outbox SET send_at = ?, due = ?, ord = ?, scheduled = 1 WHERE public = ?", (*[rig.now + 99] * 3, scheduled))
    rig.conn.execute("UPDATE outbox SET due = ? WHERE public = ?", (rig.now + 99, backoff))
    rig.conn.execute("UPDATE outbox SET hold = 'other_account' WHERE public = ?", (held,))
    rig.conn.execute("UPDATE outbox SET uncertain = 1 WHERE public = ?", (unknown,))
    rig.conn.execute("UPDATE outbox SET priority = 9 WHERE public = ?", (flying,))
    rig.do(lanes.rebuild)
    assert rig.claimed().message == flying

    def clear(*states, **more):
        done = rig.do(outbox.clear, states=states or None, now=rig.now, **more)
        rig.check()
        return done

    assert outbox.would_clear(rig.conn, now=rig.now) == Cleared(4, 1)
    assert clear("scheduled", "held") == Cleared(2, 0)
    assert {rig.state(i) for i in (scheduled, held)} == {M.CANCELLED}
    assert clear("backoff") == Cleared(1, 0)
    assert clear(session="other") == Cleared(0, 0)
    assert clear() == Cleared(1, 1)
    assert (rig.state(waiting), rig.state(flying), rig.state(unknown)) == (M.CANCELLED, M.SENDING, M.QUEUED)


def test_a_message_expires_only_while_it_waits(rig):
    waits, flies = rig.accept("491@c.us", "492@c.us", ttl=60)
    (later,) = rig.accept("493@c.us", ttl=60, send_at=rig.now + 100)
    rig.resolve()
    rig.conn.execute("UPDATE outbox SET priority = 9 WHERE public = ?", (flies,))
    rig.do(lanes.rebuild)
    assert rig.claimed().message == flies
    rig.now += 90
    assert rig.do(outbox.expire, now=rig.now) == 1
    rig.check()
    assert [rig.state(i) for i in (waits, flies, later)] == [M.EXPIRED, M.SENDING, M.QUEUED]
    rig.do(outbox.requeue, id=waits, now=rig.now)
    assert rig.do(outbox.expire, now=rig.now) == 0
    rig.now += 50
    assert rig.claimed().message == waits


def test_a_claim_takes_nothing_whose_ttl_has_passed(rig):
    old, new = rig.accept("491@c.us", ttl=5)[0], rig.accept("491@c.us")[0]
    rig.resolve()
    rig.now += 10
    assert rig.claimed().message == new
    assert rig.state(old) is M.EXPIRED


def in_batches(rig, operation, start, **more):
    """All batches of an operation; what each of them did, as numbers."""
    did, after = [], start
    while True:
        batch = rig.do(operation, after=after, limit=3, now=rig.now, **more)
        rig.check()
        did.append(batch)
        if batch.next is None:
            return did
        after = batch.next


def test_clear_goes_through_the_queue_in_batches_and_through_all_sessions(rig):
    rig.do(sessions.ensure, name="another", now=rig.now)
    rig.accept(*[f"49{n % 3}@c.us" for n in range(7)])
    rig.accept("491@c.us", "492@c.us", send_at=rig.now + 99)
    unknown = rig.accept("495@c.us")[0]
    rig.conn.execute("UPDATE outbox SET uncertain = 1 WHERE public = ?", (unknown,))
    would = outbox.would_clear(rig.conn, states=["waiting"], now=rig.now)
    did = in_batches(rig, outbox.clear, None, states=["waiting"])
    assert all(batch.cancelled + batch.outcome_unknown <= 3 for batch in did) and len(did) >= 4
    assert (sum(b.cancelled for b in did), sum(b.outcome_unknown for b in did)) == (7, 1) == (would.cancelled, would.outcome_unknown)
    assert sum(b.cancelled for b in in_batches(rig, outbox.clear, None, session="default")) == 2
    assert outbox.queue_status(rig.conn, now=rig.now, session="default").counts["queued"] == 1, "the unknown one"


@pytest.mark.parametrize("accept_duplicate", [True, False])
def test_release_goes_through_what_is_held_in_batches(rig, accept_duplicate):
    ids = rig.accept(*[f"49{n % 3}@c.us" for n in range(7)])
    rig.do(outbox.hold_restored, now=rig.now)
    rig.conn.execute("UPDATE outbox SET account = ? WHERE public = ?", (OTHER, ids[5]))
    would = outbox.would_release(rig.conn, hold="restored", accept_duplicate=accept_duplicate)
    did = in_batches(rig, outbox.release, 0, hold="restored", accept_duplicate=accept_duplicate)
    assert [b.released + b.asked for b in did] == [3, 3, 1]
    assert (sum(b.released for b in did), sum(b.asked for b in did)) == (would.released, would.asked)
    assert [rig.get(id_).hold for id_ in ids] == ([None] * 5 + ["other_account", None] if accept_duplicate else ["restored"] * 7), (
        "one belongs to another number"
    )


# -- whose message


def test_rows_accepted_before_any_login_belong_to_the_first_account(tmp_path):
    rig = Rig(tmp_path, ready=False)
    (id_,) = rig.accept("491@c.us")
    assert rig.get(id_).account is None
    rig.link(ME)
    rig.resolve()
    assert rig.claimed().message == id_
    assert rig.get(id_).account == ME


def test_rows_of_another_account_are_held_until_it_comes_back(rig):
    (mine,) = rig.accept("491@c.us")
    rig.do(sessions.unlinked, rig.fence, now=rig.now)
    (unlinked,) = rig.accept("491@c.us")
    rig.link(OTHER)
    rig.check()
    (theirs,) = rig.accept("491@c.us")
    rig.resolve()
    assert [rig.get(i).hold for i in (mine, unlinked, theirs)] == ["other_account", "other_account", None]
    assert outbox.queue_status(rig.conn, now=rig.now).held == {"other_account": 2}
    claim = rig.claimed()
    assert claim.message == theirs
    rig.ack(claim.key.hex)
    assert rig.claim() is None and rig.reason() == "other_account"
    rig.link(ME)
    rig.check()
    assert rig.claimed().message == mine


def holds_of(rig, ids):
    return [rig.get(id_).hold for id_ in ids]


def sort_on(rig, limit=3):
    """One batch; whether the queue is sorted."""
    before = rig.conn.execute("SELECT count(*) FROM event").fetchone()[0]
    done = rig.do(outbox.sort_queue, session="default", limit=limit, now=rig.now)
    rig.check()
    assert rig.conn.execute("SELECT count(*) FROM event").fetchone()[0] - before <= limit, "a batch is bounded"
    return done


def test_while_the_queue_is_sorted_nothing_is_claimed_and_others_are_accepted(rig):
    mine = rig.accept(*["491@c.us", "492@c.us"] * 5)
    rig.link(OTHER, limit=3)
    rig.resolve()
    rig.check()
    assert holds_of(rig, mine) == ["other_account"] * 3 + [None] * 7
    assert rig.claim() is None and rig.reason() == "session_not_ready"
    assert outbox.next_due(rig.conn, session="default", now=rig.now) is None, "no host tries over and over"
    theirs = rig.accept("491@c.us", "493@c.us")
    rig.conn.close()  # a crash in the middle
    rig.conn = database.open_database(rig.path)
    rig.new_host()
    rig.link(OTHER, limit=3)
    rounds = 1
    while not sort_on(rig):
        assert rig.claim() is None
        rounds += 1
    assert rounds == 3, "it goes on where it was"
    assert holds_of(rig, mine) == ["other_account"] * 10 and holds_of(rig, theirs) == [None] * 2
    rig.resolve()
    assert {rig.claimed().message, rig.claimed().message} == set(theirs) and rig.claim() is None
    assert sort_on(rig), "and once sorted there is nothing to do"


def test_the_account_that_comes_back_before_its_rows_were_all_held_gets_them_in_their_order(rig):
    mine = rig.accept(*["491@c.us"] * 8)
    rig.resolve()
    rig.link(OTHER, limit=5)
    assert holds_of(rig, mine).count("other_account") == 5
    rig.link(ME, limit=2)
    assert rig.claim() is None, "some of its earlier rows are still held"
    while not sort_on(rig):
        assert rig.claim() is None
    assert holds_of(rig, mine) == [None] * 8
    for id_ in mine:
        claim = rig.claimed()
        assert claim.message == id_
        rig.ack(claim.key.hex)


def test_what_was_accepted_before_any_login_is_the_first_accounts_although_another_came_meanwhile(tmp_path):
    rig = Rig(tmp_path, ready=False)
    ids = rig.accept(*["491@c.us"] * 6)
    rig.link(ME, limit=2)
    rig.link(OTHER, limit=2)
    while not sort_on(rig):
        pass
    rig.resolve()
    assert [rig.get(id_).account for id_ in ids] == [ME] * 6 and holds_of(rig, ids) == ["other_account"] * 6
    assert rig.claim() is None
    rig.link(ME)
    rig.resolve()
    assert rig.claimed().message == ids[0]


def test_release_gives_them_to_the_account_that_is_linked(rig):
    (mine,) = rig.accept("491@c.us")
    rig.link(OTHER)
    rig.resolve()
    assert outbox.would_release(rig.conn, hold="other_account") == Released(1, 0, 0)
    assert rig.do(outbox.release, hold="other_account", session="default", now=rig.now) == Released(1, 0, 0)
    rig.check()
    rig.resolve()
    assert rig.claimed().message == mine
    assert rig.get(mine).account == OTHER


def test_after_a_restore_everything_open_is_held_and_asked_for(rig):
    sent = rig.send_one("490@c.us")
    flying, unconfirmed, waiting = rig.accept("491@c.us", "492@c.us", "493@c.us")
    rig.resolve()
    first, second = rig.claimed(), rig.claimed()
    rig.sent_not(second, Unconfirmed("x"))
    assert rig.do(outbox.hold_restored, now=rig.now) == 3
    rig.check()
    assert rig.claim() is None and rig.reason() == "restored"
    assert rig.state(sent) is M.SENT
    assert [(rig.state(i), rig.get(i).hold) for i in (flying, unconfirmed, waiting)] == [(M.QUEUED, "restored")] * 3
    assert not any(p.held for p in rig.pending()), "nobody has asked for their release yet"

    assert rig.do(outbox.release, hold="restored", now=rig.now) == Released(0, 3, 3)
    pending = [p for p in rig.pending() if p.held]
    assert [p.message for p in pending] == [flying, unconfirmed, waiting]
    assert (pending[0].key, pending[2].key, pending[2].hex) == (first.key, None, rig.hex(waiting))
    assert rig.ack(first.key.hex), "found"
    for p in pending[1:]:
        assert rig.do(outbox.reconciled, rig.fence, rowid=p.rowid, attempt=p.attempt, verdict="absent", now=rig.now)
    assert not any(p.held for p in rig.pending())
    assert rig.claim() is None
    assert rig.do(outbox.expire, now=rig.now + 1e6) == 0

    assert rig.do(outbox.release, hold="restored", accept_duplicate=True, now=rig.now) == Released(2, 0, 0)
    rig.check()
    claims = [rig.claimed(), rig.claimed()]
    assert {c.message for c in claims} == {unconfirmed, waiting}
    assert all(c.accept_duplicate for c in claims)
    assert second.key in {c.key for c in claims}, "the same id"


def test_a_restored_row_that_was_cancelled_may_have_gone_out(rig):
    (id_,) = rig.accept("491@c.us")
    rig.do(outbox.hold_restored, now=rig.now)
    rig.do(outbox.cancel, id=id_, now=rig.now)
    assert code(rig, outbox.requeue, id=id_) == "outcome_unknown"


def test_what_is_restored_for_another_account_goes_from_one_hold_to_the_other(rig):
    (id_,) = rig.accept("491@c.us")
    rig.do(outbox.hold_restored, now=rig.now)
    rig.link(OTHER)
    assert rig.get(id_).hold == "restored"
    rig.do(outbox.release, hold="restored", accept_duplicate=True, now=rig.now)
    rig.check()
    assert rig.get(id_).hold == "other_account"


# -- time


def test_after_the_clock_was_set_back_no_back_off_lies_further_away_than_the_largest(rig):
    retried, plain, asked = rig.accept("491@c.us")[0], rig.accept("492@c.us")[0], rig.accept("493@c.us")[0]
    (scheduled,) = rig.accept("494@c.us", send_at=rig.now + 90_000)
    todo = {u.address: u.recipient for u in recipients.unresolved(rig.conn, session="default", now=rig.now, limit=9)}
    for address in ("491@c.us", "492@c.us", "494@c.us"):
        rig.resolved(todo[address], address)
    rig.sent_not(rig.claimed(), NotSent("x"), delay=300)
    rig.do(recipients.postponed, rig.fence, recipient=todo["493@c.us"], until=rig.now + 60)
    rig.now -= 7200
    assert rig.claim() is None
    assert rig.do(outbox.clamp_backoff, "default", rig.now, 300) >= 3
    rig.check()
    assert rig.do(outbox.clamp_backoff, "default", rig.now, 300) == 0
    assert {rig.claimed().message, rig.claimed().message} == {retried, plain}
    rig.resolve()
    assert rig.claimed().message == asked
    assert rig.claim() is None and rig.get(scheduled).due == rig.get(scheduled).send_at


def test_the_status_says_how_long_the_oldest_waits_and_why(rig):
    status = outbox.queue_status(rig.conn, now=rig.now)
    assert (status.reason, status.head, status.oldest_age, status.drain) == (None, None, None, None)
    (id_,) = rig.accept("491@c.us")
    rig.accept("492@c.us", send_at=rig.now + 5)
    rig.now += 30
    status = outbox.queue_status(rig.conn, now=rig.now)
    assert (status.reason, status.head, status.oldest_age) == ("resolving", id_, 31)
    rig.resolve()
    assert rig.reason() == "rate_limited"
    rig.accept("491@c.us")
    rig.claimed(), rig.claimed()
    assert rig.reason() == "in_flight"
    status = outbox.queue_status(rig.conn, now=rig.now)
    assert (status.in_flight, status.unconfirmed, status.counts["queued"]) == (2, 0, 1)


# -- retention


def test_what_ended_long_ago_goes_with_its_key_but_no_dead_letter_does(rig):
    draft = [Draft("default", "491@c.us", "text", {})] * 2
    taken = rig.do(outbox.accept, drafts=draft, scope="s", key="k", fingerprint=b"f", now=rig.now, queue_limit=9)
    rig.resolve()
    rig.ack(rig.claimed().key.hex, 3)
    failed = rig.claimed()
    rig.sent_not(failed, Rejected("x"))

    def prune(**more):
        gone = rig.do(maintenance.prune, now=rig.now, **more)
        rig.check()
        return gone

    rig.now += 6 * 86_400
    prune(keep=0)
    assert outbox.get(rig.conn, taken.ids[0]), "seven days at least"
    rig.now += 2 * 86_400
    assert prune(keep=0) >= 1
    assert outbox.get(rig.conn, taken.ids[0]) is None
    assert rig.state(taken.ids[1]) is M.FAILED
    assert outbox.repeated(rig.conn, scope="s", key="k", fingerprint=b"f"), "a key lives as long as any of its rows"
    rig.ack(failed.key.hex)
    rig.now += 8 * 86_400
    prune(keep=0)
    assert outbox.repeated(rig.conn, scope="s", key="k", fingerprint=b"f") is None


def test_a_pass_of_retention_is_bounded(rig):
    for _ in range(3):
        rig.send_one("491@c.us")
    rig.now += 100 * 86_400
    rig.do(maintenance.prune, now=rig.now, limit=2)
    assert len(outbox.list_(rig.conn).messages) == 1
    rig.check()
    assert maintenance.checkpoint(rig.conn)


def test_free_pages_go_back_to_the_file_system_so_many_at_a_time(rig):
    rig.conn.execute("INSERT INTO event(at, kind, data) VALUES (0, 'x', hex(zeroblob(100000)))")
    rig.do(maintenance.prune, now=rig.now, keep_events=0)
    free = rig.conn.execute("PRAGMA freelist_count").fetchone()[0]
    assert maintenance.vacuum(rig.conn, 10) == 10
    assert maintenance.vacuum(rig.conn, 10_000) == free - 10
    assert maintenance.vacuum(rig.conn) == 0
    assert rig.conn.execute("PRAGMA freelist_count").fetchone()[0] == 0
