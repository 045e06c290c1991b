"""What is wrong with a session, and which rung fits: from evidence, process facts and the time. Pure.

Nothing is found for what no rung mends, or what is no illness at all: a network outage beyond a
reconnect, a QR code on show, a passkey that is awaited, a sync that makes progress, an account that
was logged out, a locked database, a full disk.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from gateway.session import CONFLICT, FRESH, ROUND_TRIP, Evidence, State, hangs, ill
from gateway.supervision import Program, ProgramState

#: A host has this many seconds from its process's start to its first beat.
HOST_START = 5.0
#: Chromium has this many from its start to its first round trip (0.35 s alone; a cold, loaded machine takes longer).
CHROMIUM_START = 20.0
#: A sync, or a page's start, that changed nothing for this many seconds has stalled.
STALLED = 120.0
#: A canary may fail this long while wa-js puts itself together again (its own quiet time is 0.75 s).
CANARY_GRACE = 3.0
#: How the bridge's canary begins where Chromium closed the page's database under it: only a new document helps.
STORAGE_LOST = "storage lost"
#: WhatsApp Web reconnects by itself within seconds; only then do we ask it to.
SOCKET_GRACE = 10.0
#: Above the memory limit Chromium is relaunched when nothing is in flight; above this many times the limit, at once.
MEMORY_URGENT = 1.25
#: supervisord tries again by itself (BACKOFF), or has given up (FATAL): no kill helps, but the ladder counts it.
KEEPS_ENDING = frozenset({ProgramState.BACKOFF, ProgramState.FATAL})
#: Stream modes of a page that has its chats and only lacks the line.
KEEPS_CHATS = frozenset({"MAIN", "OFFLINE"})
#: States in which only a person with a phone helps.
UNLINKED = frozenset({State.AWAITING_SCAN, State.AWAITING_PASSKEY, State.LOGGED_OUT})


class Rung(enum.StrEnum):
    """The steps of the ladder, gentlest first. The order is the ladder's."""

    NUDGE = "nudge"  #: reconnect the socket, replace the bridge
    RELOAD_PAGE = "reload_page"
    RESPAWN_HOST = "respawn_host"
    RELAUNCH_CHROMIUM = "relaunch_chromium"
    RESPAWN_BOTH = "respawn_both"
    QUARANTINE = "quarantine"  #: hands off, alert, try again later

    @property
    def height(self) -> int:
        """0 for the gentlest."""
        return list(Rung).index(self)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something is wrong: the cause (a stable word), the rung to begin with, the highest that may be tried for it."""

    cause: str
    rung: Rung
    ceiling: Rung = Rung.QUARANTINE
    ended: bool = False  #: the process died by itself and is being restarted: the first rung is done already
    certain: bool = False  #: on a process that came up after the last rung it is a fault of its own, not the old one in vain


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of a session at `now` (boot clock)."""

    now: float
    host: Program | None
    chromium: Program | None
    beat_at: float | None  #: when this host (its pid, no predecessor's) beat last
    evidence: Evidence | None  #: from that beat
    chromium_stopped: bool = False  #: its leader stands still by a signal
    refused: str | None = None  #: the launcher's sentence, if it refuses to start Chromium
    desired_down: bool = False  #: the operator stopped the session
    send_timeout: float = 120.0
    memory_limit: int = 0  #: bytes; 0 = none
    woke_at: float = float("-inf")  #: when the watchdog ran again after it stood still: no time before counts as anybody's
    room: bool = True  #: the disk has room for a page to work

    @property
    def seen_at(self) -> float:
        """When the evidence was gathered. What is older by now than by then is the host's silence, and no fault of its page."""
        return self.now if self.beat_at is None else min(self.now, self.beat_at)

    @property
    def hands_off(self) -> bool:
        """Whether somebody stopped the session or one of its programs: the operator's will."""
        return self.desired_down or any(p is None or p.wanted_down for p in (self.host, self.chromium))


def judge(f: Facts) -> Finding | None:
    """The first thing that is wrong, the most fundamental before what follows from it; None if there is nothing to do."""
    if f.hands_off:
        return None
    if f.refused:
        return Finding("chromium_refused", Rung.QUARANTINE)
    found = _host(f) or _chromium(f) or (_page(f, f.evidence) if f.evidence else None)
    return found if f.room else _on_a_full_disk(found)


def _on_a_full_disk(found: Finding | None) -> Finding | None:
    """A full disk is no illness, and Chromium is left alone on it, even where its page is mute: started anew it would have to write
    its profile where it cannot, and the login lies in there. Nothing is claimed before there is room, so waiting costs no message.
    A host holds nothing, so one that hangs is replaced; Chromium never on its account."""
    if found is None or found.rung is not Rung.RESPAWN_HOST:
        return None
    return replace(found, ceiling=Rung.RESPAWN_HOST)


def _runs(f: Facts, program: Program | None, start: float) -> bool:
    """Whether the program has been up longer than its start deadline; what is on its way up is supervisord's business."""
    if program is None or program.pid is None or program.since is None:
        return False
    return f.now - max(program.since, f.woke_at) >= start


def _host(f: Facts) -> Finding | None:
    if f.host is not None and f.host.state in KEEPS_ENDING:
        return Finding("host_keeps_ending", Rung.RESPAWN_HOST, ended=True)
    if not _runs(f, f.host, HOST_START):
        return None
    if f.beat_at is None and not f.room:
        return None  # it waits for the room that its beat file needs, and says so
    if f.beat_at is None or f.now - f.beat_at > FRESH:
        return Finding("host_silent", Rung.RESPAWN_HOST, certain=True)
    return None


def _chromium(f: Facts) -> Finding | None:
    """Findings for which Chromium's processes have to go. A page that does not answer is never asked to reload."""
    if f.chromium is not None and f.chromium.state in KEEPS_ENDING:
        return Finding("chromium_keeps_ending", Rung.RELAUNCH_CHROMIUM, ended=True)
    e = f.evidence
    if e is None or f.chromium is None or f.chromium.pid is None or f.chromium.since is None:
        return None
    if e.crashed:
        return Finding("page_crashed", Rung.RELAUNCH_CHROMIUM, certain=True)
    if e.forwarder_fails:
        return Finding("proxy_forwarder_ended", Rung.RELAUNCH_CHROMIUM, certain=True)  # only the launcher starts it
    answered = e.answered_at is not None and e.answered_at > f.chromium.since
    if f.chromium_stopped and (e.missed or not e.connected) and (answered or _runs(f, f.chromium, FRESH)):
        return Finding("chromium_stopped", Rung.RELAUNCH_CHROMIUM, certain=True)
    if not answered and not _runs(f, f.chromium, CHROMIUM_START):
        return None  # its start deadline runs until the first round trip; one that stands still is not starting
    if e.missed >= 2 or (e.asked_at is not None and f.seen_at - e.asked_at > 2 * ROUND_TRIP):
        return Finding("page_unresponsive", Rung.RELAUNCH_CHROMIUM)
    if not e.connected and not e.epoch:
        return None  # it has no epoch yet: it waits for the database, and no kill would unlock that
    if not e.connected:
        # a host that lives and cannot connect for as long as both were allowed to start
        late = f.seen_at - max(e.since, e.answered_at or 0.0, f.woke_at) > CHROMIUM_START
        return Finding("host_cannot_connect", Rung.RESPAWN_BOTH) if late else None
    if e.answered_at is not None and f.seen_at - e.answered_at > FRESH:
        return Finding("page_unresponsive", Rung.RELAUNCH_CHROMIUM)
    if e.answered_at is None and f.seen_at - max(e.since, f.woke_at) > CHROMIUM_START:
        return Finding("page_never_answered", Rung.RELAUNCH_CHROMIUM)
    if f.memory_limit and e.memory_bytes and e.memory_bytes > f.memory_limit:
        urgent = e.memory_bytes > MEMORY_URGENT * f.memory_limit
        if urgent or e.oldest_unacked_at is None:
            return Finding("memory", Rung.RELAUNCH_CHROMIUM)
    return None


def _page(f: Facts, e: Evidence) -> Finding | None:
    """Findings about a page that answers."""
    if not e.connected or e.answered_at is None or e.state in UNLINKED or e.state is State.STOPPED:
        return None
    if e.elsewhere_since is not None:
        return None  # WhatsApp Web cannot be loaded: the host tries for ever, and a new Chromium could not load it either
    failing = e.canary is not None and e.canary_failed_since is not None and f.seen_at - e.canary_failed_since > CANARY_GRACE
    if failing and e.canary is not None and e.canary.startswith(STORAGE_LOST):
        return Finding("storage_lost", Rung.RELOAD_PAGE)
    synced = e.stream_mode == "MAIN"
    if e.socket not in ("CONNECTED", None) and e.stream_mode in KEEPS_CHATS:
        # an outage is no illness: a reconnect is asked for, and nothing more, ever: a reload would trade a living page for an error page
        down = e.socket_down_since is not None and f.seen_at - e.socket_down_since > SOCKET_GRACE
        return Finding("socket_down", Rung.NUDGE, ceiling=Rung.NUDGE) if down else None
    if failing:
        return Finding("canary", Rung.NUDGE)
    if ill(e, f.seen_at, f.send_timeout) and e.stream_mode != CONFLICT:  # the host takes over again; no kill would end that window
        return Finding("unacked", Rung.RELOAD_PAGE)
    if hangs(e, f.seen_at, f.send_timeout):
        return Finding("call_hangs", Rung.RELAUNCH_CHROMIUM)  # what it waits for in this document will not come
    progressed = max(e.since, e.progressed_at or 0.0, f.woke_at)
    if (e.state in (State.STARTING, State.SYNCING) or not synced) and f.seen_at - progressed > STALLED:
        # with the socket up the page has no excuse; without, it may be the network: a reload kills nothing
        ceiling = Rung.QUARANTINE if e.socket == "CONNECTED" else Rung.RELOAD_PAGE
        return Finding("sync_stalled" if e.stream_mode == "SYNCING" else "start_stalled", Rung.RELOAD_PAGE, ceiling)
    return None


def back_in_service(f: Facts, healthy: bool, was_linked: bool) -> bool:
    """Whether a recovery has reached its end: healthy; or, of a session that nobody was linked to, a page that answers again."""
    if healthy:
        return True
    e = f.evidence
    if e is None or not e.connected or e.crashed or e.missed or e.answered_at is None or f.now - e.answered_at > FRESH:
        return False
    if e.state in UNLINKED:
        return True  # also where somebody was linked: the phone unlinked us, and no rung helps
    return not was_linked and not ill(e, f.now, f.send_timeout)
