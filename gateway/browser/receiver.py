"""The page's numbered news, into the store in batches: acks, nacks, the logout. The page forgets what is committed, no sooner."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import structlog

from gateway.beat import boot_time
from gateway.browser import outcomes
from gateway.browser.bridge import Bridge, Refused
from gateway.browser.page import PageError
from gateway.browser.records import Records
from gateway.browser.standing import Standing
from gateway.browser.translate import for_log
from gateway.message import Reason
from gateway.pauses import doubling
from gateway.settings import Settings

log = structlog.get_logger()

#: Seconds before the next look for a page to listen to; after failures in a row it grows up to LOOK_MOST.
LOOK, LOOK_MOST = 0.05, 0.5


class Receiver:
    def __init__(self, settings: Settings, standing: Standing, records: Records) -> None:
        self._settings, self._standing, self._records = settings, standing, records
        self._heard: tuple[str | None, int] = (None, 0)  # generation, and the number committed last
        self._overflows = 0  # of that generation, heard of

    async def run(self) -> None:
        """For ever. Raises Fenced."""
        failures = 0
        while True:
            bridge = self._standing.bridge
            if bridge is None or bridge.generation is None or bridge.page.lost.done():
                await asyncio.sleep(LOOK)
                continue
            try:
                await self._listen(bridge, bridge.generation)
                failures = 0
            except (PageError, Refused) as error:
                log.debug("Listening to the page is interrupted", reason=for_log(str(error)))
                failures += 1
                await asyncio.sleep(doubling(failures, first=LOOK, largest=LOOK_MOST))

    async def _listen(self, bridge: Bridge, generation: str) -> None:
        if self._heard[0] != generation:
            self._heard, self._overflows = (generation, 0), 0
        answer = await bridge.events(self._heard[1], self._overflows)
        news: list[dict[str, Any]] = answer["events"]
        if answer["overflows"] > self._overflows:
            self._overflows = answer["overflows"]
            log.error("The page had more news than it keeps: everything is asked for anew", session=self._standing.session)
            self._standing.reconciled = None
            self._standing.doubts.set()
        if not news:
            return
        sent, refused = await self._records.surely(lambda conn: self._write(conn, news))
        self._heard = (generation, news[-1]["seq"])
        if sent:  # a receipt for an older message proves nothing about what we send now
            self._standing.last_ack_at = boot_time()
        outcomes.say_sent(self._standing.session, sent)
        for message, code, refusal in refused:
            outcomes.say_refused(self._standing.session, message, code, refusal)
        self._standing.work.set()
        if any(n["kind"] == "logout" for n in news):
            log.warning("WhatsApp says that this device was logged out", session=self._standing.session)
            self._standing.turns.set()
        await bridge.forget([n["hex"] for n in news if n["hex"]])

    def _write(self, conn: sqlite3.Connection, news: list[dict[str, Any]]) -> tuple[list[str], list[tuple[str, int | None, Reason | None]]]:
        """One transaction for the batch: messages now sent, and messages refused with their codes."""
        sent: list[str] = []
        refused: list[tuple[str, int | None, Reason | None]] = []
        fence = self._records.fence
        for one in news:
            if one["kind"] == "ack" and (message := outcomes.acked(conn, fence, hex=one["hex"], ack=one["ack"], at=one["at"])):
                sent.append(message)
            elif one["kind"] in ("nack", "refused"):
                write = outcomes.nacked if one["kind"] == "nack" else outcomes.refused
                if new := write(conn, fence, self._settings, hex=one["hex"], code=one["code"], why=one.get("why")):
                    refused.append((new[0], one["code"], new[1]))
        return sent, refused
