"""In which state a session is, from what its page says. Pure; the keeper commits it."""

from __future__ import annotations

from gateway.browser.bridge import Report
from gateway.session import CONFLICT, State

#: States in which the session was working: bad evidence makes them degraded, not anew.
_IN_SERVICE = frozenset({State.READY, State.DEGRADED})
#: States that the watchdog gave: they stay until the page is well again.
_IN_CARE = frozenset({State.RECOVERING, State.QUARANTINED, State.DEGRADED})
#: States in which the phone may have scanned a moment ago: for as long as the page shows neither a QR code nor a login, they stay.
_SCANNED = frozenset({State.AWAITING_SCAN, State.AWAITING_PASSKEY})
#: Stream modes of a page that has its chats: it need not sync anew, only be connected again.
_SYNCED = frozenset({"MAIN", "OFFLINE", CONFLICT})


def decide(previous: State, r: Report | None, *, answers: bool, linked: bool, reconciled: bool, had_account: bool) -> State:
    """The state that follows `previous`.

    `r` None: no connection, or a document without the bridge. `linked`, `reconciled`: committed for this document.
    `had_account`: the store thinks that somebody is logged in.
    """
    if previous is State.STOPPED:
        return State.STARTING  # a host that lives was started
    if r is None:
        return _without_page(previous)
    if not answers:
        return State.DEGRADED if previous in _IN_SERVICE else previous
    if r.authenticated:
        return _logged_in(previous, r, linked and reconciled)
    if r.passkey or r.qr or r.mode == "QR":
        if had_account:
            return State.LOGGED_OUT
        return State.AWAITING_PASSKEY if r.passkey else State.AWAITING_SCAN
    if previous in _SCANNED:
        return previous
    return _without_page(previous)


def _without_page(previous: State) -> State:
    if previous is State.READY:
        return State.DEGRADED
    return previous if previous in _IN_CARE else State.STARTING


def _logged_in(previous: State, r: Report, settled: bool) -> State:
    well = r.ready and r.canary is None and (r.mode, r.info, r.socket) == ("MAIN", "NORMAL", "CONNECTED")
    if well:
        return State.READY if settled else State.SYNCING
    return State.DEGRADED if previous in _IN_SERVICE and r.mode in _SYNCED else State.SYNCING
