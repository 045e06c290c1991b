"""What a message is and how its state may change. Pure: no I/O and no clock.

The states and their transitions are data; `store/outbox.py` carries each of them out as one
guarded statement. Errors of a hand-over are types that carry the decision.
"""

from __future__ import annotations

import enum
import secrets
from dataclasses import dataclass

from gateway.pauses import doubling


class State(enum.IntEnum):
    """Where a message stands. The numbers are stored; those below 10 have work left."""

    QUEUED = 0  #: waiting, in back-off (due), scheduled (send_at) or held
    SENDING = 1  #: claimed: written ahead, perhaps handed to the page
    UNCONFIRMED = 2  #: handed over and no proof of either outcome; to be reconciled
    SENT = 10  #: WhatsApp's server acked it (ack 1)
    DELIVERED = 11  #: a device of the recipient has it (ack 2)
    READ = 12  #: read (ack 3)
    PLAYED = 13  #: voice or video played (ack 4)
    FAILED = 20  #: dead letter, with a reason; readable and requeueable
    CANCELLED = 21  #: taken back by the caller before it went out
    EXPIRED = 22  #: its ttl passed before it went out

    @property
    def word(self) -> str:
        """The name that the API shows."""
        return self.name.lower()


OPEN = frozenset({State.QUEUED, State.SENDING, State.UNCONFIRMED})
ACKED = frozenset({State.SENT, State.DELIVERED, State.READ, State.PLAYED})
DEAD = frozenset({State.FAILED, State.CANCELLED, State.EXPIRED})

#: old state → states that may follow. An ack may skip forward and reach a message in *any* state.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.SENDING, State.CANCELLED, State.EXPIRED, State.FAILED}) | ACKED,
    State.SENDING: frozenset({State.UNCONFIRMED, State.QUEUED, State.FAILED}) | ACKED,
    State.UNCONFIRMED: frozenset({State.QUEUED, State.FAILED}) | ACKED,
    State.SENT: frozenset({State.DELIVERED, State.READ, State.PLAYED}),
    State.DELIVERED: frozenset({State.READ, State.PLAYED}),
    State.READ: frozenset({State.PLAYED}),
    State.PLAYED: frozenset(),
    State.FAILED: frozenset({State.QUEUED}) | ACKED,
    State.CANCELLED: frozenset({State.QUEUED}) | ACKED,
    State.EXPIRED: frozenset({State.QUEUED}) | ACKED,
}


class IllegalTransition(Exception):
    """A bug: a transition that the table does not know. Raised in tests, counted in production."""


def allowed(old: State, new: State) -> bool:
    """Whether `new` may follow `old`."""
    return new in TRANSITIONS[old]


def state_of_ack(ack: int) -> State | None:
    """The state that an ack of WhatsApp (1 server, 2 device, 3 read, 4 played) moves a message to; None below 1."""
    return {1: State.SENT, 2: State.DELIVERED, 3: State.READ, 4: State.PLAYED}.get(min(ack, 4))


class Reason(enum.StrEnum):
    """Why a message is a dead letter, or waits."""

    # final
    REJECTED = "rejected"  #: WhatsApp or wa-js refuses it; repeating changes nothing
    CONTACT_BLOCKED = "contact_blocked"  #: we have blocked the recipient
    NOT_AN_ADMIN = "not_an_admin"  #: only admins write in this group, and we are none
    RECIPIENT_NOT_ON_WHATSAPP = "recipient_not_on_whatsapp"
    NOT_A_MEMBER = "not_a_member"  #: the group exists, and our account does not belong to it
    GROUP_UNKNOWN = "group_unknown"  #: WhatsApp knows no such group
    LOOK_UP_FAILED = "look_up_failed"  #: WhatsApp answers look-ups of others, and never the one of this recipient
    ATTEMPTS = "attempts"  #: proven not sent, GATEWAY_MAX_ATTEMPTS times
    OUTCOME_UNKNOWN = "outcome_unknown"  #: WhatsApp's own memory of it is gone: held and said, never guessed
    # waiting (head-of-line reasons of /api/queue-status)
    RATE_LIMITED = "rate_limited"
    SESSION_NOT_READY = "session_not_ready"
    RETRY_BACKOFF = "retry_backoff"
    RESOLVING = "resolving"
    SCHEDULED = "scheduled"
    PAUSED = "paused"
    ACCOUNT_RESTRICTED = "account_restricted"
    OTHER_ACCOUNT = "other_account"
    RESTORED = "restored"
    IN_FLIGHT = "in_flight"  #: an earlier message of the same chat has no outcome yet


#: Hand-overs proven not sent that count no attempt, of one message since it was queued; further ones count: about a quarter of an hour.
SPARED = 20
#: Seconds before a hand-over that counted no attempt is tried again: first, and at most.
SPARED_PAUSE, SPARED_PAUSE_MOST = 0.5, 60.0


def spared_pause(before: int) -> float:
    """Seconds until the next try after a hand-over that counted no attempt; `before`: how many of those there were before it."""
    return doubling(before + 1, first=SPARED_PAUSE, largest=SPARED_PAUSE_MOST)


class HandOverError(Exception):
    """What became of a hand-over that did not end in `placed`; the subclass is the decision.

    `code` is a short stable word for records and metrics, `str(error)` the text it came with.
    """

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(text or code)
        self.code = code


class Rejected(HandOverError):
    """Never retry: the same call would be refused again.

    `reason` is what the dead letter says. `handed`: WhatsApp's own code had the message when it refused it, so its id is used up.
    """

    def __init__(self, code: str, text: str = "", *, reason: Reason = Reason.REJECTED, handed: bool = False) -> None:
        super().__init__(code, text)
        self.reason = reason
        self.handed = handed


class NotSent(HandOverError):
    """Proven not sent: retry with back-off.

    `counted` is False where the message itself was not at fault (the chat's remote had changed): such a hand-over
    counts no attempt, unless it is one of more than SPARED in a row. `page`: the reason lies in host, page or account
    (the document was fenced), which end no message however often.
    """

    def __init__(self, code: str, text: str = "", *, counted: bool = True, page: bool = False) -> None:
        super().__init__(code, text)
        self.counted, self.page = counted and not page, page


class Unconfirmed(HandOverError):
    """Nobody knows: reconcile before anything else goes to that chat."""


class Restricted(HandOverError):
    """WhatsApp limits the account (nack 463): nothing failed, no attempt is counted.

    `until` is wall-clock seconds or None where WhatsApp did not say; `everything` is False while
    chats with history go on.
    """

    def __init__(self, code: str, text: str = "", *, until: float | None = None, everything: bool = False) -> None:
        super().__init__(code, text)
        self.until = until
        self.everything = everything


#: nack code → what it means for the message (FACTS of the field: 463 is a reach-out timelock of the account).
RESTRICTING_NACKS = frozenset({463})
#: codes after which the same stanza would be refused again: 400 bad request, 404 no such recipient, 405, 406, 413 too large.
REJECTING_NACKS = frozenset({400, 404, 405, 406, 413})


def error_of_nack(code: int | None, refusal: Reason | None = None) -> HandOverError:
    """The decision behind ack −1 with that nack code, and with what the page says of a refusal.

    An unknown or missing code without a refusal is NotSent: a nack proves that nothing went out.
    """
    word = f"nack_{code}" if code is not None else "nack"
    if code in RESTRICTING_NACKS:
        return Restricted(word, f"WhatsApp limits this account (nack {code})")
    if refusal is not None:
        return Rejected(refusal.value, f"WhatsApp refuses this message ({refusal}; {word})", reason=refusal, handed=True)
    if code in REJECTING_NACKS:
        return Rejected(word, f"WhatsApp refuses this message (nack {code})")
    return NotSent(word, f"WhatsApp's server did not take the message ({word})")


def new_hex(dice: bytes | None = None) -> str:
    """The hex part of a WhatsApp message id: 3EB0 and 18 random hex digits, as WhatsApp Web makes them. `dice` are 9 random bytes."""
    return "3EB0" + (dice or secrets.token_bytes(9)).hex().upper()


def new_id(now: float, dice: bytes | None = None) -> str:
    """A message's public id: msg_, 12 hex digits of `now` (wall clock, in milliseconds) and 12 random ones. `dice` are 6 random bytes.

    Ids grow with time, so that their index grows at its end: at random places each message would cost a page of WAL more.
    """
    return f"msg_{int(now * 1000):012x}{(dice or secrets.token_bytes(6)).hex()}"


@dataclass(frozen=True, slots=True)
class Key:
    """WhatsApp's full key of a message of ours: `true_<remote>_<hex>[_<participant>]`."""

    remote: str
    hex: str
    participant: str | None = None

    def __str__(self) -> str:
        tail = f"_{self.participant}" if self.participant else ""
        return f"true_{self.remote}_{self.hex}{tail}"

    @classmethod
    def parse(cls, text: str) -> Key:
        """The inverse of str(). Raises ValueError for a key that is not ours or not a key."""
        match text.split("_"):
            case ["true", remote, hex_] if remote and hex_:
                return cls(remote, hex_)
            case ["true", remote, hex_, participant] if remote and hex_ and participant:
                return cls(remote, hex_, participant)
        raise ValueError(f"not the key of a message of ours: {text!r}")


def backoff(attempt: int, *, first: float, largest: float, random: float) -> float:
    """Seconds until the next try after `attempt` (1, 2, …) failed: capped exponential with jitter.

    `random` in [0, 1) is the caller's dice. The result lies between half of and the whole of
    min(largest, first · 2^(attempt−1)).
    """
    return doubling(attempt, first=first, largest=largest) * (0.5 + random / 2)
