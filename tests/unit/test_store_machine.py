"""Any order of events, against a model: hypothesis looks for one in which a promise of PROTOCOL breaks.

The model knows what really went out: a stanza leaves when the page is given a claim, may be acked,
may be nacked, may never arrive at all. What it checks after each step is in the invariants.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from store_rig import Rig

from gateway.message import ACKED, DEAD, NotSent, Rejected, Restricted, State, Unconfirmed, allowed
from gateway.store import outbox, recipients
from gateway.store.errors import Conflict
from gateway.store.recipients import Known

#: two spellings of one person, another person, a group
ADDRESSES = ["491@c.us", "77@lid", "492@c.us", "1203@g.us"]
PERSON = {"491@c.us": "491@c.us", "77@lid": "491@c.us", "492@c.us": "492@c.us", "1203@g.us": "1203@g.us"}
TIMEOUT = 120.0

pick = st.integers(min_value=0, max_value=10**6)


class Outbox(RuleBasedStateMachine):
    """The host, the page, WhatsApp and impatient people, one step at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.rig = Rig(Path(self.directory.name))
        self.claims: list[outbox.Claim] = []  # all that were ever given out
        self.out: dict[str, str] = {}  # hex → id of what may have reached WhatsApp
        self.acked: dict[str, int] = {}  # id → highest ack told
        self.nacked: set[str] = set()  # hexes
        self.duplicates: set[str] = set()  # ids that somebody accepted a duplicate of
        self.seen = 0  # of the event log
        self.states: dict[str, State] = {}
        self.generation = 1

    def teardown(self) -> None:
        self.rig.conn.close()
        self.directory.cleanup()

    # -- people

    @initialize()
    def begin(self) -> None:
        self.rig.accept("491@c.us", "77@lid", "491@c.us", "492@c.us")
        self.rig.resolve()

    @rule(
        which=st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=3),
        priority=st.sampled_from([0, 0, 5]),
        delay=st.sampled_from([None, None, 50, 5000]),
        ttl=st.sampled_from([None, None, 100]),
    )
    def accept(self, which: list[str], priority: int, delay: float | None, ttl: float | None) -> None:
        self.rig.accept(*which, priority=priority, send_at=None if delay is None else self.rig.now + delay, ttl=ttl)

    @precondition(lambda self: self.claims)
    @rule(n=pick)
    def cancel(self, n: int) -> None:
        self.tried(outbox.cancel, id=self.message(n))

    @precondition(lambda self: self.dead())
    @rule(n=pick, accept_duplicate=st.booleans())
    def requeue(self, n: int, accept_duplicate: bool) -> None:
        id_ = self.dead()[n % len(self.dead())]
        if self.tried(outbox.requeue, id=id_, accept_duplicate=accept_duplicate) and accept_duplicate:
            self.duplicates.add(id_)

    @rule(what=st.sampled_from(["release", "release", "clear", "restore", "link"]), flag=st.booleans())
    def upset(self, what: str, flag: bool) -> None:
        """What happens to all of the queue at once."""
        rig = self.rig
        if what == "clear":
            rig.do(outbox.clear, now=rig.now, states=["waiting"] if flag else ["held", "scheduled"])
        elif what == "restore":
            rig.do(outbox.hold_restored, now=rig.now)
        elif what == "link":
            rig.link("4911@c.us" if flag else "4900@c.us", limit=2)
        else:
            held = [m.id for m in outbox.list_(rig.conn, limit=999).messages if m.hold]
            for hold in ("restored", "other_account"):
                rig.do(outbox.release, hold=hold, accept_duplicate=flag, now=rig.now)
            self.duplicates.update(held if flag else [])

    # -- the host

    @rule()
    def sort(self) -> None:
        """Another number was linked: the queue is sorted in small batches, by whatever process comes to it."""
        self.rig.do(outbox.sort_queue, session="default", limit=3, now=self.rig.now)

    @rule(n=pick, answer=st.sampled_from(["known"] * 8 + ["postponed", "unknown"]))
    def look_up(self, n: int, answer: str) -> None:
        rig = self.rig
        for one in recipients.unresolved(rig.conn, session="default", now=rig.now, limit=9):
            if recipients.get(rig.conn, one.recipient) is None:
                continue  # it was merged a moment ago
            if answer == "postponed":
                rig.do(recipients.postponed, rig.fence, recipient=one.recipient, until=rig.now + 30)
            elif answer == "unknown":
                rig.do(recipients.absent, rig.fence, recipient=one.recipient, known=Known.NOT_ON_WHATSAPP, now=rig.now)
            elif PERSON[one.address] == "491@c.us" and n % 2:
                rig.resolved(one.recipient, "491@c.us", lid="77@lid")  # WhatsApp tells both spellings
            else:
                rig.resolved(one.recipient, one.address)

    @rule()
    def claim_and_hand_over(self) -> None:
        before = len(self.claims)
        self.claim()
        if len(self.claims) > before:
            self.hand_over(0, "placed")

    @rule()
    def claim_and_ack(self) -> None:
        before = len(self.claims)
        self.claim_and_hand_over()
        if len(self.claims) > before:
            self.rig.ack(self.claims[-1].key.hex)
            self.acked[self.claims[-1].message] = 1

    @rule(gap=st.sampled_from([0.0, 0.0, 4.0]))
    def claim(self, gap: float = 0.0) -> None:
        rig = self.rig
        busy = {r[0] for r in rig.conn.execute("SELECT recipient FROM outbox WHERE state IN (1, 2)")}
        found = rig.claim(chat_interval=gap)
        if found is None:
            return
        assert found.recipient not in busy, "two of one chat in flight"
        linked = rig.conn.execute("SELECT account FROM session").fetchone()[0]
        assert rig.get(found.message).account == linked, "another account's message"
        first = rig.conn.execute(
            "SELECT public FROM outbox WHERE recipient = ? AND (state = 0 AND hold IS NULL OR id = ?) ORDER BY ord, id",
            (found.recipient, found.rowid),
        ).fetchone()
        assert first[0] == found.message, "out of order"
        assert found.message not in self.acked, "claimed although WhatsApp has it"
        assert found.key.hex not in self.nacked
        if found.key.hex in self.out:  # it went out under this id before, perhaps
            assert found.accept_duplicate and found.message in self.duplicates, "sent twice"
        self.claims.append(found)

    @precondition(lambda self: self.claims)
    @rule(n=pick, what=st.sampled_from(["out", "not_sent", "rejected", "restricted", "uncounted", "unconfirmed"]))
    def hand_over(self, n: int, what: str) -> None:
        """The last claims are handed over; older ones get answers that come much too late."""
        claim, rig = self.claims[-1 - n % min(3, len(self.claims))], self.rig
        mine = rig.get(claim.message)
        now = mine.attempts[-1].number == claim.attempt and mine.state in (State.SENDING, State.UNCONFIRMED)
        if what in ("out", "placed"):
            if now and rig.fence.epoch == mine.attempts[-1].epoch:  # the ledger refuses what is of an older epoch
                self.out[claim.key.hex] = claim.message
                if what == "placed":
                    rig.do(outbox.placed, rig.fence, rowid=claim.rowid, attempt=claim.attempt, now=rig.now)
            return
        if claim.key.hex in self.out and what != "unconfirmed":
            return  # the bridge does not say of what it placed that it did not
        error = {
            "not_sent": NotSent("x"),
            "uncounted": NotSent("x", counted=False),
            "rejected": Rejected("x"),
            "restricted": Restricted("x", until=rig.now + 20),
            "unconfirmed": Unconfirmed("x"),
        }[what]
        assert rig.sent_not(claim, error) == now

    @precondition(lambda self: set(self.out) - self.nacked)
    @rule(ack=st.sampled_from([1, 1, 2, 3]), n=pick)
    def ack(self, ack: int, n: int) -> None:
        hexes = [h for h in self.out if h not in self.nacked]
        hex_ = hexes[n % len(hexes)]
        self.rig.ack(hex_, ack)
        self.acked[self.out[hex_]] = max(ack, self.acked.get(self.out[hex_], 0))

    @precondition(lambda self: self.nackable())
    @rule(n=pick, rejected=st.booleans())
    def nack(self, n: int, rejected: bool) -> None:
        hex_ = self.nackable()[n % len(self.nackable())]
        self.rig.nack(hex_, Rejected("nack_400") if rejected else NotSent("nack_500"))
        self.nacked.add(hex_)

    @rule()
    def new_host(self) -> None:
        self.rig.new_host()

    @rule(n=pick)
    def reconcile(self, n: int) -> None:
        """The page knows what went out, unless its store has lost it; nothing of an older document still runs."""
        rig = self.rig
        for pending in outbox.to_reconcile(rig.conn, session="default", now=rig.now):
            if pending.state is State.SENDING or pending.state >= State.SENT:
                continue
            verdict = "lost" if n % 2 and not pending.held else "waiting" if pending.hex in self.out else "absent"
            rig.do(outbox.reconciled, rig.fence, rowid=pending.rowid, attempt=pending.attempt, verdict=verdict, now=rig.now)

    @rule(n=pick)
    def stale(self, n: int) -> None:
        found = self.rig.conn.execute("SELECT id FROM recipient WHERE state = 1").fetchall()
        if found:
            self.rig.do(recipients.stale, self.rig.fence, recipient=found[n % len(found)][0])

    # -- time

    @rule(seconds=st.sampled_from([1.0, 15.0, 15.0, 60.0, 130.0, 4000.0, -500.0]), new_document=st.booleans())
    def time(self, seconds: float, new_document: bool) -> None:
        rig = self.rig
        rig.now += seconds
        self.generation += new_document
        below = rig.do(outbox.set_right, "default", now=rig.now, limit=3)
        while below is not None and new_document:  # else it is cut off in the middle
            below = rig.do(outbox.set_right, "default", now=rig.now, limit=3, below=below)
        rig.do(outbox.expire, now=rig.now)
        rig.do(outbox.overdue, rig.fence, now=rig.now, send_timeout=TIMEOUT, generation=f"g{self.generation}", synced_at=rig.now - 200)

    # -- what must hold

    @invariant()
    def lanes_and_counters_are_what_they_derive_from(self) -> None:
        self.rig.check()

    @invariant()
    def every_change_of_state_was_legal_and_is_in_the_log(self) -> None:
        rows = self.rig.conn.execute(
            "SELECT e.id, e.kind, e.data, o.public FROM event e JOIN outbox o ON o.id = e.message WHERE e.id > ? ORDER BY e.id",
            (self.seen,),
        ).fetchall()
        words = {s.word: s for s in State}
        for row in rows:
            self.seen = row["id"]
            word = row["kind"].removeprefix("message.")
            if word not in words:
                continue
            new, old = words[word], self.states.get(row["public"])
            assert new is State.QUEUED if old is None else allowed(old, new) and json.loads(row["data"])["from"] == old.word
            self.states[row["public"]] = new
        found = {r[0]: State(r[1]) for r in self.rig.conn.execute("SELECT public, state FROM outbox")}
        assert found == self.states

    @invariant()
    def what_whatsapp_acked_is_sent_and_stays_so(self) -> None:
        for id_ in self.acked:
            assert self.states.get(id_, State.SENT) in ACKED

    @invariant()
    def one_id_until_a_nack(self) -> None:
        for claim in self.claims:
            hexes = {c.key.hex for c in self.claims if c.message == claim.message}
            assert len(hexes - self.nacked) <= 1

    @invariant()
    def what_may_have_gone_out_is_never_said_to_be_cancelled_or_expired(self) -> None:
        for hex_, id_ in self.out.items():
            if hex_ not in self.nacked and id_ not in self.duplicates:
                assert self.states[id_] not in (State.CANCELLED, State.EXPIRED)

    # -- helpers (ids are random: nothing may depend on their order)

    def dead(self) -> list[str]:
        return sorted((id_ for id_, state in self.states.items() if state in DEAD), key=lambda id_: self.states[id_] is not State.FAILED)

    def nackable(self) -> list[str]:
        return [h for h, id_ in self.out.items() if h not in self.nacked and id_ not in self.acked]

    def message(self, n: int) -> str:
        ids = [r[0] for r in self.rig.conn.execute("SELECT public FROM outbox ORDER BY id")]
        return str(ids[n % len(ids)])

    def tried(self, verb, **arguments) -> bool:
        """Whether the store did it; a refusal is fine, it has a reason."""
        try:
            self.rig.do(verb, now=self.rig.now, **arguments)
        except Conflict as error:
            assert error.code in ("outcome_unknown", "message_state")
            return False
        return True


TestOutbox = pytest.mark.timeout(120)(Outbox.TestCase)
TestOutbox.settings = settings(
    max_examples=20, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
