"""Claims what is due, writes it ahead, hands it to the page; a few chats at once, one message per chat."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import time

import structlog

from gateway.beat import boot_time
from gateway.browser.bridge import Bridge, Refused
from gateway.browser.page import PageError
from gateway.browser.reconcile import Seen, sight, sought_before_sending
from gateway.browser.records import Records
from gateway.browser.standing import Link, Standing, awakened
from gateway.browser.translate import STALE, error_of_answer, error_of_exception, for_log, of_refusal
from gateway.message import HandOverError, NotSent, Rejected, Unconfirmed, backoff, spared_pause
from gateway.pauses import doubling
from gateway.settings import Settings
from gateway.store import outbox, recipients
from gateway.store.database import CLAIM_ROOM, room
from gateway.store.model import Claim

log = structlog.get_logger()

#: Seconds between two looks whether the page is fit to take a message again.
LOOK = 1.0
#: Seconds before the store is asked again for a message that is due and was not to be had: first, and at most.
EMPTY, EMPTY_MOST = 0.02, 1.0


class Sender:
    """`in_hand`: rows with a call under way. `given_up`: rows whose call got no answer, by the attachment it was made under."""

    def __init__(self, settings: Settings, standing: Standing, records: Records) -> None:
        self._settings, self._standing, self._records = settings, standing, records
        self._pacer = standing.pacer
        self._places = asyncio.Semaphore(settings.in_flight)
        self.in_hand: set[int] = set()
        self.given_up: dict[int, int] = {}
        self._empty = 0  # claims in a row that found nothing although something was due

    async def run(self) -> None:
        """For ever. Raises Fenced."""
        now = boot_time()
        self._pacer.recall(
            await self._records.surely(lambda conn: outbox.recall(conn, session=self._standing.session, now=time.time())), now
        )
        async with asyncio.TaskGroup() as group:
            while True:
                await self._places.acquire()
                claimed = await self._claim()
                if claimed is None:
                    self._places.release()
                else:
                    group.create_task(self._hand_over(*claimed))

    async def _claim(self) -> tuple[Claim, Bridge, Link, float] | None:
        """The next message, claimed, and when (boot clock); None after a sleep where there is none or none may go."""
        s = self._standing
        if (pause := self._pacer.delay(boot_time())) > 0:
            await asyncio.sleep(min(pause, LOOK))
            if pause > LOOK:  # a cap's pause may last for hours, and end early if a hand-over is taken back
                return None
        if (pause := s.refusals.pause(boot_time())) > 0:
            await asyncio.sleep(min(pause, LOOK))
            return None
        s.work.clear()
        bridge, link = s.claimable(boot_time()), s.link
        if bridge is None or link is None or not self._roomy():
            await awakened(s.work, LOOK)
            return None

        new_chats = self._pacer.new_chats(boot_time())

        def op(conn: sqlite3.Connection) -> tuple[Claim | None, float | None]:
            now = time.time()
            claim = outbox.claim(
                conn, self._records.fence, generation=link.generation, incarnation=link.incarnation, now=now,
                new_chats=new_chats, chat_interval=self._settings.chat_interval,
            )  # fmt: skip
            return claim, None if claim else outbox.next_due(conn, session=s.session, now=now, new_chats=new_chats)

        found = await self._records.once(op)
        if found is None:
            return None
        claim, due = found
        if claim is None:
            wait = None if due is None else max(EMPTY, due - time.time())
            self._empty = self._empty + 1 if wait is not None and wait <= EMPTY else 0
            if self._empty:
                s.turns.set()  # due, and not to be had: the session's row is not as we think, and the keeper reads it at once
                wait = doubling(self._empty, first=EMPTY, largest=EMPTY_MOST)
            # what is due later than in a second the lookout sees coming, whatever the wall clock does meanwhile
            await awakened(s.work, wait if wait is not None and wait <= LOOK else None)
            return None
        self._empty = 0
        self.in_hand.add(claim.rowid)
        began = boot_time()
        self._pacer.started(began, random.random(), new_chat=claim.new_chat)
        return claim, bridge, link, began

    def _roomy(self) -> bool:
        """What is left of a full disk is for outcomes."""
        return room(self._settings.data) >= CLAIM_ROOM

    def forget_given_up(self, attachment: int) -> None:
        """The document has a newer attachment: no call of an older one can still come, so nothing need be kept of those."""
        self.given_up = {row: made_under for row, made_under in self.given_up.items() if made_under >= attachment}

    # -- one hand-over

    async def _hand_over(self, claim: Claim, bridge: Bridge, link: Link, began: float) -> None:
        error: HandOverError | None
        try:
            error = await self._place(claim, bridge, link)
        finally:
            self._places.release()
        self._standing.refusals.note(error, boot_time())
        if error is None:
            await self._records.surely(
                lambda conn: outbox.placed(conn, self._records.fence, rowid=claim.rowid, attempt=claim.attempt, now=time.time())
            )
            log.debug("Handed over", message=claim.message, attempt=claim.attempt)
        else:
            await self._settle(claim, error)
            if isinstance(error, Rejected):
                await self._forget(claim, bridge)
        if isinstance(error, NotSent | Rejected):
            self._pacer.take_back(began, new_chat=claim.new_chat, interval=_spares(error))
        self.in_hand.discard(claim.rowid)
        self._standing.work.set()

    async def _place(self, claim: Claim, bridge: Bridge, link: Link) -> HandOverError | None:
        """Ask the page to take it; None: it did. Never raises: what went wrong is the answer."""
        self.given_up.pop(claim.rowid, None)
        try:
            if claim.accept_duplicate and (known := await self._known(claim, bridge, link)) is not None:
                return known
            answer = await bridge.send(
                claim, link.account, self._settings.call_timeout, again=claim.accept_duplicate, patience=self._settings.send_timeout
            )
        except PageError as error:
            self.given_up[claim.rowid] = bridge.attachment
            return error_of_exception(error)
        return error_of_answer(answer)

    async def _known(self, claim: Claim, bridge: Bridge, link: Link) -> HandOverError | None:
        """Of a message that may be sent although its outcome is unknown: does the page have it? None: it does not."""
        asked = sought_before_sending(claim, (link.account, link.lid))
        try:
            seen = sight(asked, (await bridge.find([asked], self._settings.call_timeout))[0]).seen
        except Refused as error:
            return of_refusal(error.code, str(error))
        except PageError as error:  # nothing was handed over yet, so nothing is unknown that was known before
            return NotSent("not_looked_up", f"the page did not say whether it has this message: {error}", counted=False)
        if seen is Seen.ABSENT:
            return None
        if seen is Seen.FOUND:
            return Unconfirmed("on_the_page", "WhatsApp's page has this message: its own state decides")
        return NotSent("not_looked_up", "the page could not say whether it has this message", counted=False)

    async def _settle(self, claim: Claim, error: HandOverError) -> None:
        """The one way out of the claim, in one commit."""
        first, largest = self._settings.retry_delay, self._settings.retry_max_delay
        delay = backoff(claim.attempts + 1, first=first, largest=largest, random=random.random())

        def op(conn: sqlite3.Connection) -> None:
            now = time.time()
            pause = spared_pause(outbox.spared(conn, rowid=claim.rowid)) if isinstance(error, NotSent) and not error.counted else delay
            outbox.sent_not(
                conn, self._records.fence, rowid=claim.rowid, attempt=claim.attempt, error=error, due=now + pause, now=now,
                max_attempts=self._settings.max_attempts,
            )  # fmt: skip
            if error.code in STALE:
                recipients.stale(conn, self._records.fence, recipient=claim.recipient, now=now)

        await self._records.surely(op)
        log.warning(
            "A hand-over did not succeed", message=claim.message, attempt=claim.attempt, session=self._standing.session,
            decision=type(error).__name__, code=error.code, reason=for_log(str(error)),
        )  # fmt: skip
        if isinstance(error, Unconfirmed):
            self._standing.doubts.set()
        elif error.code in STALE:
            self._standing.names.set()

    async def _forget(self, claim: Claim, bridge: Bridge) -> None:
        """Nothing of this id needs to be known any more; a page that cannot be told is gone, or forgets with its document."""
        with contextlib.suppress(PageError, Refused):
            await bridge.forget([claim.key.hex])


def _spares(error: HandOverError) -> bool:
    """Whether the message's chat alone is in trouble: others are to go on as if it had not been tried."""
    return isinstance(error, NotSent) and not error.counted and not error.page
