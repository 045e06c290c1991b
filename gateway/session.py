"""What a session is, what is known about it, and when it is healthy. Pure: no I/O and no clock."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass, field, fields
from typing import Any

#: A fact older than this many seconds is bad (ARCHITECTURE, rule 6).
FRESH = 5.0
#: A round trip to the page must be answered within this many seconds.
ROUND_TRIP = 2.0


class State(enum.StrEnum):
    """Where a session stands; only `ready` claims messages."""

    STOPPED = "stopped"  #: the operator's will
    STARTING = "starting"  #: Chromium or the page is on its way up
    AWAITING_SCAN = "awaiting_scan"  #: a QR code is on show
    AWAITING_PASSKEY = "awaiting_passkey"  #: scanned; the account must confirm by passkey; no rung fires on it
    SYNCING = "syncing"  #: logged in, stores on their way
    READY = "ready"  #: synced, connected: claims
    DEGRADED = "degraded"  #: evidence is bad, no rung yet
    RECOVERING = "recovering"  #: a recovery is open
    QUARANTINED = "quarantined"  #: all rungs failed; retried with capped back-off, for ever
    LOGGED_OUT = "logged_out"  #: the phone unlinked us; the queue is held until someone links again


_LINKED = {State.SYNCING, State.READY, State.DEGRADED, State.RECOVERING}
#: old state → states that may follow. Any state may stop, and any may start anew: a host that
#: comes up knows nothing of what its predecessor saw (crash-only).
TRANSITIONS: dict[State, frozenset[State]] = {
    State.STOPPED: frozenset({State.STARTING}),
    State.STARTING: frozenset({State.AWAITING_SCAN, State.SYNCING, State.READY, State.RECOVERING, State.QUARANTINED, State.LOGGED_OUT}),
    State.AWAITING_SCAN: frozenset({State.AWAITING_PASSKEY, State.SYNCING, State.READY, State.RECOVERING}),
    State.AWAITING_PASSKEY: frozenset({State.SYNCING, State.AWAITING_SCAN, State.READY}),
    State.SYNCING: frozenset({State.READY, State.DEGRADED, State.RECOVERING, State.LOGGED_OUT, State.AWAITING_SCAN}),
    State.READY: frozenset({State.DEGRADED, State.RECOVERING, State.SYNCING, State.LOGGED_OUT, State.AWAITING_SCAN}),
    State.DEGRADED: frozenset({State.READY, State.RECOVERING, State.SYNCING, State.LOGGED_OUT, State.AWAITING_SCAN}),
    State.RECOVERING: frozenset({State.STARTING, State.QUARANTINED, State.READY, State.SYNCING, State.AWAITING_SCAN, State.LOGGED_OUT}),
    State.QUARANTINED: frozenset({State.RECOVERING, State.READY, State.SYNCING, State.AWAITING_SCAN}),
    State.LOGGED_OUT: frozenset({State.AWAITING_SCAN}),
}


def allowed(old: State, new: State) -> bool:
    """Whether `new` may follow `old`; every state may be stopped or started anew."""
    return new in (State.STOPPED, State.STARTING) or new in TRANSITIONS[old]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a host saw of its session, with times in seconds of the boot clock. It lies in the host's beat file."""

    session: str
    state: State
    epoch: int
    since: float  #: when this host, or this generation, came to be
    connected: bool = False  #: the host holds a websocket to its Chromium
    chromium_pid: int | None = None
    generation: str | None = None  #: random per document
    asked_at: float | None = None  #: when the round trip that is still open was begun; None if none is
    answered_at: float | None = None  #: when a round trip was answered last
    round_trip: float | None = None  #: seconds that the last answered one took
    missed: int = 0  #: round trips missed in a row
    crashed: bool = False  #: the page said that its renderer crashed
    page_errors: int = 0  #: uncaught exceptions of this document
    canary: str | None = "not asked"  #: None: passes by value; else what failed
    canary_failed_since: float | None = None
    socket: str | None = None  #: CONNECTED, OPENING, TIMEOUT, …
    socket_down_since: float | None = None
    stream_mode: str | None = None  #: QR, SYNCING, MAIN
    stream_info: str | None = None  #: NORMAL, …
    progressed_at: float | None = None  #: when state, socket, mode or info changed last
    account: str | None = None  #: the number that is logged in, as a wid
    expected_account: str | None = None  #: the account that the session belongs to
    oldest_unacked_at: float | None = None  #: oldest hand-over without an ack, counted from the later of hand-over and sync
    last_ack_at: float | None = None  #: when WhatsApp's server took a message last
    handed_over_at: float | None = None  #: the same hand-over, counted from itself: a document that is new has proven nothing
    given_up: bool = False  #: a message was given up after send timeouts, and no ack has come since
    synced_at: float | None = None  #: when this generation was synced
    memory_bytes: int | None = None  #: of all of its Chromium's processes
    pidfd_exit: bool = False  #: Chromium's process ended, its successor has not come yet
    restricted_until: float | None = None  #: wall clock
    detail: str | None = None  #: one sentence for people
    pace: list[dict[str, Any]] = field(default_factory=list)  #: how each cap stands (pacing.Use)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Evidence:
        """The inverse; unknown fields (a newer host) are ignored."""
        known = {one.name for one in fields(cls)}
        data = {k: v for k, v in data.items() if k in known}
        data["state"] = State(data["state"])
        return cls(**data)


def swallowed(e: Evidence, now: float, send_timeout: float) -> bool:
    """Whether the last thing known of our messages is that none was acked: a reload mends nothing until an ack proves it."""
    if e.given_up:
        return True
    at = e.handed_over_at
    return at is not None and now - at > send_timeout and (e.last_ack_at is None or e.last_ack_at < at)


def ill(e: Evidence, now: float, send_timeout: float) -> bool:
    """Whether WhatsApp swallows what we send: the oldest hand-over is older than the send timeout and no ack at all came since it."""
    if e.oldest_unacked_at is None or now - e.oldest_unacked_at <= send_timeout:
        return False
    return e.last_ack_at is None or e.last_ack_at < e.oldest_unacked_at


def complaints(e: Evidence | None, now: float, send_timeout: float) -> list[str]:
    """Each reason, as one sentence, why the session is not healthy at `now` (boot clock); an empty list means healthy.

    Only evidence counts: a fact older than FRESH seconds is bad, whatever it said.
    """
    if e is None:
        return ["the browser host gives no sign of life"]
    said: list[str] = []
    if not e.connected:
        said.append("the browser host has no connection to its Chromium")
    if e.answered_at is None or now - e.answered_at > FRESH:
        said.append("the page has not answered a round trip within 5 s")
    elif e.missed:
        said.append("the page missed its last round trip")
    if e.crashed:
        said.append("the page's renderer has crashed")
    if e.canary is not None:
        said.append(f"the injected library fails its canary: {e.canary}")
    if e.socket != "CONNECTED":
        said.append(f"WhatsApp's socket is {e.socket or 'unknown'}")
    if e.stream_mode != "MAIN" or e.stream_info != "NORMAL":
        said.append(f"WhatsApp Web's stream is {e.stream_mode or 'unknown'}/{e.stream_info or 'unknown'}")
    if e.account is None:
        said.append("no account is logged in")
    elif e.expected_account is not None and e.account != e.expected_account:
        said.append("another account is logged in than the session's")
    if e.state is not State.READY:
        said.append(f"the session is {e.state}")
    if ill(e, now, send_timeout):
        said.append("messages are handed over and no ack comes back")
    elif swallowed(e, now, send_timeout):
        said.append("WhatsApp acked nothing of what was handed over last; the next ack shows that messages go out again")
    return said
