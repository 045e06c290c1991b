"""Keeps the session's row true to its page: who is logged in, in which state it is, what is overdue."""

from __future__ import annotations

import asyncio
import sqlite3
import time

import structlog

from gateway.beat import boot_time, to_tick
from gateway.browser import incarnation, states
from gateway.browser.bridge import Report
from gateway.browser.records import Records
from gateway.browser.standing import Link, Standing, awakened
from gateway.process import mask
from gateway.session import State
from gateway.settings import Settings
from gateway.store import outbox, sessions
from gateway.store.sessions import SessionRow

log = structlog.get_logger()

#: Seconds between two looks where nothing wakes the keeper.
LOOK = 1.0
#: Seconds between two looks for back-offs that a clock set back has moved out of reach.
CLAMP = 60.0
#: Seconds by which wall clock and boot clock may part before that is looked for at once.
PARTED = 5.0


class Keeper:
    """The session state machine's shell; states.py decides."""

    def __init__(self, settings: Settings, standing: Standing, records: Records) -> None:
        self._settings, self._standing, self._records = settings, standing, records
        self._clamped_at = -CLAMP
        self._offset = time.time() - boot_time()

    async def run(self) -> None:
        while True:
            await self._look()
            await awakened(self._standing.turns, LOOK)

    async def tick(self) -> None:
        """What time alone brings: overdue hand-overs, back-offs after a jump of the clock."""
        while True:
            await self._overdue()
            await self._clamp()
            await asyncio.sleep(to_tick(LOOK))

    # -- the row

    async def _look(self) -> None:
        s = self._standing
        row = await self._records.read(lambda conn: sessions.get(conn, s.session))
        assert row is not None
        s.restricted_until, s.expected_account = row.restricted_until, row.account
        s.unlinked = row.account is None and row.last_account is not None
        link = self._link(s.report)
        if link is not None and link != s.link:
            await self._linked(row, link)
            return
        await self._turn(row)

    async def _turn(self, row: SessionRow) -> None:
        s = self._standing
        report, bridge = s.report, s.bridge
        generation = bridge.generation if bridge else None
        settled = s.link is not None and s.link.generation == generation
        wanted = states.decide(
            row.state,
            report,
            answers=s.answers(boot_time()),
            linked=settled and report is not None and report.account == (s.link.account if s.link else None),
            reconciled=s.reconciled is not None and s.reconciled == generation,
            had_account=row.account is not None,
        )
        s.state = row.state
        if wanted is row.state:
            return
        detail = s.detail

        def op(conn: sqlite3.Connection) -> None:
            if wanted is State.LOGGED_OUT:
                sessions.unlinked(conn, self._records.fence, now=time.time())
            sessions.set_state(conn, self._records.fence, state=wanted, now=time.time(), detail=detail)

        await self._records.surely(op)
        after = await self._records.read(lambda conn: sessions.get(conn, s.session))
        assert after is not None
        if after.state is not row.state:
            log.info("The session's state changed", session=s.session, old=row.state.value, new=after.state.value)
        if wanted is State.LOGGED_OUT:
            s.link = None
            log.error("The phone has unlinked this session: the queue waits until a phone is linked again", session=s.session, alert=True)
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

    # -- time

    async def _overdue(self) -> None:
        s, now = self._standing, time.time()
        steady = s.synced(boot_time())
        generation = s.report.generation if s.report and steady is not None else None

        def op(conn: sqlite3.Connection) -> outbox.Overdue:
            return outbox.overdue(
                conn, self._records.fence, now=now, send_timeout=self._settings.send_timeout,
                generation=generation, synced_at=None if steady is None else now - steady,
            )  # fmt: skip

        waiting = await self._records.read(lambda conn: outbox.unacked(conn, session=s.session))
        s.oldest_unacked_at, s.given_up = _boot(waiting.oldest, now), waiting.given_up
        s.last_ack_at = max((at for at in (s.last_ack_at, _boot(waiting.last_ack_at, now)) if at is not None), default=None)
        if not waiting.count:
            return
        late = await self._records.once(op)
        if late is None:
            return
        for message in late.unconfirmed:
            log.warning("No ack within the send timeout: the outcome is unconfirmed", message=message, session=s.session)
        for message in late.failed:
            log.error("Given up: nobody can say whether it was sent", message=message, session=s.session, alert=True)
        if late.unconfirmed or late.failed:
            s.doubts.set()
            s.work.set()

    async def _clamp(self) -> None:
        now, offset = boot_time(), time.time() - boot_time()
        if now - self._clamped_at < CLAMP and abs(offset - self._offset) <= PARTED:
            return
        largest, gap = self._settings.retry_max_delay, self._settings.chat_interval
        done = await self._records.once(
            lambda conn: outbox.clamp_backoff(conn, self._standing.session, time.time(), largest, chat_interval=gap)
        )
        if done is not None:
            self._clamped_at, self._offset = now, offset


def _boot(at: float | None, now: float) -> float | None:
    """A moment of the wall clock, whose `now` is, by the boot clock."""
    return None if at is None else boot_time() - max(0.0, now - at)
