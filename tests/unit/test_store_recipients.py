"""Recipients: all spellings of one chat are one lane."""

from __future__ import annotations

import pytest
from store_rig import Rig

from gateway.message import NotSent, Unconfirmed
from gateway.message import State as M
from gateway.store import outbox, recipients
from gateway.store.recipients import Known


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


def todo(rig):
    return {u.address: u.recipient for u in recipients.unresolved(rig.conn, session="default", now=rig.now, limit=99)}


def test_only_recipients_with_work_are_looked_up_the_oldest_first_and_bounded(rig):
    a, b = rig.accept("491@c.us")[0], rig.accept("492@c.us")[0]
    rig.accept("493@c.us")
    rig.do(outbox.cancel, id=a, now=rig.now)
    assert list(todo(rig)) == ["492@c.us", "493@c.us"]
    assert [u.address for u in recipients.unresolved(rig.conn, session="default", now=rig.now, limit=1)] == ["492@c.us"]
    rig.do(outbox.cancel, id=b, now=rig.now)
    assert list(todo(rig)) == ["493@c.us"]


def test_a_look_up_without_an_answer_is_asked_again_later_and_counts_no_attempt(rig):
    (id_,) = rig.accept("491@c.us")
    rig.do(recipients.postponed, rig.fence, recipient=todo(rig)["491@c.us"], until=rig.now + 10)
    rig.check()
    assert todo(rig) == {} and rig.reason() == "resolving"
    rig.now += 10
    assert list(todo(rig)) == ["491@c.us"]
    assert rig.get(id_).attempts_counted == 0


def test_another_spelling_of_a_known_recipient_joins_its_lane_in_order(rig):
    """Accepted in turns under two spellings; once both are known to be one, the turns are kept."""
    by_pn, by_lid = "491@c.us", "77@lid"
    ids = [rig.accept(address)[0] for address in (by_pn, by_lid, by_pn, by_lid)]
    known = rig.resolved(todo(rig)[by_pn], by_pn)
    first = rig.claimed()
    assert first.message == ids[0]
    assert rig.resolved(todo(rig)[by_lid], by_pn, lid=by_lid) == known
    assert rig.claim() is None, "busy, for one of the two was"
    rig.ack(first.key.hex)
    sent = [ids[0]]
    for _ in range(3):
        claim = rig.claimed()
        assert claim.remote == by_lid
        sent.append(claim.message)
        rig.ack(claim.key.hex)
    assert sent == ids
    assert outbox.list_(rig.conn, recipient=by_lid).messages == outbox.list_(rig.conn, recipient=by_pn).messages


def test_a_merge_takes_history_along(rig):
    rig.send_one("491@c.us")
    rig.accept("77@lid")
    rig.resolved(todo(rig)["77@lid"], "491@c.us", lid="77@lid")
    assert not rig.claimed().new_chat
    one, two = (recipients.look_up(rig.conn, session="default", address=a) for a in ("491@c.us", "77@lid"))
    assert one == two and one.known is Known.RESOLVED and (one.pn, one.lid, one.wa_id) == ("491@c.us", "77@lid", "491")
    assert recipients.look_up(rig.conn, session="default", address="492@c.us") is None


def test_three_recipients_that_are_one_become_one(rig):
    """Both spellings were looked up before WhatsApp told that they belong together."""
    rig.accept("491@c.us", "77@lid", "4901@c.us")
    found = todo(rig)
    rig.resolved(found["491@c.us"], "491@c.us")
    rig.resolved(found["77@lid"], "77@lid")
    rig.resolved(found["4901@c.us"], "491@c.us", lid="77@lid")
    assert rig.conn.execute("SELECT count(*) FROM recipient").fetchone()[0] == 1
    assert rig.conn.execute("SELECT count(DISTINCT recipient) FROM alias").fetchone()[0] == 1
    assert rig.claim() and rig.claim() is None


def test_a_stale_recipient_is_looked_up_anew_before_anything_goes_to_it(rig):
    rig.accept("491@c.us")
    rig.resolve()
    claim = rig.claimed()
    rig.do(recipients.stale, rig.fence, recipient=claim.recipient)
    rig.sent_not(claim, NotSent("remote_changed", counted=False), delay=0)
    assert rig.claim() is None and todo(rig) == {"491@c.us": claim.recipient}
    rig.resolved(claim.recipient, "491@c.us", lid="77@lid")
    again = rig.claimed()
    assert (again.key.remote, again.key.hex) == ("77@lid", claim.key.hex)


def test_what_may_have_been_sent_stays_of_unknown_outcome_when_the_recipient_is_gone(rig):
    (id_,) = rig.accept("491@c.us")
    rig.resolve()
    claim = rig.claimed()
    rig.sent_not(claim, Unconfirmed("x"))
    rig.reconciled(claim, "lost")
    rig.do(outbox.requeue, id=id_, accept_duplicate=True, now=rig.now)
    rig.do(recipients.absent, rig.fence, recipient=claim.recipient, known=Known.NOT_ON_WHATSAPP, now=rig.now)
    rig.check()
    assert (rig.state(id_), rig.get(id_).reason) == (M.FAILED, "outcome_unknown")


def test_the_messages_of_one_recipient_fail_in_batches(rig):
    """All in one transaction kept others from the lock; a crash in between leaves the rest to the next look-up."""
    ids = rig.accept(*["491@c.us"] * (recipients.BATCH + 20))
    (one,) = recipients.unresolved(rig.conn, session="default", now=rig.now, limit=9)
    absent = {"recipient": one.recipient, "known": Known.NOT_ON_WHATSAPP, "now": rig.now}
    assert rig.do(recipients.absent, rig.fence, **absent) == recipients.BATCH
    rig.check()
    assert rig.claim() is None and todo(rig) == {"491@c.us": one.recipient}, "it is asked for again"
    assert rig.do(recipients.absent, rig.fence, **absent) == 20 and todo(rig) == {}
    assert {rig.get(id_).reason for id_ in ids} == {"recipient_not_on_whatsapp"}


def test_work_that_comes_back_to_somebody_who_is_gone_is_looked_up_at_once(rig):
    rig.accept("491@c.us", "491@c.us")
    rig.resolve()
    claim = rig.claimed()
    rig.do(recipients.absent, rig.fence, recipient=claim.recipient, known=Known.NOT_ON_WHATSAPP, now=rig.now)
    rig.sent_not(claim, NotSent("x"), delay=0)
    assert todo(rig) == {"491@c.us": claim.recipient}
    rig.do(recipients.postponed, rig.fence, recipient=claim.recipient, until=rig.now + 9)
    rig.check()
    assert todo(rig) == {}


@pytest.mark.parametrize(
    ("address", "known", "reason"),
    [
        ("491@c.us", Known.NOT_ON_WHATSAPP, "recipient_not_on_whatsapp"),
        ("120@g.us", Known.NOT_A_MEMBER, "not_a_member"),
        ("120@g.us", Known.GROUP_UNKNOWN, "group_unknown"),
    ],
)
def test_a_verdict_of_absence_holds_for_a_minute_and_then_one_look_up_serves_all_that_wait(rig, address, known, reason):
    """It was believed for a day, against what WhatsApp said meanwhile."""
    (first,) = rig.accept(address)
    recipient = todo(rig)[address]
    rig.do(recipients.absent, rig.fence, recipient=recipient, known=known, now=rig.now)
    rig.check()
    (second,) = rig.accept(address)
    assert [(rig.state(i), rig.get(i).reason) for i in (first, second)] == [(M.FAILED, reason)] * 2
    rig.now += recipients.BELIEVED
    ids = rig.accept(address, address)
    assert [rig.state(i) for i in ids] == [M.QUEUED] * 2 and rig.reason() == "resolving"
    (one,) = recipients.unresolved(rig.conn, session="default", now=rig.now, limit=9)
    assert (one.recipient, one.absent) == (recipient, True)
    rig.do(recipients.postponed, rig.fence, recipient=recipient, until=rig.now + 10)
    (fourth,) = rig.accept(address)
    assert rig.state(fourth) is M.QUEUED, "a look-up that failed makes an old verdict no younger"
    rig.resolved(recipient, address)
    assert rig.claimed().message == ids[0]


def test_a_requeued_message_is_looked_up_at_once(rig):
    (id_,) = rig.accept("491@c.us")
    recipient = todo(rig)["491@c.us"]
    rig.do(recipients.absent, rig.fence, recipient=recipient, known=Known.NOT_ON_WHATSAPP, now=rig.now)
    rig.do(outbox.requeue, id=id_, now=rig.now)
    rig.check()
    assert todo(rig) == {"491@c.us": recipient}


def test_a_verdict_from_the_future_or_of_last_week_proves_nothing(rig):
    rig.accept("491@c.us")
    recipient = todo(rig)["491@c.us"]
    rig.do(recipients.absent, rig.fence, recipient=recipient, known=Known.NOT_ON_WHATSAPP, now=rig.now + 3_600)
    (id_,) = rig.accept("491@c.us")
    assert rig.state(id_) is M.QUEUED, "the clock was an hour ahead"
    rig.now += 8 * 86_400
    (one,) = recipients.unresolved(rig.conn, session="default", now=rig.now, limit=9)
    assert not one.absent, "two look-ups have to agree anew"


def test_look_ups_that_never_succeed_end_and_what_comes_later_begins_anew(rig):
    (id_,) = rig.accept("491@c.us")
    recipient = todo(rig)["491@c.us"]
    done = rig.do(recipients.unanswered, rig.fence, recipient=recipient, again_at=rig.now + 60, now=rig.now)
    rig.check()
    assert (done, rig.get(id_).reason) == (1, "look_up_failed")
    (later,) = rig.accept("491@c.us")
    assert rig.state(later) is M.QUEUED and todo(rig) == {}
    rig.now += 60
    assert list(todo(rig)) == ["491@c.us"]
