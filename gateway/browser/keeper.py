"""Keeps the session's row true to its page: who is logged in, in which state it is."""

from __future__ import annotations

import asyncio
import sqlite3
import time

import structlog

from gateway.beat import boot_time
from gateway.browser import incarnation, states
from gateway.browser.bridge import Report
from gateway.browser.records import Records
from gateway.browser.standing import Link, Standing, awakened
from gateway.process import mask
from gateway.session import State
from gateway.settings import Settings
from gateway.store import holds, sessions
from gateway.store.sessions import SessionRow

log = structlog.get_logger()


#: Seconds of sorting the queue between two looks at the session, and between two batches of it.
SORTING, SORTING_PAUSE = 1.0, 0.002


class Keeper:
    """The session state machine's shell; states.py decides."""

    def __init__(self, settings: Settings, standing: Standing, records: Records) -> None:
        self._settings, self._standing, self._records = settings, standing, records
        self._seen: SessionRow | None = None
        self._refused: tuple[State, State] | None = None  # a change that was refused: not asked for again each second

    async def run(self) -> None:
        """For ever. Raises Fenced."""
        while True:
            await self._look()
            await awakened(self._standing.turns)

    def has_work(self, row: SessionRow) -> bool:
        """Whether a look would change anything, now that the session's row is this."""
        link = self._link(self._standing.report)
        new = link is not None and link != self._standing.link
        wanted = self._wanted(row)
        turns = wanted is not row.state and (row.state, wanted) != self._refused
        return row != self._seen or new or self._unsorted(row) or turns

    async def _look(self) -> None:
        s = self._standing
        row = await self._records.read(lambda conn: sessions.get(conn, s.session))
        assert row is not None
        self._seen = row
        s.restricted_until, s.expected_account = row.restricted_until, row.account
        s.unlinked = row.account is None and row.last_account is not None
        link = self._link(s.report)
        if link is not None and link != s.link:
            await self._linked(row, link)
            return
        if self._unsorted(row):
            await self._sort()
        await self._turn(row)

    def _unsorted(self, row: SessionRow) -> bool:
        """Whether the queue is still to be sorted by whose messages they are: another number was linked."""
        return row.account is not None and not row.sorted

    async def _sort(self) -> None:
        """Sort for a second at most, so that the session's state is kept true meanwhile; in batches, so that others can write."""
        s, until = self._standing, boot_time() + SORTING
        while boot_time() < until:
            if await self._records.surely(lambda conn: holds.sort_queue(conn, session=s.session, now=time.time())):
                log.info("The queue was sorted for the account that is linked", session=s.session)
                s.stir()
                return
            await asyncio.sleep(SORTING_PAUSE)
        s.turns.set()

    def _wanted(self, row: SessionRow) -> State:
        s = self._standing
        report, bridge = s.report, s.bridge
        generation = bridge.generation if bridge else None
        settled = s.link is not None and s.link.generation == generation
        return states.decide(
            row.state,
            report,
            answers=s.answers(boot_time()),
            linked=settled and report is not None and report.account == (s.link.account if s.link else None),
            reconciled=s.reconciled is not None and s.reconciled == generation,
            had_account=row.account is not None,
        )

    async def _turn(self, row: SessionRow) -> None:
        s, wanted = self._standing, self._wanted(row)
        s.state = row.state
        if wanted is row.state or (row.state, wanted) == self._refused:
            return
        detail = s.detail

        def op(conn: sqlite3.Connection) -> None:
            if wanted is State.LOGGED_OUT:
                sessions.unlinked(conn, self._records.fence, now=time.time())
            sessions.set_state(conn, self._records.fence, state=wanted, now=time.time(), detail=detail)

        await self._records.surely(op)
        after = await self._records.read(lambda conn: sessions.get(conn, s.session))
        assert after is not None
        self._refused = (row.state, wanted) if after.state is row.state else None
        if after.state is not row.state:
            log.info("The session's state changed", session=s.session, old=row.state.value, new=after.state.value)
        if wanted is State.LOGGED_OUT:
            s.link = None
            log.error("This session was logged out: the queue waits until a phone is linked again", session=s.session, alert=True)
        s.state = after.state
        s.stir()

    def _link(self, r: Report | None) -> Link | None:
        """Who the page says is logged in, once it is far enough to be believed; the incarnation is filled in by `_linked`."""
        s = self._standing
        if r is None or not r.authenticated or r.account is None or r.mode != "MAIN" or s.bridge is None:
            return None
        if s.bridge.generation != r.generation:
            return None
        known = s.link.incarnation if s.link and (s.link.account, s.link.device) == (r.account, r.device) else ""
        return Link(r.account, r.lid, r.device, known, r.generation)

    async def _linked(self, row: SessionRow, link: Link) -> None:
        """Commit it, before the first claim. A login that is new begins a new incarnation."""
        s, slot = self._standing, self._settings.slot(self._standing.session)
        marker = incarnation.current(slot)
        if marker is None or row.account is None or row.device != link.device:
            marker = await asyncio.to_thread(incarnation.renew, slot)
        whole = Link(link.account, link.lid, link.device, f"{link.device}/{marker}", link.generation)

        def op(conn: sqlite3.Connection) -> None:
            sessions.linked(
                conn, self._records.fence, account=whole.account, lid=whole.lid, device=whole.device,
                incarnation=whole.incarnation, generation=whole.generation, now=time.time(),
            )  # fmt: skip

        await self._records.surely(op)
        s.link, s.expected_account = whole, whole.account
        if row.account != whole.account:
            log.info("Linked", session=s.session, account=mask(whole.account))
        s.stir()
        s.turns.set()
