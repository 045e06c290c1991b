"""The resolver with a real store and a played page: look-ups are independent, bounded, shared, and come to an end."""

from __future__ import annotations

import asyncio
import time
import types
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from store_rig import Rig

from gateway.browser.bridge import Refused, Resolved
from gateway.browser.lookups import FAILURES
from gateway.browser.resolver import AT_ONCE, MOST, Resolver
from gateway.message import State
from gateway.store import recipients
from gateway.store.recipients import Known, Unresolved


class Page:
    """Answers as it is told to; `slow` addresses never. Counts what it is asked."""

    generation = "g"

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.slow: set[str] = set()
        self.absent: set[str] = set()
        self.failing: set[str] = set()
        self.under_way = self.most = self.controls = 0

    async def resolve(self, address: str, deadline: float) -> Resolved:
        self.asked[address] += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await (asyncio.Event().wait() if address in self.slow else asyncio.sleep(0.001))
        finally:
            self.under_way -= 1
        if address in self.failing:
            raise Refused("page_error", "the look-up failed")
        if address in self.absent:
            return Resolved(False, generation="g", connected=True)
        return Resolved(True, wa_id=address, pn=address, remote=address)

    async def knows(self, address: str, deadline: float) -> bool:
        self.controls += 1
        return True


class Store:
    """Records on the rig's database."""

    def __init__(self, rig: Rig) -> None:
        self._rig, self.fence = rig, rig.fence

    async def surely(self, operation: Any) -> Any:
        return self._rig.do(operation)

    read = surely


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.now = time.time() - 3_600  # the resolver asks by the wall clock
    return rig


def resolver_of(rig: Rig, page: Page) -> Resolver:
    standing = types.SimpleNamespace(
        session="default", names=asyncio.Event(), work=asyncio.Event(), link=types.SimpleNamespace(account="4900@c.us"),
        report=types.SimpleNamespace(socket="CONNECTED"), usable=lambda now: page,
    )  # fmt: skip
    return Resolver(cast(Any, standing), cast(Any, Store(rig)))


@asynccontextmanager
async def running(resolver: Resolver) -> AsyncIterator[None]:
    task = asyncio.create_task(resolver.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(what: Callable[[], Any], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


async def test_slow_look_ups_hold_back_no_others_and_are_bounded(rig: Rig) -> None:
    page = Page()
    slow = [f"491{n:03d}@c.us" for n in range(3 * AT_ONCE)]
    quick = [f"492{n:03d}@c.us" for n in range(20)]
    page.slow.update(slow)
    rig.accept(*slow)
    rig.accept(*quick)
    async with running(resolver_of(rig, page)):
        await until(lambda: set(quick) <= page.asked.keys(), 5.0)
    assert page.most <= MOST and max(page.asked.values()) == 1


async def test_never_more_than_the_most_are_under_way(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.browser.resolver.SLOW", 0.02)
    page = Page()
    rig.accept(*(addresses := [f"491{n:03d}@c.us" for n in range(MOST + 10)]))
    page.slow.update(addresses)
    async with running(resolver_of(rig, page)):
        await until(lambda: page.under_way == MOST, 15.0)
        await asyncio.sleep(0.2)
    assert page.most == MOST


async def test_one_question_serves_all_who_ask_at_once_and_the_messages_that_come_next(rig: Rig) -> None:
    page, who = Page(), "491@c.us"
    resolver = resolver_of(rig, page)
    found = await asyncio.gather(*(resolver.contact(who) for _ in range(5)))
    assert [f.exists for f in found] == [True] * 5 and page.asked[who] == 1
    rig.accept(who, who, who)
    async with running(resolver):
        await until(rig.claim)
    assert page.asked[who] == 1


async def test_what_get_contacts_hears_overrules_an_older_verdict(rig: Rig) -> None:
    page, who = Page(), "491@c.us"
    rig.accept(who)
    (one,) = recipients.unresolved(rig.conn, session="default", now=rig.now, limit=9)
    rig.do(recipients.absent, rig.fence, recipient=one.recipient, known=Known.NOT_ON_WHATSAPP, now=rig.now)
    assert (await resolver_of(rig, page).contact(who)).exists
    (id_,) = rig.accept(who)
    assert rig.state(id_) is State.QUEUED and rig.claimed().message == id_


async def test_an_absence_that_get_contacts_hears_has_the_next_message_looked_up_anew(rig: Rig) -> None:
    page, who = Page(), "491@c.us"
    rig.accept(who)
    rig.resolve()
    page.absent.add(who)
    assert not (await resolver_of(rig, page).contact(who)).exists
    found = recipients.look_up(rig.conn, session="default", address=who)
    assert found is not None and found.known is Known.UNRESOLVED


async def test_a_recipient_that_can_never_be_looked_up_is_a_dead_letter_if_whatsapp_answers_others(rig: Rig) -> None:
    page, who = Page(), "491@c.us"
    page.failing.add(who)
    (id_,) = rig.accept(who)
    (one,) = recipients.unresolved(rig.conn, session="default", now=rig.now, limit=9)
    resolver = resolver_of(rig, page)
    for n in range(FAILURES):
        assert rig.state(id_) is State.QUEUED and page.controls == 0, n
        resolver._under_way[one.recipient] = 0.0
        await resolver._look_up(Unresolved(one.recipient, who))
    assert page.controls == 1, "a question about ourselves, which WhatsApp answers"
    assert (rig.state(id_), rig.get(id_).reason) == (State.FAILED, "look_up_failed")
