"""Looks recipients up before their first hand-over; the answer is kept in the store, and is the lane's chat.

lookups.py says what follows from an answer. Look-ups are tasks of their own, bounded in number: a slow one holds back
nothing but its recipient. `contact` answers GET /api/contacts from the same facts, and what it hears serves the next message.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable

import structlog

from gateway.beat import boot_time
from gateway.browser.bridge import Bridge, Refused, Resolved
from gateway.browser.lookups import LONGEST_PAUSE, Verdicts
from gateway.browser.page import PageError
from gateway.browser.records import Records
from gateway.browser.standing import Standing, awakened
from gateway.browser.translate import for_log
from gateway.process import mask
from gateway.store import recipients
from gateway.store.recipients import ABSENT, Known, Unresolved

log = structlog.get_logger()

#: Look-ups at once that are younger than SLOW seconds, and all in all. They are questions to WhatsApp's server, which counts them.
AT_ONCE, MOST, SLOW = 4, 32, 0.5
#: Seconds that one look-up may take: two questions of the page and the opening of the chat.
PATIENCE = 35.0
#: Seconds for the question whether WhatsApp answers at all.
CONTROL_PATIENCE = 15.0
#: Seconds that a caller of GET /api/contacts waits, and such calls that are asked for at once.
CONTACT_PATIENCE, CONTACTS = 14.0, 8
#: Seconds between two batches of dead letters, so that others can write.
BATCH_PAUSE = 0.002


class Resolver:
    def __init__(self, standing: Standing, records: Records) -> None:
        self._standing, self._records = standing, records
        self._verdicts = Verdicts()
        self._under_way: dict[int, float] = {}  # recipient → since when (boot clock)
        self._asking: dict[str, asyncio.Task[Resolved]] = {}  # address → the question under way
        self._contacts = asyncio.Semaphore(CONTACTS)

    async def run(self) -> None:
        """For ever. Raises Fenced."""
        async with asyncio.TaskGroup() as group:
            while True:
                bridge = self._fit()
                for one in await self._next() if bridge is not None else []:
                    self._under_way[one.recipient] = boot_time()
                    group.create_task(self._look_up(one))
                # a look-up that has become slow makes room for another
                await awakened(self._standing.names, SLOW if self._under_way else None)

    def _fit(self) -> Bridge | None:
        """The bridge, if the page can be asked. Without a line every look-up would fail, and be put off for longer and longer."""
        report, bridge = self._standing.report, self._standing.usable(boot_time())
        connected = report is not None and report.socket == "CONNECTED"
        return bridge if connected and bridge is not None and bridge.generation is not None else None

    async def _next(self) -> list[Unresolved]:
        """Recipients whose look-up may begin now."""
        now, busy = boot_time(), self._under_way
        room = min(AT_ONCE - sum(now - since < SLOW for since in busy.values()), MOST - len(busy))
        if room <= 0:
            return []
        session, limit = self._standing.session, room + len(busy)
        found = await self._records.read(lambda conn: recipients.unresolved(conn, session=session, now=time.time(), limit=limit))
        return [one for one in found if one.recipient not in busy][:room]

    # -- one look-up

    async def _look_up(self, one: Unresolved) -> None:
        try:
            heard = self._verdicts.fresh(one.address, boot_time()) if one.first else None
            answer = heard or await self._ask(one.address)
            await self._conclude(one, answer)
        except (PageError, Refused) as error:
            await self._failed(one, str(error))
        finally:
            del self._under_way[one.recipient]
            self._standing.names.set()
            self._standing.work.set()

    async def _ask(self, address: str) -> Resolved:
        """The page's answer; who asks for the same address meanwhile gets the same. Raises PageError, Refused."""
        task = self._asking.get(address)
        if task is None:
            bridge = self._fit()
            if bridge is None:
                raise Refused("session_not_ready", "WhatsApp cannot be asked at present: the session is not linked, or not connected")
            task = asyncio.create_task(bridge.resolve(address, PATIENCE))
            self._asking[address] = task
            task.add_done_callback(lambda done: self._asked(address, done))
        return await asyncio.shield(task)

    def _asked(self, address: str, done: asyncio.Task[Resolved]) -> None:
        del self._asking[address]
        if not done.cancelled():
            done.exception()  # looked at: the callers may have given up by now

    async def _conclude(self, one: Unresolved, answer: Resolved) -> None:
        verdict, fence = self._verdicts.heard(one.address, answer, boot_time(), absent=one.absent), self._records.fence
        if verdict is Known.RESOLVED:
            await self._records.surely(lambda conn: self._write(conn, one.recipient, answer))
        elif isinstance(verdict, Known):
            absent = await self._fail(lambda conn: recipients.absent(conn, fence, recipient=one.recipient, known=verdict, now=time.time()))
            said = ABSENT[verdict][1]
            log.warning("The recipient is not there: two look-ups agree", recipient=mask(one.address), messages=absent, reason=said)
        elif answer.connected:
            await self._postpone(one, verdict)
        else:
            await self._give_up_or_postpone(one, verdict, "WhatsApp was not connected all the time")

    def _write(self, conn: sqlite3.Connection, recipient: int, a: Resolved) -> None:
        assert a.remote is not None
        if recipients.get(conn, recipient) is None:
            return  # it turned out meanwhile to be another one
        recipients.resolved(
            conn, self._records.fence, recipient=recipient, wa_id=a.wa_id, pn=a.pn, lid=a.lid, remote=a.remote,
            participant=a.participant, now=time.time(),
        )  # fmt: skip

    # -- without an answer

    async def _failed(self, one: Unresolved, reason: str) -> None:
        pause = self._verdicts.failed(one.address, boot_time())
        if self._verdicts.doubtful(one.address):
            await self._ask_about_ourselves()
        await self._give_up_or_postpone(one, pause, reason)

    async def _ask_about_ourselves(self) -> None:
        """A question that WhatsApp must be able to answer shows whether it is this recipient, or look-ups in general."""
        bridge, link = self._fit(), self._standing.link
        if bridge is None or link is None:
            return
        try:
            await bridge.knows(link.account, CONTROL_PATIENCE)
            self._verdicts.answered(boot_time())
        except (PageError, Refused) as error:
            log.warning("WhatsApp answers no look-up at all", session=self._standing.session, reason=for_log(str(error)))

    async def _give_up_or_postpone(self, one: Unresolved, pause: float, reason: str) -> None:
        fence = self._records.fence
        if not self._verdicts.ended(one.address):
            log.warning("A recipient could not be looked up", recipient=mask(one.address), reason=for_log(reason), again_in=pause)
            await self._postpone(one, pause)
            return
        now = time.time()
        messages = await self._fail(
            lambda conn: recipients.unanswered(conn, fence, recipient=one.recipient, again_at=now + LONGEST_PAUSE, now=now)
        )
        log.error("A recipient cannot be looked up, others can", recipient=mask(one.address), messages=messages, reason=for_log(reason))

    async def _fail(self, batch: Callable[[sqlite3.Connection], int]) -> int:
        """Make dead letters of all that waits for a recipient, in batches. Returns how many messages that were."""
        messages = done = await self._records.surely(batch)
        while done == recipients.BATCH:
            await asyncio.sleep(BATCH_PAUSE)
            done = await self._records.surely(batch)
            messages += done
        return messages

    async def _postpone(self, one: Unresolved, seconds: float) -> None:
        fence, until = self._records.fence, time.time() + seconds
        await self._records.surely(lambda conn: recipients.postponed(conn, fence, recipient=one.recipient, until=until))

    # -- for others

    async def contact(self, address: str) -> Resolved:
        """Who is behind an address, for GET /api/contacts. Raises PageError, Refused.

        Presence may be a fact of the last minute. Absence is asked for, and given only while the socket is up, since it is also
        WhatsApp's answer to some errors. What is heard counts for the messages that wait for this recipient, or come next.
        """
        if (fresh := self._verdicts.fresh(address, boot_time())) is not None:
            return fresh
        try:
            async with asyncio.timeout(CONTACT_PATIENCE), self._contacts:
                answer = await self._ask(address)
        except TimeoutError:
            raise Refused("deadline", f"WhatsApp did not say within {CONTACT_PATIENCE:g} s: try again in a moment") from None
        if not (answer.exists or answer.connected):
            raise Refused("session_not_ready", "WhatsApp cannot be asked at present: the session is not connected")
        await self._share(address, answer)
        return answer

    async def _share(self, address: str, answer: Resolved) -> None:
        session = self._standing.session
        known = await self._records.read(lambda conn: recipients.look_up(conn, session=session, address=address))
        if known is None:
            self._verdicts.heard(address, answer, boot_time())
            return
        if known.known is Known.RESOLVED and answer.exists:
            return
        if known.known is Known.RESOLVED:
            fence = self._records.fence
            await self._records.surely(lambda conn: recipients.stale(conn, fence, recipient=known.id, now=time.time()))
        await self._conclude(Unresolved(known.id, address, absent=known.known in ABSENT), answer)
        self._standing.names.set()
        self._standing.work.set()
