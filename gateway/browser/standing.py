"""What this host knows of its session now, shared by its tasks; and the evidence made of it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import asdict, dataclass, field

from gateway.beat import SILENT, Stalls, boot_time, fitting
from gateway.browser.bridge import Bridge, Report
from gateway.browser.refusals import Refusals
from gateway.pacing import Pacer
from gateway.session import FRESH, ROUND_TRIP, VOUCHES, Evidence, State

#: Bytes of the beat file for what the page or an error says: a sentence, a dialog's heading, a word.
SENTENCE, HEADING, WORD = 600, 240, 64
#: Dialogs that it names at most.
DIALOGS = 2
#: Seconds between two looks at our own clock from which on we stood still: a watchdog that ran would have killed us.
STALL = SILENT


@dataclass(frozen=True, slots=True)
class Link:
    """Who is logged in, in which document and life of the profile; committed in the store."""

    account: str
    lid: str | None
    device: str | None
    incarnation: str
    generation: str


@dataclass
class Standing:
    """Times in seconds of the boot clock unless said otherwise."""

    session: str
    epoch: int
    since: float
    pacer: Pacer
    refusals: Refusals = field(default_factory=Refusals)  #: of hand-overs, by the page
    bridge: Bridge | None = None  #: of the page that we are attached to
    chromium_pid: int | None = None
    stalls: Stalls = field(default_factory=lambda: Stalls(STALL))  #: of this host, stopped with its machine or container
    report: Report | None = None  #: the last answer of this connection
    state: State = State.STARTING  #: as committed
    link: Link | None = None
    reconciled: str | None = None  #: the generation whose first reconciling is done
    asked_at: float | None = None
    answered_at: float | None = None
    round_trip: float | None = None
    missed: int = 0
    bare: str | None = None  #: why the page answered but not as the bridge
    canary_failed_since: float | None = None
    socket_down_since: float | None = None
    progressed_at: float | None = None
    steady_at: float | None = None  #: since when the document has been synced
    calling_since: float | None = None  #: begin of the oldest hand-over that wa-js has not ended
    oldest_unacked_at: float | None = None
    last_ack_at: float | None = None
    given_up_at: float | None = None  #: when a message was given up after send timeouts, if no ack has come since
    silent_chats: int = 0  #: chats with an overdue hand-over, handed over since the last ack
    server_answered_at: float | None = None  #: when WhatsApp's server answered inquiry.py last
    server_silent_at: float | None = None  #: when it first did not, since then
    memory_bytes: int | None = None
    chromium_ended: bool = False
    expected_account: str | None = None
    restricted_until: float | None = None  #: wall clock
    unlinked: bool = False  #: somebody was linked, and nobody is
    elsewhere_since: float | None = None  #: since when the document is not WhatsApp's: a blank or an error page
    unreachable: str | None = None  #: why WhatsApp cannot be reached, as far as it is known
    forwarder_fails: bool = False  #: the process between Chromium and GATEWAY_PROXY ended or stands still
    dialogs: tuple[str, ...] = ()  #: over the page, and not known to us
    takeovers: int = 0  #: of our place, from other windows, lately
    detail: str | None = None
    #: what wakes each task; a ring that gets lost costs a second at most
    work: asyncio.Event = field(default_factory=asyncio.Event)  #: sender
    names: asyncio.Event = field(default_factory=asyncio.Event)  #: resolver
    doubts: asyncio.Event = field(default_factory=asyncio.Event)  #: reconciler
    turns: asyncio.Event = field(default_factory=asyncio.Event)  #: keeper
    orders: asyncio.Event = field(default_factory=asyncio.Event)  #: orders
    inquiries: asyncio.Event = field(default_factory=asyncio.Event)  #: inquiry

    def stir(self) -> None:
        """Something changed that every task may wait for."""
        for event in (self.work, self.names, self.doubts, self.turns):
            event.set()

    def synced(self, now: float) -> float | None:
        """For how long the page has been synced without a break."""
        return None if self.steady_at is None else now - self.steady_at

    def usable(self, now: float) -> Bridge | None:
        """The bridge, if the page is logged in and at MAIN, answers, and wa-js works: what look-ups and questions need."""
        r = self.report
        if self.bridge is None or r is None or not self.answers(now) or self.bridge.generation != r.generation:
            return None
        if not (r.ready and r.authenticated and r.mode == "MAIN" and r.canary is None):
            return None
        return self.bridge

    def claimable(self, now: float) -> Bridge | None:
        """The bridge, if a message may be claimed and handed over to it now."""
        bridge = self.usable(now)
        if bridge is None or self.state is not State.READY or self.link is None or bridge.page.lost.done():
            return None
        if self.link.generation != bridge.generation or self.reconciled != bridge.generation:
            return None
        return bridge

    def answers(self, now: float) -> bool:
        """Whether the page has answered lately and missed nothing since."""
        late = self.asked_at is not None and now - self.asked_at > ROUND_TRIP
        return self.missed == 0 and not late and self.answered_at is not None and now - self.answered_at <= FRESH

    def canary(self) -> str | None:
        """None: wa-js passes by value. Else what fails, or that it is not that far yet."""
        if self.bare is not None:
            return self.bare
        if self.report is None:
            return "not asked"
        if self.report.library is None:
            return "wa-js is not in the document"
        if not self.report.ready:
            return "wa-js is not ready yet"
        return self.report.canary or self.refusals.said(boot_time())

    def given_up(self) -> bool:
        """Whether a message was given up, no ack has come since, and the server did not vouch for the session then, nor has since."""
        if self.given_up_at is None:
            return False
        answered = self.server_answered_at
        return answered is None or self.server_silent_at is not None or answered < self.given_up_at - VOUCHES

    def in_doubt(self, now: float, send_timeout: float) -> bool:
        """Whether WhatsApp's silence is worth a question to its server: half a send timeout without any ack, or a message given up."""
        at, ack = self.oldest_unacked_at, self.last_ack_at
        return self.given_up() or (at is not None and now - at > send_timeout / 2 and (ack is None or ack < at))

    def _since_sync(self, at: float | None) -> float | None:
        """The latest of `at`, this document's sync, and the end of a stall of ours: before that nothing could move."""
        return None if at is None else max(at, self.steady_at or at, self.stalls.woke_at)

    def evidence(self) -> Evidence:
        r, page = self.report, self.bridge.page if self.bridge else None
        oldest, calling = self._since_sync(self.oldest_unacked_at), self._since_sync(self.calling_since)
        return Evidence(
            session=self.session, state=self.state, epoch=self.epoch, since=self.since,
            connected=page is not None and not page.lost.done(), chromium_pid=self.chromium_pid,
            generation=fitting(r.generation, WORD) if r else None, asked_at=self.asked_at, answered_at=self.answered_at,
            round_trip=self.round_trip, missed=self.missed, crashed=page is not None and page.crashed,
            canary=fitting(self.canary(), SENTENCE), canary_failed_since=self.canary_failed_since,
            socket=fitting(r.socket, WORD) if r else None, socket_down_since=self.socket_down_since,
            stream_mode=fitting(r.mode, WORD) if r else None, stream_info=fitting(r.info, WORD) if r else None,
            progressed_at=self.progressed_at, account=fitting(r.account, WORD) if r else None, expected_account=self.expected_account,
            oldest_unacked_at=oldest, handed_over_at=self.oldest_unacked_at, last_ack_at=self.last_ack_at, given_up=self.given_up(),
            silent_chats=self.silent_chats, server_answered_at=self.server_answered_at, server_silent_at=self.server_silent_at,
            calling_since=calling, synced_at=self.steady_at, memory_bytes=self.memory_bytes, pidfd_exit=self.chromium_ended,
            restricted_until=self.restricted_until, unlinked=self.unlinked, elsewhere_since=self.elsewhere_since,
            unreachable=fitting(self.unreachable, SENTENCE) or None, forwarder_fails=self.forwarder_fails,
            dialogs=tuple(fitting(title, HEADING) or "" for title in self.dialogs[:DIALOGS]), takeovers=self.takeovers,
            detail=fitting(self.detail, SENTENCE) or None, pace=[asdict(use) for use in self.pacer.uses(boot_time())],
        )  # fmt: skip


async def awakened(event: asyncio.Event, timeout: float | None = None) -> None:
    """Wait for the event, for at most `timeout` seconds, and clear it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await event.wait()
    event.clear()
