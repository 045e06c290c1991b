"""Looks recipients up before their first hand-over; the answer is kept in the store, and is the lane's chat.

wa-js answers null for "not on WhatsApp" and for every error, and keeps a null for 15 s; the bridge
asks WhatsApp's own code then, which throws. Should that call an error nobody too: null is believed
only if the socket was connected throughout and a second question, 16 s later, says the same.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from dataclasses import dataclass

import structlog

from gateway.beat import boot_time
from gateway.browser.bridge import Bridge, Refused, Resolved
from gateway.browser.page import PageError
from gateway.browser.records import Records
from gateway.browser.standing import Standing, awakened
from gateway.browser.translate import for_log
from gateway.pauses import doubling
from gateway.process import mask
from gateway.settings import Settings
from gateway.store import recipients
from gateway.store.recipients import Unresolved

log = structlog.get_logger()

#: Look-ups at once. They are questions to WhatsApp's server, which counts them.
AT_ONCE = 4
#: Seconds between the two questions of which both must say null.
SECOND_QUESTION = 16.0
#: Seconds before a look-up that failed is tried again: first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
#: Seconds that one look-up may take: two questions of the page and the opening of the chat.
PATIENCE = 35.0


@dataclass(frozen=True, slots=True)
class Nobody:
    """The first null for a recipient: when, and in which unbroken connection."""

    at: float
    generation: str | None
    drops: int


class Resolver:
    def __init__(self, settings: Settings, standing: Standing, records: Records) -> None:
        self._settings, self._standing, self._records = settings, standing, records
        self._nobody: dict[int, Nobody] = {}
        self._failures: dict[int, int] = {}

    async def run(self) -> None:
        """For ever. Raises Fenced."""
        s = self._standing
        while True:
            bridge = s.usable(boot_time()) if self._connected() else None
            found = await self._unresolved() if bridge is not None and bridge.generation is not None else []
            if bridge is not None and found:
                async with asyncio.TaskGroup() as group:
                    for one in found:
                        group.create_task(self._look_up(bridge, one))
                s.work.set()
            else:
                await awakened(s.names)

    def _connected(self) -> bool:
        """Without a line every question would end in an error, and be put off for longer and longer."""
        report = self._standing.report
        return report is not None and report.socket == "CONNECTED"

    async def _unresolved(self) -> list[Unresolved]:
        session = self._standing.session
        return await self._records.read(lambda conn: recipients.unresolved(conn, session=session, now=time.time(), limit=AT_ONCE))

    async def _look_up(self, bridge: Bridge, one: Unresolved) -> None:
        try:
            answer = await bridge.resolve(one.address, PATIENCE)
        except (PageError, Refused) as error:
            failures = self._failures[one.recipient] = self._failures.get(one.recipient, 0) + 1
            pause = doubling(failures, first=FIRST_PAUSE, largest=LONGEST_PAUSE)
            log.warning("A recipient could not be looked up", recipient=mask(one.address), reason=for_log(str(error)), again_in=pause)
            await self._postpone(one, pause)
            return
        self._failures.pop(one.recipient, None)
        if answer.exists:
            self._nobody.pop(one.recipient, None)
            await self._records.surely(lambda conn: self._write(conn, one, answer))
        else:
            await self._heard_nobody(one, answer)

    def _write(self, conn: sqlite3.Connection, one: Unresolved, a: Resolved) -> None:
        assert a.remote is not None
        if recipients.get(conn, one.recipient) is None:
            return  # it turned out meanwhile to be another one
        recipients.resolved(
            conn, self._records.fence, recipient=one.recipient, wa_id=a.wa_id, pn=a.pn, lid=a.lid, remote=a.remote,
            participant=a.participant, now=time.time(),
        )  # fmt: skip

    async def _heard_nobody(self, one: Unresolved, answer: Resolved) -> None:
        now, first = boot_time(), self._nobody.get(one.recipient)
        if not answer.connected:
            self._nobody.pop(one.recipient, None)
            await self._postpone(one, FIRST_PAUSE)
        elif first is None or (first.generation, first.drops) != (answer.generation, answer.drops):
            self._nobody[one.recipient] = Nobody(now, answer.generation, answer.drops)
            await self._postpone(one, SECOND_QUESTION + 0.2)
        elif now - first.at < SECOND_QUESTION:
            await self._postpone(one, SECOND_QUESTION + 0.2 - (now - first.at))
        else:
            self._nobody.pop(one.recipient, None)
            fence = self._records.fence
            failed = await self._records.surely(lambda conn: recipients.unknown(conn, fence, recipient=one.recipient, now=time.time()))
            log.warning("Not on WhatsApp: two questions said so", recipient=mask(one.address), messages=failed)

    async def _postpone(self, one: Unresolved, seconds: float) -> None:
        fence, until = self._records.fence, time.time() + seconds
        await self._records.surely(lambda conn: recipients.postponed(conn, fence, recipient=one.recipient, until=until))
