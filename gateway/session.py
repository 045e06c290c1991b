"""What a session is, what is known about it, and when it is healthy. Pure: no I/O and no clock."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, fields
from typing import Any

#: A fact older than this many seconds is bad (ARCHITECTURE, rule 6).
FRESH = 5.0
#: A round trip to the page must be answered within this many seconds.
ROUND_TRIP = 2.0
#: Socket and stream mode of a page whose place another window has taken.
CONFLICT = "CONFLICT"


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


#: What the page of a living session may say: of one that is linked, and of one that is not or no longer.
_LINKED = {State.SYNCING, State.READY}
_UNLINKED = {State.AWAITING_SCAN, State.AWAITING_PASSKEY, State.LOGGED_OUT}
#: What the watchdog calls a session that it works on, or has given up for a while.
IN_CARE = frozenset({State.RECOVERING, State.QUARANTINED})
_SEEN = frozenset(_LINKED | _UNLINKED | IN_CARE)
#: old state → states that may follow; every state may also be stopped or started anew, as a host that comes up knows nothing
#: of what its predecessor saw (crash-only). A page can be in any situation when a host first sees it (a phone that scans within
#: a second, a passkey asked for while the host was being restarted), so what it says may follow whatever was known before.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.STOPPED: IN_CARE,  # what its page says counts once a host has started anew
    State.STARTING: _SEEN,
    State.AWAITING_SCAN: _SEEN,
    State.AWAITING_PASSKEY: _SEEN,
    State.LOGGED_OUT: _SEEN,
    State.SYNCING: _SEEN | {State.DEGRADED},
    State.READY: _SEEN | {State.DEGRADED},
    State.DEGRADED: _SEEN,
    State.RECOVERING: _SEEN | {State.DEGRADED},  # a recovery that failed
    State.QUARANTINED: _SEEN | {State.DEGRADED},
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
    given_up: bool = False  #: a message was given up after send timeouts, and neither an ack nor the server's answer has come since
    silent_chats: int = 0  #: chats with a hand-over that no ack has come for within the send timeout, and none for any other since
    server_answered_at: float | None = None  #: when WhatsApp's server last answered the question that is asked in doubt
    server_silent_at: float | None = None  #: when such a question went unanswered first, since that answer
    calling_since: float | None = None  #: begin of the oldest hand-over that wa-js has not ended, counted from the sync as well
    synced_at: float | None = None  #: when this generation was synced
    memory_bytes: int | None = None  #: of all of its Chromium's processes
    pidfd_exit: bool = False  #: Chromium's process ended, its successor has not come yet
    restricted_until: float | None = None  #: wall clock
    unlinked: bool = False  #: somebody was linked, and nobody is
    elsewhere_since: float | None = None  #: since when the document is not WhatsApp's: a blank or an error page
    unreachable: str | None = None  #: one sentence: why WhatsApp cannot be reached, as far as it is known
    forwarder_fails: bool = False  #: the process between Chromium and GATEWAY_PROXY ended or stands still
    dialogs: tuple[str, ...] = ()  #: headings of dialogs that lie over the page and are not known to us
    takeovers: int = 0  #: of our place, from other windows, within the last half hour
    detail: str | None = None  #: one sentence for people
    pace: list[dict[str, Any]] = field(default_factory=list)  #: how each cap stands (pacing.Use)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON. Not copied: asdict() walks through each value, and this is asked for each second."""
        return {name: getattr(self, name) for name in _FIELDS}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Evidence:
        """The inverse; unknown fields (a newer host) are ignored."""
        data = {k: v for k, v in data.items() if k in _FIELDS}
        data["state"] = State(data["state"])
        data["dialogs"] = tuple(data.get("dialogs", ()))
        return cls(**data)


_FIELDS = {one.name: None for one in fields(Evidence)}


#: Seconds for which an answer of WhatsApp's server vouches for the session: two questions in a row may fail.
VOUCHES = 75.0
#: Chats that may be silent at once while the server answers. One is that message's affair: a contact that is blocked, a stanza
#: that got lost; so many are a page that swallows what it is given.
SILENT_CHATS = 5
#: Seconds that the host has to ask the server, from half a send timeout on, where it begins to doubt.
ASKING = 5.0


def vouched(e: Evidence, since: float, now: float) -> bool:
    """Whether WhatsApp's server has answered us, lately and after `since`: then silence says something of a message alone."""
    at = e.server_answered_at
    return e.silent_chats < SILENT_CHATS and at is not None and at > since and now - at <= VOUCHES


def _unanswered(e: Evidence, at: float | None, now: float, send_timeout: float) -> bool:
    """Whether a hand-over of `at` has no ack within the send timeout, no other message has one since, and the server does not vouch."""
    if at is None or now - at <= send_timeout or (e.last_ack_at is not None and e.last_ack_at >= at) or vouched(e, at, now):
        return False
    asked = e.server_silent_at is not None and e.server_silent_at > at
    return asked or now - at > send_timeout / 2 + ASKING


def swallowed(e: Evidence, now: float, send_timeout: float) -> bool:
    """Whether the last thing known of our messages is that none was acked: a reload mends nothing until something proves it."""
    return e.given_up or _unanswered(e, e.handed_over_at, now, send_timeout)


def ill(e: Evidence, now: float, send_timeout: float) -> bool:
    """Whether WhatsApp swallows what we send: the oldest hand-over is older than the send timeout, no ack at all came since it,
    and WhatsApp's server does not answer a question either."""
    return _unanswered(e, e.oldest_unacked_at, now, send_timeout)


def hangs(e: Evidence, now: float, send_timeout: float) -> bool:
    """Whether a hand-over has been stuck in the page for longer than the send timeout, whatever becomes of the others."""
    return e.calling_since is not None and now - e.calling_since > send_timeout


#: How a person links a phone.
_SCAN = "scan the QR code (`gateway qr`, or GET /api/sessions/{}/qr; on the phone: Settings → Linked devices → Link a device)"
_PASSKEY = (
    "WhatsApp asks this account to confirm the scan with a passkey (a key that a phone or computer keeps for its owner, unlocked by "
    "fingerprint, face or PIN), which the browser here does not have, and this version cannot pass the question on to yours; "
    "some accounts are let in without it after their passkey was removed on the phone (Settings → Account → Passkeys): "
    'then load the page anew (POST /api/recover-session {"strategy": "reload_page"}) and scan again; what waits is kept'
)
#: WhatsApp Web takes some seconds to load; only then is it worth a word that it does not come.
_LOADS = 5.0


def situation(e: Evidence, now: float) -> str | None:
    """What keeps a page that answers from its work although nothing of ours is broken, and what to do about it; None: nothing does."""
    if e.elsewhere_since is not None and now - e.elsewhere_since > _LOADS:
        away = _ago(e.elsewhere_since, now)
        if e.unreachable is not None:
            return f"WhatsApp Web cannot be loaded, for {away} now: {e.unreachable}; it is tried again by itself"
        return (
            f"WhatsApp Web cannot be loaded: its server has been slow or out of reach for {away}; it is tried again by itself, "
            "nothing to do unless the network or GATEWAY_PROXY is at fault"
        )
    scan = _SCAN.format(e.session)
    if e.state is State.AWAITING_PASSKEY:
        return _PASSKEY
    if e.state is State.LOGGED_OUT or (e.state is State.AWAITING_SCAN and e.unlinked):
        return (
            f"this session was logged out, on the phone or here, or its browser lost the login: {scan}; "
            "what waits is kept, and goes out when the same account is linked"
        )
    if e.state is State.AWAITING_SCAN:
        return f"no phone is linked yet: {scan}"
    if CONFLICT in (e.socket, e.stream_mode):
        again = f"; {e.takeovers} times lately, so the same profile may run somewhere else: end that one" if e.takeovers > 1 else ""
        return f"WhatsApp Web is open in another window, which has taken our place; it is taken back by itself{again}"
    if e.account is not None and e.socket not in ("CONNECTED", None) and e.socket_down_since is not None:
        away = _ago(e.socket_down_since, now)
        if e.unreachable is not None:
            return f"WhatsApp is out of reach: the line has been down for {away}, as {e.unreachable}; it is opened again by itself"
        return f"WhatsApp is out of reach: the line has been down for {away}; it is opened again by itself, nothing to do"
    return None


def _ago(at: float, now: float) -> str:
    return f"{max(0.0, now - at):.0f} s"


def _broken(canary: str) -> str:
    return f"the injected library fails its canary: {canary}"


def _symptoms(e: Evidence) -> list[str]:
    """What of the page is not as it should be, where no situation explains it."""
    said = []
    if e.canary is not None:
        said.append(_broken(e.canary))
    if e.socket != "CONNECTED":
        said.append(f"WhatsApp's socket is {e.socket or 'unknown'}")
    if e.stream_mode != "MAIN" or e.stream_info != "NORMAL":
        said.append(f"WhatsApp Web's stream is {e.stream_mode or 'unknown'}/{e.stream_info or 'unknown'}")
    if e.account is None:
        said.append("no account is logged in")
    if e.state is not State.READY:
        said.append(f"the session is {e.state}")
    return said


def remarks(e: Evidence | None, now: float) -> list[str]:
    """What a person should know of a session that is healthy all the same: nothing here keeps messages from going out."""
    if e is None or e.answered_at is None or now - e.answered_at > FRESH:
        return []
    return [
        f"a dialog lies over WhatsApp Web's page: “{title}”; messages go out all the same, but WhatsApp may log out who never answers it: "
        f"look at it (GET /api/sessions/{e.session}/screenshot)"
        for title in e.dialogs
    ]


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
    told = None if said else situation(e, now)
    said += _symptoms(e) if told is None else [told]
    if told is not None and e.canary is not None and e.canary_failed_since is not None:
        said.append(_broken(e.canary))
    if e.account is not None and e.expected_account is not None and e.account != e.expected_account:
        said.append("another account is logged in than the session's")
    if hangs(e, now, send_timeout):
        said.append(f"a message's hand-over hangs in the page, for {_ago(e.calling_since or now, now)} now")
    if ill(e, now, send_timeout):
        said.append("messages are handed over and no ack comes back")
    elif swallowed(e, now, send_timeout):
        said.append("WhatsApp acked nothing of what was handed over last; an ack, or an answer of its server, shows that messages go out")
    return said
