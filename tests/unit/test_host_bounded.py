"""What a host keeps in memory goes when it is of no use any more."""

from __future__ import annotations

import asyncio
import dataclasses
import types
from typing import Any, cast

from gateway.beat import boot_time
from gateway.browser.reconcile import Seen, Sight, Verdict
from gateway.browser.reconciler import HELD_ASKS, SWEEP, Reconciler
from gateway.browser.sender import Sender
from gateway.browser.standing import Standing
from gateway.message import State
from gateway.pacing import Pacer
from gateway.settings import Settings
from gateway.store.model import Pending


class Page:
    """A bridge that is attached to, and keeps ids; what it was told to forget."""

    def __init__(self) -> None:
        self.generation, self.attachment = "g", 0
        self.forgotten: list[str] = []

    async def attach(self) -> None:
        self.attachment += 1

    async def kept(self, limit: int) -> list[str]:
        return ["3EB0A", "3EB0B"][:limit]

    async def forget(self, hexes: list[str]) -> None:
        self.forgotten += hexes


class Store:
    """Records whose reads answer what is queued up, one after the other."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    async def read(self, operation: Any) -> Any:
        return self.answers.pop(0)


def host(*answers: Any) -> tuple[Reconciler, Sender, Page]:
    settings, standing = Settings(), Standing("default", 1, 0.0, Pacer(1.0), reconciled="g")
    records = cast(Any, Store(*answers))
    sender = Sender(settings, standing, records)
    reconciler = Reconciler(settings, standing, records, sender, known="g")
    reconciler._generation = "g"
    return reconciler, sender, Page()


def round_(reconciler: Reconciler, page: Page) -> None:
    asyncio.run(reconciler._round(cast(Any, page), cast(Any, types.SimpleNamespace(account="1@c.us", lid=None))))


def test_pauses_of_rows_that_an_ack_ended_are_forgotten() -> None:
    reconciler, _, page = host([])
    reconciler._again, reconciler._swept_at = {7: (1e12, 10.0)}, 1e12
    round_(reconciler, page)
    assert reconciler._again == {}


def test_calls_given_up_on_are_forgotten_once_they_cannot_come_any_more() -> None:
    reconciler, sender, page = host([])
    reconciler._swept_at = 1e12
    sender.given_up = {7: 0, 8: 1}  # 8 was made while the attachment was renewed: it may still come
    round_(reconciler, page)
    assert page.attachment == 1 and sender.given_up == {8: 1}


def test_a_held_message_that_the_page_cannot_speak_of_stays_held_after_a_while() -> None:
    reconciler, _, _ = host()
    reconciler._standing.steady_at = boot_time() - 60
    held = pending(held=True)
    answer = {"ledger": None, "witnessed": False}
    link = cast(Any, types.SimpleNamespace(generation="g", incarnation="i"))
    verdicts = []
    for _ in range(HELD_ASKS + 1):
        verdict, _ = reconciler._decide(held, link, Sight(Seen.UNKNOWN), answer)
        verdicts.append(verdict)
        reconciler._ask_later(held, boot_time())
    assert verdicts == [Verdict.ASK_AGAIN] * HELD_ASKS + [Verdict.UNANSWERED]
    assert reconciler._decide(pending(held=False), link, Sight(Seen.UNKNOWN), answer)[0] is Verdict.ASK_AGAIN


def pending(**given: Any) -> Pending:
    values = dict.fromkeys(f.name for f in dataclasses.fields(Pending)) | {"rowid": 7, "state": State.QUEUED, "placed": False} | given
    return Pending(**cast(Any, values))


def test_the_page_is_told_again_what_it_may_forget() -> None:
    reconciler, _, page = host([], ["3EB0A"])
    reconciler._swept_at = -SWEEP
    round_(reconciler, page)
    assert page.forgotten == ["3EB0A"]
