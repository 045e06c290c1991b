"""Holds the connection to the slot's Chromium, attends its page, and gathers evidence; never touches the database.

It connects as soon as there is something to connect to, for ever: a Chromium that dies is no reason
for the host to end. It starts no recovery; it only sees to it that the document is WhatsApp's, with
wa-js and today's bridge in it, as it does for a page that was just opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import Iterator
from typing import Any

import structlog

from gateway import slot as slots
from gateway.beat import boot_time, to_tick
from gateway.browser import profile_check
from gateway.browser.bridge import Bridge, Refused, Report
from gateway.browser.endpoint import NotYet, find_endpoint
from gateway.browser.interruptions import Interruptions
from gateway.browser.page import Broken, Gone, Late, Page, PageError
from gateway.browser.refusals import Refusals
from gateway.browser.scripts import Scripts
from gateway.browser.standing import Standing
from gateway.browser.translate import for_log
from gateway.session import ROUND_TRIP, State
from gateway.settings import Settings
from gateway.store.sessions import Fenced

log = structlog.get_logger()

#: Seconds between two looks for a Chromium to connect to. A look reads three small files.
LOOK = 0.03
#: Seconds between two probes: of a page at work, and of one on its way up.
PROBE, PROBE_EARLY = 1.0, 0.15
#: Seconds by which a deadline may be noticed late before that is a stop of our own.
STALL = 2.0
#: Seconds before WhatsApp Web is opened again: after an error page (its server is out of reach), and while it may still be loading.
REOPEN, REOPEN_LATE = 3.0, 30.0
#: Seconds between two measurements of memory: a cheap one, and PSS.
MEASURE, MEASURE_WELL = 1.0, 60.0


class Attendant:
    """One host's attention to its page."""

    def __init__(self, settings: Settings, standing: Standing, scripts: Scripts) -> None:
        self._settings, self._standing, self._scripts = settings, standing, scripts
        self._attachments = itertools.count(1)
        self._interruptions = Interruptions(standing)
        self._opened_at = -REOPEN_LATE
        self._reason = ""

    async def run(self) -> None:
        """Connect and attend, again and again. Raises Fenced if the page has a newer host."""
        while True:
            page = await self._connect()
            if page is None:
                await asyncio.sleep(LOOK)
                continue
            try:
                with self._watching(page):
                    await self._attend(page)
            finally:
                self._left(page)

    async def _connect(self) -> Page | None:
        s = self._standing
        try:
            endpoint = find_endpoint(self._settings.data, s.session)
            page = await Page.connect(endpoint, self._scripts)
        except (NotYet, PageError) as error:
            self._say(str(error))
            return None
        s.chromium_pid, s.chromium_ended = endpoint.launch.pid, False
        with contextlib.suppress(OSError):
            profile_check.came_up(self._settings.slot(s.session))
        self._say("")
        log.info("Connected to Chromium", session=s.session, chromium=endpoint.launch.pid)
        return page

    def _say(self, reason: str) -> None:
        """Each reason once: it is looked for thirty times a second."""
        if reason and reason != self._reason:
            log.info("Not connected to Chromium", session=self._standing.session, reason=reason)
        self._reason, self._standing.detail = reason, reason or None

    @contextlib.contextmanager
    def _watching(self, page: Page) -> Iterator[None]:
        """The end of Chromium's process ends the page's calls at once, whatever its sockets do."""
        loop = asyncio.get_running_loop()
        try:
            fd = os.pidfd_open(page.endpoint.launch.pid)
        except OSError:
            page.lose("Chromium's process has ended")
            yield
            return

        def ended() -> None:
            loop.remove_reader(fd)
            self._standing.chromium_ended = True
            page.lose("Chromium's process has ended")

        loop.add_reader(fd, ended)
        try:
            yield
        finally:
            loop.remove_reader(fd)
            os.close(fd)

    def _left(self, page: Page) -> None:
        s = self._standing
        page.close()
        why = page.lost.result() if page.lost.done() else ""
        log.warning("The connection to Chromium is over", session=s.session, reason=why)
        s.bridge, s.report, s.bare, s.steady_at, s.calling_since = None, None, None, None, None
        s.asked_at, s.missed, s.canary_failed_since = None, 0, None
        s.elsewhere_since, s.dialogs = None, ()
        s.unreachable, s.forwarder_fails = None, False
        s.detail = why
        s.stir()

    # -- attending

    async def _attend(self, page: Page) -> None:
        s = self._standing
        bridge = Bridge(page, s.epoch, self._attachments)
        self._opened_at = -REOPEN_LATE
        s.bridge = bridge
        while not page.lost.done():
            begun = boot_time()
            if page.navigated.is_set():
                page.navigated.clear()
                bridge.generation = None  # nothing is claimed for a document that we have not attached to
            again = await self._round(bridge)
            pause = PROBE if s.state is State.READY or s.bridge is None else PROBE_EARLY
            if s.report is not None and not s.report.authenticated and s.report.qr:
                pause = min(PROBE, 0.5)
            if not again:
                await _either(page, max(0.0, begun + pause - boot_time()))

    async def _round(self, bridge: Bridge) -> bool:
        """One round trip and what it asks for. Returns whether to ask again at once."""
        s = self._standing
        s.asked_at = boot_time()
        try:
            report = await bridge.probe()
        except Late:
            if boot_time() - s.asked_at > ROUND_TRIP + STALL:
                return True  # we stood still ourselves: it says nothing about the page
            s.missed += 1
            log.warning("The page missed a round trip", session=s.session, missed=s.missed)
            s.stir()
            return s.missed == 1  # a second one is asked at once: two in a row condemn Chromium
        except Gone:
            s.asked_at = None  # another document, or the end: `lost` tells
            return False
        except (Broken, Refused) as error:
            self._answered(None, f"the bridge is not in the document: {error}")
            await self._mend(bridge.page)
            return False
        before = None if s.missed else s.report
        self._answered(report, None)
        await self._heed(bridge, report)
        if before is None or _said(before) != _said(report):
            s.stir()
        elif s.state is not State.READY:
            s.turns.set()  # on its way up nothing waits for the lookout
        return False

    def _answered(self, report: Report | None, bare: str | None) -> None:
        """Evidence of a round trip that was answered."""
        s, now = self._standing, boot_time()
        assert s.asked_at is not None
        s.round_trip, s.answered_at, s.asked_at, s.missed = now - s.asked_at, now, None, 0
        old = s.report
        if report is None or old is None or _place(report) != _place(old):
            s.progressed_at = now
        s.report, s.bare = report, bare[:200] if bare else None
        s.steady_at = now - report.steady if report is not None and report.steady is not None else None
        s.calling_since = now - report.running if report is not None and report.running is not None else None
        # a library that is still putting itself together does not fail
        refuses = s.refusals.said(now) is not None
        broken = (report is not None and report.canary is not None) or (report is None and bare is not None) or refuses
        s.canary_failed_since = (s.canary_failed_since or now) if broken else None
        if report is not None and report.url.startswith(self._scripts.url):
            s.elsewhere_since = None
        down = report is not None and report.socket != "CONNECTED"
        s.socket_down_since = (s.socket_down_since or now) if down else None

    async def _heed(self, bridge: Bridge, report: Report) -> None:
        """Attach to a document that is new to us; replace an older bridge; reload a document without wa-js."""
        try:
            if not report.url.startswith(self._scripts.url) or (report.library is None and report.loaded):
                await self._mend(bridge.page)
            elif report.version != self._scripts.version:
                await bridge.page.put_bridge()
                log.info("The bridge was replaced in the living page", session=self._standing.session)
            elif (report.generation, report.epoch) != (bridge.generation, bridge.epoch):
                if report.generation != bridge.generation:
                    self._standing.refusals = Refusals()  # a new document refuses nothing yet
                generation = await bridge.attach()
                log.info("Attached to the page", session=self._standing.session, generation=generation, mode=report.mode)
                self._standing.stir()
            else:
                await self._interruptions.heed(bridge, report, boot_time())
        except Refused as error:
            if error.code == "stale_host":
                raise Fenced(f"the page has a newer host: {error}") from error
            log.warning("The bridge refused what its page needs", code=error.code, reason=for_log(str(error)))
        except PageError as error:
            log.info("The page went on while it was attended", reason=for_log(str(error)))

    async def _mend(self, page: Page) -> None:
        """The document is not WhatsApp's, or came up bare: put the bridge in, or load it."""
        now = boot_time()
        try:
            url, state, library = await page.evaluate("[location.href, document.readyState, typeof window.WPP]", 2.0)
            if not url.startswith(self._scripts.url):
                self._elsewhere(now)
            if url.startswith(self._scripts.url) and library != "undefined":
                await page.put_bridge()
            elif state == "complete" and now - self._opened_at >= (REOPEN if url.startswith("chrome-error:") else REOPEN_LATE):
                self._opened_at = now
                page.open()
        except PageError as error:
            log.info("The page could not be opened", reason=for_log(str(error)))

    def _elsewhere(self, now: float) -> None:
        """The document is a blank or an error page: WhatsApp's server is slow or out of reach, and nothing of ours is broken."""
        s = self._standing
        if s.elsewhere_since is None:
            s.elsewhere_since = now
            log.info("Opening WhatsApp Web", session=s.session)
        s.canary_failed_since, s.dialogs = None, ()

    # -- memory

    async def measure(self) -> None:
        """Chromium's memory: what is its own each second, PSS each minute. Looked at in a thread: /proc can be slow."""
        s = self._standing
        data, session = self._settings.data.resolve(), s.session
        pids: list[int] = []
        due, extra = 0.0, 0
        while True:
            s.forwarder_fails = s.bridge is not None and slots.forwarder_fails(s.bridge.page.endpoint.launch)
            if s.bridge is None:
                pids, due, s.memory_bytes = [], 0.0, None
            elif boot_time() >= due:
                pids = await asyncio.to_thread(slots.chromium_processes, data, session)
                proportional = await asyncio.to_thread(slots.proportional, pids)
                extra = max(0, proportional - slots.private(pids))  # the shared part changes little within a minute
                due = boot_time() + MEASURE_WELL
                s.memory_bytes = proportional
            else:
                s.memory_bytes = slots.private(pids) + extra
            await asyncio.sleep(to_tick(MEASURE))


async def _either(page: Page, timeout: float) -> None:
    """Wait for `timeout` seconds, for the connection's end, or for another document."""
    navigated = asyncio.ensure_future(page.navigated.wait())
    ends: set[asyncio.Future[Any]] = {page.lost, navigated}
    try:
        await asyncio.wait(ends, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        navigated.cancel()


def _said(r: Report) -> tuple[object, ...]:
    """What a task may have waited for when it changes."""
    return *_place(r), r.account, r.lid, r.device, r.passkey, r.canary


def _place(r: Report) -> tuple[object, ...]:
    """What counts as progress when it changes."""
    return r.generation, r.ready, r.authenticated, r.socket, r.mode, r.info, r.qr
