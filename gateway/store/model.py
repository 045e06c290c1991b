"""What the store gives and takes: plain frozen values, times in wall-clock seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.message import Key, State


class Draft(NamedTuple):
    """A message as the API hands it over; `address` is normalized (…@c.us, …@g.us, …@lid).

    A tuple, as it is made for each message accepted: a frozen dataclass takes three times as long to make.
    """

    session: str
    address: str
    type: str
    content: dict[str, Any]
    priority: int = 0  #: 0–9; 9 goes first
    send_at: float | None = None
    ttl: float | None = None  #: seconds that it may wait, counted from the later of acceptance and send_at
    callback_data: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to one accepted request; `repeated` if its idempotency key had been used before."""

    ids: list[str]
    repeated: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """A message that the host may hand over now, written ahead.

    `attempts` counts the hand-overs of it that are proven not sent (for the back-off: the next is
    attempts + 1). `accept_duplicate`: someone requeued or released it past an unknown outcome:
    ask the page for its key first, and hand it over, although the ledger may know its id, only
    if it is not there.
    """

    message: str
    rowid: int
    attempt: int  #: number of this attempt, 1, 2, …
    attempts: int
    key: Key
    type: str
    content: dict[str, Any]
    recipient: int
    address: str  #: as the caller gave it, normalized
    remote: str
    pn: str | None
    lid: str | None
    new_chat: bool  #: no history with this chat
    accept_duplicate: bool
    accepted: float
    claimed_at: float


@dataclass(frozen=True, slots=True)
class Witness:
    """A message that WhatsApp's server acked before another one was claimed: the newest of that chat, else of the session.

    A page that finds it has read its store: what it does not find then is not there.
    """

    key: Key
    generation: str
    incarnation: str


@dataclass(frozen=True, slots=True)
class Pending:
    """A message whose outcome the host shall ask the page for (PROTOCOL, Reconciling).

    `key` is the full key of the last attempt; `hexes` are all ids that the row ever had, newest
    first. `held` rows are queued with hold `restored` and someone asked to release them: they
    become sent if found, and stay held otherwise.
    """

    rowid: int
    message: str
    state: State
    reason: str | None
    attempt: int
    attempts: int
    key: Key | None  #: None for a held row that was never handed over
    hex: str
    recipient: int
    address: str
    remote: str | None
    pn: str | None
    lid: str | None
    group: bool
    participant: str | None
    placed: bool  #: `placed` is committed for its last attempt
    epoch: int
    generation: str | None
    incarnation: str | None
    claimed_at: float | None
    timeouts: int
    held: bool
    witness: Witness | None = None  #: of sending and unconfirmed rows


@dataclass(frozen=True, slots=True)
class Overdue:
    """What `overdue` changed: rows now unconfirmed, and rows given up as failed(outcome_unknown); public ids."""

    unconfirmed: list[str]
    failed: list[str]


@dataclass(frozen=True, slots=True)
class Unacked:
    """Hand-overs without an outcome; times are wall-clock seconds."""

    count: int
    #: the oldest that was handed over after the last ack; if there is none of those, the oldest at all
    oldest: float | None
    last_ack_at: float | None  #: WhatsApp's server acked a message of the session last
    given_up: bool  #: one handed over since then was given up after send timeouts
    silent: int = 0  #: chats with an unconfirmed message that was handed over since the last ack


@dataclass(frozen=True, slots=True)
class AttemptView:
    """One hand-over; `outcome` is sent, not_sent, rejected, restricted, unconfirmed, lost or None while it is open."""

    number: int
    key: str
    epoch: int
    generation: str
    incarnation: str
    claimed_at: float
    placed_at: float | None
    ended_at: float | None
    outcome: str | None
    code: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Transition:
    """One line of a message's history."""

    state: str
    at: float
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class MessageView:
    """A message as it is shown. `attempts` and `transitions` are filled by `get`, not by `list_`."""

    id: str
    rowid: int
    session: str
    address: str
    recipient_wa_id: str | None
    account: str | None
    type: str
    content: dict[str, Any]
    callback_data: str | None
    priority: int
    accepted: float
    send_at: float | None
    ttl: float | None
    expires_at: float | None
    due: float
    state: State
    state_since: float
    hold: str | None
    reason: str | None
    error: str | None
    wa_id: str | None  #: the full WhatsApp key of the last attempt
    attempts_counted: int
    attempts: list[AttemptView] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list, newest first; `cursor` gets the next one, None at the end."""

    messages: list[MessageView]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """The queue of one session, or of all together. Ages and rates in seconds and per second."""

    counts: dict[str, int]  #: by state word, all states
    held: dict[str, int]  #: of the queued ones, by hold
    oldest_age: float | None  #: of the queued message that waits longest; scheduled ones count from send_at
    head: str | None  #: the message that goes next
    reason: str | None  #: why it waits (message.Reason); None if nothing waits
    reason_until: float | None  #: when that ends, where known
    cap: str | None  #: the setting that holds it back, where the reason is rate_limited and it is known
    last_sent_at: float | None
    rate: float  #: messages sent per second over the last five minutes
    drain: float | None  #: seconds until the queue is empty at that rate and within the caps; None if unknown
    in_flight: int  #: sending
    unconfirmed: int


@dataclass(frozen=True, slots=True)
class Waits:
    """How long a session's queued messages wait, in seconds; what /metrics shows, at the same cost whatever the queue holds."""

    oldest: float | None  #: since the oldest was accepted, or since its send_at; held and paused ones count
    due: float | None  #: the longest that one could have gone by now; None if none could: see reading.waits
    restricted: bool  #: WhatsApp limits the account, as far as is known


@dataclass(frozen=True, slots=True)
class Released:
    """What a release did: rows let go, rows that the host will ask for first, rows that stay held.

    `next`: go on behind that row, in a transaction of its own; None: that was all.
    """

    released: int
    asked: int
    held: int
    next: int | None = None
