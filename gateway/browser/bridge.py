"""bridge.js as Python sees it: each question with its types and its deadline."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Self

from gateway.browser.page import Page
from gateway.browser.reconcile import Sought
from gateway.session import ROUND_TRIP
from gateway.store.model import Claim

#: Seconds that the page may hold a long poll for news, and that its answer may come late.
POLL = 10.0
GRACE = 5.0
#: Seconds for which a pairing code is good. WhatsApp's own are for some more: wa-js replaces them after 195.
PAIRING_LIFE = 180.0


class Refused(Exception):
    """The bridge refused, as it should, or could not; `code` is a short stable word."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Report:
    """What a probe saw. Ages in seconds."""

    generation: str
    version: str
    epoch: int | None
    attachment: int
    url: str
    loaded: bool
    library: str | None  #: wa-js' version; None: it is not in the document
    ready: bool  #: wa-js has put itself together
    authenticated: bool
    socket: str | None
    mode: str | None
    info: str | None
    account: str | None
    lid: str | None
    device: str | None
    qr: bool
    passkey: bool
    canary: str | None  #: None while ready: passes by value
    steady: float | None  #: how long MAIN, NORMAL and CONNECTED have held without a break
    drops: int
    events: int
    overflowed: bool
    dialogs: list[dict[str, Any]]  #: what lies over the page: `title`, and whether it is `known`, so that it can be dismissed
    running: float | None  #: how long wa-js has been at the oldest call that has not ended

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Self:
        known: dict[str, Any] = {f.name: answer.get(f.name) for f in fields(cls)}
        known["dialogs"] = known["dialogs"] or []  # an older bridge does not say
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Resolved:
    """Who is behind an address. `exists` False: the page said nobody, which is an error half of the time (FACTS).

    `why`: of a group that is not there, `not_a_member` or `group_unknown`. `connected`: the socket was, all the time.
    """

    exists: bool
    why: str | None = None
    wa_id: str | None = None
    pn: str | None = None
    lid: str | None = None
    remote: str | None = None
    participant: str | None = None
    generation: str | None = None
    drops: int = 0
    connected: bool = False


class Bridge:
    """The bridge in one page, for one epoch. All calls raise PageError; those that can be refused, Refused."""

    def __init__(self, page: Page, epoch: int, attachments: Iterator[int] | None = None) -> None:
        self.page = page
        self.epoch = epoch
        self.attachment = 0
        self.generation: str | None = None  #: of the document that we attached to last
        self._attachments = attachments or itertools.count(1)

    async def _ask(self, name: str, args: dict[str, Any], deadline: float) -> dict[str, Any]:
        answer = await self.page.call(name, args, deadline)
        if trouble := answer.get("refused") or answer.get("error"):
            raise Refused(trouble["code"], trouble["text"])
        return answer

    @property
    def _holder(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "attachment": self.attachment}

    async def attach(self) -> str:
        """Take the document over and end every call made before; its generation. Refused(stale_host): we have a successor."""
        self.attachment = next(self._attachments)  # before the call: what is sent after it carries the new number
        answer = await self._ask("attach", self._holder, GRACE)
        self.generation = answer["generation"]
        return answer["generation"]  # type: ignore[no-any-return]

    async def probe(self) -> Report:
        return Report.of(await self._ask("probe", {}, ROUND_TRIP))

    async def send(
        self, claim: Claim, account: str, deadline: float, *, again: bool = False, patience: float = 120.0
    ) -> dict[str, Any]:
        """Hand the message over; the bridge's answer as it is, for translate.error_of_answer.

        After `patience` seconds the page gives up a call that has not reached WhatsApp's own code: it is certain not to be sent.
        """
        order = {
            **self._holder,
            "generation": self.generation,
            "account": account,
            "hex": claim.key.hex,
            "key": str(claim.key),
            "remote": claim.remote,
            "type": claim.type,
            "content": claim.content,
            "again": again,
            "patience": int(patience * 1000),
        }
        return await self.page.call("send", order, deadline)

    async def resolve(self, address: str, deadline: float) -> Resolved:
        answer = await self._ask("resolve", {"address": address}, deadline)
        known: dict[str, Any] = {f.name: answer[f.name] for f in fields(Resolved) if f.name in answer}
        known["exists"] = bool(answer["exists"])
        return Resolved(**known)

    async def knows(self, address: str, patience: float) -> bool:
        """Whether WhatsApp's server, asked past every cache, knows of somebody at the address.

        Raises Refused if it says nothing within `patience` seconds.
        """
        asked = {"address": address, "patience": int(patience * 1000)}
        return bool((await self._ask("knows", asked, patience + ROUND_TRIP))["known"])

    async def find(self, sought: list[Sought], deadline: float) -> list[dict[str, Any]]:
        """For each message what the page says of it (reconcile.sight reads it), and `witnessed`: whether its witness was found."""
        asked = [{"hex": s.hex, "chats": list(s.chats), "keys": list(s.keys), "witness": list(s.witness)} for s in sought]
        return list((await self._ask("find", {**self._holder, "sought": asked}, deadline))["found"])

    async def events(self, after: int, heard: int = 0) -> dict[str, Any]:
        """News younger than `after`, waited for; what is not younger is forgotten by the page.

        `overflows` in the answer is not 0 where the page dropped news; give it back as `heard` once everything is to be asked for.
        """
        args = {**self._holder, "generation": self.generation, "after": after, "wait": int(POLL * 1000), "heard": heard}
        return await self._ask("events", args, POLL + GRACE)

    async def forget(self, hexes: list[str]) -> None:
        await self._ask("forget", {**self._holder, "hexes": hexes}, GRACE)

    async def kept(self, limit: int) -> list[str]:
        """Ids (hex parts) that the page keeps although their calls have ended, the oldest first, `limit` at most."""
        return list((await self._ask("kept", {**self._holder, "limit": limit}, GRACE))["hexes"])

    async def qr(self) -> dict[str, Any]:
        return await self._ask("qr", {}, 12.0)

    async def pairing_code(self, phone: str) -> dict[str, Any]:
        """`code`, and `expires_at` in wall-clock seconds; the same ones for as long as they are valid."""
        return await self._ask("pairing", {"phone": phone, "life": int(PAIRING_LIFE * 1000)}, 14.0)

    async def reconnect(self) -> None:
        await self._ask("reconnect", self._holder, GRACE)

    async def dismiss(self) -> list[str]:
        """Press away the dialogs that are known to mean no more than "read"; their titles."""
        return list((await self._ask("dismiss", self._holder, GRACE))["dismissed"])

    async def take_over(self) -> None:
        """Speak for our device again, in place of another window."""
        await self._ask("takeover", self._holder, GRACE)

    async def logout(self) -> None:
        await self._ask("logout", self._holder, 14.0)
