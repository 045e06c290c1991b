"""Accounts, their linked devices, and what waits to be told to each device."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .fields import Bad, NotNow

if TYPE_CHECKING:
    from .line import Line

#: The account whose phone scans unless another is named.
DEFAULT_NUMBER = "491700000001"
#: Accounts that one sandbox holds at most.
MOST_ACCOUNTS = 50
#: WhatsApp links four companion devices to a phone.
MOST_DEVICES = 4
#: News that wait for one device at most; the oldest go first.
MOST_NEWS = 100_000


@dataclass(eq=False, slots=True)
class Device:
    """A linked device, kept by its token. News (acks, receipts, messages) wait here until the page has confirmed
    that it wrote them down, so they survive any cut of the line."""

    account: Account
    number: int
    token: str
    line: Line | None = None
    ready: bool = False  #: the page has synced on this very line
    waiting: OrderedDict[int, dict[str, Any]] = field(default_factory=OrderedDict)
    told: int = 0

    @property
    def jid(self) -> str:
        return f"{self.account.number}:{self.number}@c.us"

    def tell(self, kind: str, **what: Any) -> None:
        """News for the page: sent now if it is there, and in any case kept until confirmed."""
        self.told += 1
        news = {"t": "news", "n": self.told, "kind": kind, **what}
        self.waiting[self.told] = news
        if len(self.waiting) > MOST_NEWS:
            self.waiting.popitem(last=False)
        if self.ready and self.line is not None:
            self.line.say(news)

    def tell_again(self) -> None:
        """All that was never confirmed, in order."""
        if self.line is not None:
            for news in self.waiting.values():
                self.line.say(news)

    def confirmed(self, n: int) -> None:
        """The page has written down everything up to `n`."""
        while self.waiting and next(iter(self.waiting)) <= n:
            self.waiting.popitem(last=False)


@dataclass(eq=False, slots=True)
class Account:
    """A phone number with its phone."""

    number: str
    lid: str
    devices: dict[int, Device] = field(default_factory=dict)
    links: int = 0  #: how often a device was linked: gives the next its number

    @property
    def wid(self) -> str:
        return f"{self.number}@c.us"

    def link(self) -> Device:
        """A new device with the next number. Raises NotNow if four are linked."""
        if len(self.devices) >= MOST_DEVICES:
            raise NotNow(f"The account has {MOST_DEVICES} linked devices, which is all that WhatsApp allows; unlink first.")
        self.links += 1
        device = Device(self, self.links, secrets.token_hex(16))
        self.devices[device.number] = device
        return device

    def state(self) -> dict[str, Any]:
        """As `GET /control/state` shows it."""
        devices = [{"number": d.number, "jid": d.jid, "connected": d.ready, "waiting": len(d.waiting)} for d in self.devices.values()]
        return {
            "number": self.number,
            "lid": self.lid,
            "linked": bool(self.devices),
            "connected": any(d.ready for d in self.devices.values()),
            "devices": devices,
        }


class Accounts:
    """All accounts by number."""

    def __init__(self) -> None:
        self.all: dict[str, Account] = {}

    def get(self, number: str, lid: str) -> Account:
        """The account with that number, opened if need be. Raises Bad if there are too many."""
        if number not in self.all:
            if len(self.all) >= MOST_ACCOUNTS:
                raise Bad(f"The sandbox holds {MOST_ACCOUNTS} accounts already.")
            self.all[number] = Account(number, lid)
        return self.all[number]

    def device(self, token: object) -> Device | None:
        """Whose token that is."""
        return next((d for a in self.all.values() for d in a.devices.values() if d.token == token), None)
