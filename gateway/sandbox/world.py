"""All that the sandbox knows, in one place, and how it becomes new again."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from .accounts import DEFAULT_NUMBER, Account, Accounts
from .behaviour import Behaviour
from .faults import PAGE, Faults
from .phonebook import Group, Phonebook
from .schedule import Schedule
from .truth import Truth

if TYPE_CHECKING:
    from .line import Line

#: Bytes of media kept in all; the oldest files go first.
MEDIA_LIMIT = 256 * 2**20

_FRIENDS = (("4915550100001", "Ada"), ("4915550100002", "Bruno"), ("4915550100003", "Chidi"))
_GROUP = Group("120363000000000001@g.us", "Weekend hike", [DEFAULT_NUMBER, *(number for number, _ in _FRIENDS)])


class World:
    """The server's memory. Nothing of it outlives the process."""

    def __init__(self) -> None:
        self.lines: set[Line] = set()
        self.schedule = Schedule()
        self.changed = asyncio.Event()
        self.behaviour = Behaviour()
        self.faults = Faults()
        self.era = 0  #: how often the sandbox was reset
        self.version = 1  #: of everything that a watcher sees; never steps back
        self._begin()

    def _begin(self) -> None:
        self.phonebook = Phonebook()
        for number, name in _FRIENDS:
            self.phonebook.change(number, name=name, on_whatsapp=True, lid=None, resolves_to=None)
        self.phonebook.add_group(Group(_GROUP.id, _GROUP.subject, list(_GROUP.participants)))
        self.accounts = Accounts()
        self.account(DEFAULT_NUMBER)
        self.truth = Truth(self.next_version)
        self.media: OrderedDict[str, tuple[bytes, str]] = OrderedDict()
        self._media_bytes = 0

    def reset(self) -> None:
        """Everything as new; pages that are open are logged out by the token that nobody knows any more."""
        self.schedule.clear()
        self.faults.clear()
        self.behaviour.reset()
        self.era += 1
        self._begin()
        for line in list(self.lines):
            line.forget()
        self.stir()

    def account(self, number: str) -> Account:
        """The account with that number. Raises Bad if there are too many."""
        return self.accounts.get(number, self.phonebook.person(number).lid)

    def own_account(self, number: str | None) -> Account:
        """The account that a request means: the named one, else the first that is linked, else the default one."""
        if number is not None:
            return self.account(number)
        linked = (a for a in self.accounts.all.values() if a.devices)
        return next(linked, None) or self.account(DEFAULT_NUMBER)

    def keep_media(self, sha256: str, data: bytes, mimetype: str) -> None:
        """Keep a file by its hash, within the limit for all."""
        if sha256 in self.media:
            self.media.move_to_end(sha256)
            return
        self.media[sha256] = (data, mimetype)
        self._media_bytes += len(data)
        while self._media_bytes > MEDIA_LIMIT and len(self.media) > 1:
            _, (old, _) = self.media.popitem(last=False)
            self._media_bytes -= len(old)

    def next_version(self) -> int:
        """A new version, for something that has just changed."""
        self.version += 1
        return self.version

    def stir(self) -> None:
        """Something has changed: wake whoever watches (the phone page)."""
        self.next_version()
        self.changed.set()
        self.changed = asyncio.Event()

    def push_settings(self) -> None:
        """Tell every open page how it behaves now and which of its faults are on."""
        for line in self.lines:
            line.say_settings()

    def page_faults(self) -> list[dict[str, object]]:
        """The faults that take effect in the page."""
        return [f.shown() for f in self.faults.active(PAGE)]
