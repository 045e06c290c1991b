"""Asks the page what became of messages without an outcome, and writes down what follows (reconcile.py decides)."""

from __future__ import annotations

import functools
import random
import sqlite3
import time
from typing import Any

import structlog

from gateway.beat import boot_time
from gateway.browser import outcomes
from gateway.browser.bridge import Bridge, Refused
from gateway.browser.page import PageError
from gateway.browser.reconcile import SYNCED, Facts, Sight, Sought, Verdict, decide, sight, sought
from gateway.browser.records import Records
from gateway.browser.sender import Sender
from gateway.browser.standing import Link, Standing, awakened
from gateway.browser.translate import for_log
from gateway.message import OPEN, State, backoff
from gateway.settings import Settings
from gateway.store import outbox
from gateway.store.model import Pending

log = structlog.get_logger()

#: Seconds after which one that waits is asked for again: at first, and at most.
AGAIN, AGAIN_MOST = 0.25, 10.0
#: Questions without a verdict after which a held message, whose release was asked for, stays held: about a minute.
HELD_ASKS = 12
#: Messages asked for in one call: each may take the page 5 s for each of its questions at worst.
AT_ONCE = 40
#: Seconds that such a call may take.
PATIENCE = 30.0
#: Seconds that a message is asked for after it was sent, delivered or given up.
DAY = 86_400.0
#: Seconds between two sweeps of what the page keeps of settled messages, and ids that one sweep looks at.
SWEEP, SWEEP_AT_ONCE = 600.0, 5_000
#: Documents that may end while a message is handed over before that counts as an attempt of it: chance strikes twice.
CHANCE = 2


class Reconciler:
    """`known`: the document that the store knew when this host began; its page has kept the news meanwhile."""

    def __init__(self, settings: Settings, standing: Standing, records: Records, sender: Sender, *, known: str | None) -> None:
        self._settings, self._standing, self._records, self._sender, self._known = settings, standing, records, sender, known
        self._again: dict[int, tuple[float, float]] = {}  # row → not before, and the pause that led there
        self._generation: str | None = None
        self._asks: dict[int, int] = {}  # row → how often it was asked for without a verdict
        self._swept_at = 0.0

    async def run(self) -> None:
        """For ever. Raises Fenced."""
        s = self._standing
        while True:
            bridge, link = s.usable(boot_time()), s.link
            if bridge is not None and link is not None and link.generation == bridge.generation:
                try:
                    await self._round(bridge, link)
                except (PageError, Refused) as error:
                    log.info("Reconciling is interrupted", session=s.session, reason=for_log(str(error)))
            await awakened(s.doubts, self._pause())

    def _pause(self) -> float | None:
        """Seconds until the next one is to be asked for; None: none waits, or its time has come and the page is not fit for it."""
        now = boot_time()
        ahead = [at - now for at, _ in self._again.values() if at > now]
        return min(ahead) if ahead else None

    async def _round(self, bridge: Bridge, link: Link) -> None:
        s = self._standing
        if self._generation != bridge.generation:
            self._generation, self._again, self._asks, self._swept_at = bridge.generation, {}, {}, boot_time()
        first = s.reconciled != bridge.generation
        if first:
            await self._first(bridge, link)
            return
        pending = await self._read(0.0)
        self._again = {p.rowid: self._again[p.rowid] for p in pending if p.rowid in self._again}  # an ack may have ended the others
        self._asks = {p.rowid: self._asks[p.rowid] for p in pending if p.rowid in self._asks}
        rows = self._due(pending)
        if rows or self._sender.given_up:
            await self._attach(bridge)
            await self._ask(bridge, link, [p for p in rows if self._free(p, bridge)])
        if boot_time() - self._swept_at >= SWEEP:
            await self._sweep(bridge)

    async def _attach(self, bridge: Bridge) -> None:
        """End the calls that were given up on: what this ledger does not know from now on never comes."""
        await bridge.attach()
        self._sender.forget_given_up(bridge.attachment)

    async def _sweep(self, bridge: Bridge) -> None:
        """Have the page forget what is settled in the store: it was told once, and that call may have been lost."""
        self._swept_at = boot_time()
        session = self._standing.session
        hexes = await bridge.kept(SWEEP_AT_ONCE)
        if settled := await self._records.read(lambda conn: outbox.settled(conn, session=session, hexes=hexes)):
            await bridge.forget(settled)
            log.info("The page forgets ids of settled messages", session=session, messages=len(settled))

    async def _first(self, bridge: Bridge, link: Link) -> None:
        """Everything that may have changed while nobody looked, before anything else goes to those chats.

        A document that was known before has kept its news: of it the open rows and the unknown ones are asked for first.
        """
        s = self._standing
        begun = boot_time()
        await self._attach(bridge)
        rows = [p for p in await self._read(DAY) if self._free(p, bridge)]
        known = self._known == bridge.generation
        urgent = [p for p in rows if not known or p.state in OPEN or p.state is State.FAILED]
        await self._ask(bridge, link, urgent)
        s.reconciled = bridge.generation
        log.info("Reconciled", session=s.session, messages=len(urgent), seconds=round(boot_time() - begun, 3), known_document=known)
        s.stir()
        await self._ask(bridge, link, [p for p in rows if p not in urgent])

    async def _read(self, since: float) -> list[Pending]:
        session, now = self._standing.session, time.time()
        return await self._records.read(lambda conn: outbox.to_reconcile(conn, session=session, now=now, since=since))

    def _due(self, rows: list[Pending]) -> list[Pending]:
        """Of the open rows those in doubt: unconfirmed, held and asked for, or handed to a document that is gone."""
        now = boot_time()
        doubtful = [p for p in rows if p.held or p.state is State.UNCONFIRMED or (p.state is State.SENDING and not self._here(p))]
        return [p for p in doubtful if self._again.get(p.rowid, (0.0, 0.0))[0] <= now and p.rowid not in self._sender.in_hand]

    def _here(self, p: Pending) -> bool:
        return p.generation == self._generation and p.epoch == self._records.fence.epoch

    def _free(self, p: Pending, bridge: Bridge) -> bool:
        """Whether no call for it can still come: none is under way, and the last one was made before the present attachment."""
        return p.rowid not in self._sender.in_hand and self._sender.given_up.get(p.rowid) != bridge.attachment

    # -- asking and writing

    async def _ask(self, bridge: Bridge, link: Link, rows: list[Pending]) -> None:
        own = (link.account, link.lid)
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE]
            asked = [sought(p, own, generation=link.generation, incarnation=link.incarnation) for p in some]
            answers = await bridge.find(asked, PATIENCE)
            by_hex = {a["hex"]: a for a in answers}
            found = [(p, q, by_hex[q.hex]) for p, q in zip(some, asked, strict=True) if q.hex in by_hex]
            decided = [(p, q, self._decide(p, link, sight(q, a), a)) for p, q, a in found]
            sent = await self._records.surely(functools.partial(self._write, decided=decided))
            outcomes.say_sent(self._standing.session, sent)
            await self._after(bridge, decided)

    def _decide(self, p: Pending, link: Link, seen: Sight, answer: dict[str, Any]) -> tuple[Verdict, Sight]:
        synced = self._standing.synced(boot_time())
        facts = Facts(
            sight=seen,
            ledger=answer.get("ledger"),
            placed=p.placed,
            synced=synced is not None and (synced >= SYNCED or answer["witnessed"]),
            same_incarnation=p.incarnation == link.incarnation,
            generation_gone=p.generation != link.generation,
            attached_since=True,  # each round attaches first, and leaves out what was called since
        )
        verdict = decide(facts)
        if p.held and facts.synced and verdict in (Verdict.WAIT, Verdict.ASK_AGAIN) and self._asks.get(p.rowid, 0) >= HELD_ASKS:
            verdict = Verdict.UNANSWERED
        return verdict, seen

    def _write(self, conn: sqlite3.Connection, decided: list[tuple[Pending, Sought, tuple[Verdict, Sight]]]) -> list[str]:
        """One transaction; returns the messages that are sent now."""
        sent, fence, now = [], self._records.fence, time.time()
        for p, q, (verdict, seen) in decided:
            if verdict is Verdict.SENT:
                if message := outcomes.acked(conn, fence, hex=q.hex, ack=seen.ack, at=now):
                    sent.append(message)
            elif verdict is Verdict.NACKED:
                outcomes.nacked(conn, fence, self._settings, hex=q.hex, code=seen.nack, why=seen.why)
            elif p.state in OPEN:
                self._write_open(conn, p, verdict, seen, now)
        return sent

    def _write_open(self, conn: sqlite3.Connection, p: Pending, verdict: Verdict, seen: Sight, now: float) -> None:
        fence = self._records.fence
        if p.held:
            # absent, of another incarnation, or the page cannot say: it stays held, and is counted
            if verdict not in (Verdict.WAIT, Verdict.ASK_AGAIN):
                outbox.reconciled(conn, fence, rowid=p.rowid, attempt=p.attempt, verdict="absent", now=now)
        elif verdict is Verdict.QUEUE:
            self._write_absent(conn, p, now)
        elif verdict is Verdict.LOST:
            outbox.reconciled(conn, fence, rowid=p.rowid, attempt=p.attempt, verdict="lost", now=now)

    def _write_absent(self, conn: sqlite3.Connection, p: Pending, now: float) -> None:
        """Queued again. One under which document after document ends may be what ends them.

        From the second time on it waits, each for its own while, so that those that were only beside it go without it; from
        the third on it counts, and one day it is a dead letter.
        """
        deaths = outbox.deaths(conn, rowid=p.rowid, generation=self._generation or "")
        again = max(deaths, outbox.spared(conn, rowid=p.rowid))
        pause = 0.0
        if again >= CHANCE:
            first, largest = self._settings.retry_delay, self._settings.retry_max_delay
            pause = backoff(again, first=first, largest=largest, random=random.random())
        outbox.reconciled(
            conn, self._records.fence, rowid=p.rowid, attempt=p.attempt, verdict="absent", now=now, due=now + pause,
            counted=deaths > CHANCE, max_attempts=self._settings.max_attempts,
        )  # fmt: skip

    def _ask_later(self, p: Pending, now: float) -> None:
        """After twice the last pause, or as soon as absence proves something."""
        pause = min(AGAIN_MOST, self._again.get(p.rowid, (0.0, AGAIN / 2))[1] * 2)
        steady = self._standing.synced(now)
        left = SYNCED - steady if steady is not None and steady < SYNCED else pause
        self._again[p.rowid] = (now + min(pause, left), pause)
        self._asks[p.rowid] = self._asks.get(p.rowid, 0) + 1

    async def _after(self, bridge: Bridge, decided: list[tuple[Pending, Sought, tuple[Verdict, Sight]]]) -> None:
        """Ask again for what waits; let the page forget what is committed; say what was found."""
        s, now, settled = self._standing, boot_time(), []
        for p, q, (verdict, _) in decided:
            if verdict in (Verdict.WAIT, Verdict.ASK_AGAIN):
                self._ask_later(p, now)
                continue
            self._again.pop(p.rowid, None)
            self._asks.pop(p.rowid, None)
            self._sender.given_up.pop(p.rowid, None)
            settled.append(q.hex)
            if p.state in OPEN:
                how = log.error if verdict in (Verdict.LOST, Verdict.UNANSWERED) else log.info
                how("Reconciled a message", message=p.message, session=s.session, verdict=verdict.value)
        s.work.set()
        if settled:
            await bridge.forget(settled)
