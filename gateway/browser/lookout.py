"""One look at the store each second, for all tasks of this host: each is woken only where it has something to do.

A doorbell wakes them sooner; this covers a lost one, and what time alone brings: what falls due, overdue
hand-overs, back-offs after a jump of the clock. A host at rest reads once a second, and writes nothing.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from functools import partial

import structlog

from gateway.beat import boot_time, to_tick
from gateway.browser.keeper import Keeper
from gateway.browser.records import Records
from gateway.browser.standing import Standing
from gateway.settings import Settings
from gateway.store import chores, clock, outbox
from gateway.store.chores import Chores
from gateway.store.model import Unacked

log = structlog.get_logger()

#: Seconds between two looks: a lost doorbell costs no more.
LOOK = 1.0
#: Seconds between two looks for back-offs that a clock set back has moved out of reach.
CLAMP = 60.0
#: Seconds between two passes of that, so that others can write.
PASS_PAUSE = 0.002
#: Seconds by which wall clock and boot clock may part before that is looked for at once.
PARTED = 5.0


class Lookout:
    def __init__(self, settings: Settings, standing: Standing, records: Records, keeper: Keeper) -> None:
        self._settings, self._standing, self._records, self._keeper = settings, standing, records, keeper
        self._right_at = -CLAMP
        self._offset = time.time() - boot_time()

    async def run(self) -> None:
        """For ever. Raises Fenced."""
        while True:
            await self._set_right()
            if await self._look():
                self._right_at = -CLAMP
                await self._set_right()
            await asyncio.sleep(to_tick(LOOK))

    async def _look(self) -> bool:
        """Wake whoever has work. Returns whether a stamp lies in the future, which is to be brought back at once."""
        now, new_chats = time.time(), self._standing.pacer.new_chats(boot_time())
        seen = await self._records.read(lambda conn: chores.look(conn, self._records.fence, now=now, new_chats=new_chats))
        self._wake(seen, now)
        await self._overdue(seen.unacked, now)
        return now >= clock.PLAUSIBLE and seen.session.ahead(now)

    def _wake(self, seen: Chores, now: float) -> None:
        """Of each task, whether the store has work for it; the task itself sees whether the page is fit for it."""
        s = self._standing
        if seen.due is not None and seen.due <= now + LOOK:
            s.work.set()
        if seen.unresolved:
            s.names.set()
        if seen.doubtful or s.bridge is None or s.reconciled != s.bridge.generation:
            s.doubts.set()
        if seen.asked:
            s.orders.set()
        if self._keeper.has_work(seen.session):
            s.turns.set()

    # -- what time alone brings

    async def _overdue(self, waiting: Unacked, now: float) -> None:
        s = self._standing
        steady = s.synced(boot_time())
        generation = s.report.generation if s.report and steady is not None else None

        def op(conn: sqlite3.Connection) -> outbox.Overdue:
            return outbox.overdue(
                conn, self._records.fence, now=now, send_timeout=self._settings.send_timeout,
                generation=generation, synced_at=None if steady is None else now - steady,
            )  # fmt: skip

        s.oldest_unacked_at, s.silent_chats = _boot(waiting.oldest, now), waiting.silent
        s.given_up_at = (s.given_up_at or boot_time()) if waiting.given_up else None
        # one in the future is none: it would pass for an ack of this moment, and no silence of WhatsApp's would be noticed
        last_ack = None if clock.ahead(waiting.last_ack_at, now) else _boot(waiting.last_ack_at, now)
        s.last_ack_at = max((at for at in (s.last_ack_at, last_ack) if at is not None), default=None)
        s.stalls.look(boot_time())
        if s.in_doubt(boot_time(), self._settings.send_timeout):
            s.inquiries.set()
        if not waiting.count or boot_time() - s.stalls.woke_at <= self._settings.send_timeout:
            return  # after a suspend each hand-over has its time anew: the line has to be opened again, and then the page resends
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

    async def _set_right(self) -> None:
        """Bring back what a clock that was ahead left in the future: at start, each minute, and as soon as that is noticed."""
        now, offset = boot_time(), time.time() - boot_time()
        if now - self._right_at < CLAMP and abs(offset - self._offset) <= PARTED:
            return
        below: int | None = None
        while True:
            done = await self._records.once(partial(self._bring_back, below))
            if done is None:
                return
            below = done[0]
            if below is None:
                break
            await asyncio.sleep(PASS_PAUSE)
        self._right_at, self._offset = now, offset

    def _bring_back(self, below: int | None, conn: sqlite3.Connection) -> tuple[int | None]:
        """One pass, and where the next one goes on."""
        now, largest, gap = time.time(), self._settings.retry_max_delay, self._settings.chat_interval
        plausible, session = now >= clock.PLAUSIBLE, self._standing.session
        return (outbox.set_right(conn, session, now=now, largest=largest, chat_interval=gap, stamps=plausible, below=below),)


def _boot(at: float | None, now: float) -> float | None:
    """A moment of the wall clock, whose `now` is, by the boot clock."""
    return None if at is None else boot_time() - max(0.0, now - at)
