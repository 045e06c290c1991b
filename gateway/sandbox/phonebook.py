"""Who exists on this WhatsApp: people with their numbers and LIDs, and groups."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from .fields import Bad

#: More people or groups than this are refused, so that the sandbox stays small.
MOST = 10_000


def default_lid(number: str) -> str:
    """The LID that a number has unless it was given one: 15 digits that tell nothing of the number, always the same."""
    return f"{10**14 + int.from_bytes(hashlib.sha256(number.encode()).digest()[:6], 'big') % (9 * 10**14)}@lid"


@dataclass(slots=True)
class Person:
    """Somebody with a phone number; in our contacts if they have a name."""

    number: str
    lid: str
    name: str | None = None
    on_whatsapp: bool = True
    blocked: bool = False  #: by us
    resolves_to: str | None = None  #: the number that WhatsApp itself makes of this one (Brazil's ninth digit)

    @property
    def wid(self) -> str:
        return f"{self.number}@c.us"


@dataclass(slots=True)
class Group:
    """A group with its participants' numbers, ours included."""

    id: str
    subject: str
    participants: list[str] = field(default_factory=list)
    admins: list[str] = field(default_factory=list)
    announce: bool = False  #: only admins write


class Phonebook:
    """Everybody exists on WhatsApp unless said otherwise."""

    def __init__(self) -> None:
        self.people: dict[str, Person] = {}
        self.groups: dict[str, Group] = {}
        self._by_lid: dict[str, str] = {}

    def person(self, number: str) -> Person:
        """The person with that number, whom the phone book remembers from now on while there is room."""
        known = self.people.get(number)
        if known is None:
            known = Person(number, default_lid(number))
            if len(self.people) < MOST:
                self.people[number] = known
                self._by_lid[known.lid] = number
        return known

    def change(
        self, number: str, *, name: str | None, on_whatsapp: bool, lid: str | None, resolves_to: str | None, blocked: bool = False
    ) -> Person:
        """Say who somebody is. Raises Bad if the book is full, or the LID is somebody else's."""
        if number not in self.people and len(self.people) >= MOST:
            raise Bad(f"The phone book is full: it holds {MOST} people.")
        person = self.person(number)
        if lid is not None and lid != person.lid:
            if self._by_lid.get(lid, number) != number:
                raise Bad(f"The LID {lid} belongs to {self._by_lid[lid]}.")
            self._by_lid.pop(person.lid, None)
            person.lid = lid
            self._by_lid[lid] = number
        person.name = name if name is not None else person.name
        person.on_whatsapp = on_whatsapp
        person.resolves_to = resolves_to
        person.blocked = blocked
        return person

    def add_group(self, group: Group) -> None:
        """Add a group or replace it. Raises Bad if there are too many."""
        if group.id not in self.groups and len(self.groups) >= MOST:
            raise Bad(f"There are {MOST} groups already.")
        self.groups[group.id] = group

    def find(self, wid: str) -> Person | None:
        """Whom WhatsApp's own lookup finds under a number or a LID: the corrected person, or None."""
        user, _, server = wid.partition("@")
        number = self._by_lid.get(wid) if server == "lid" else user
        if number is None:
            return None
        person = self.person(number)
        if person.resolves_to is not None:
            person = self.person(person.resolves_to)
        return person if person.on_whatsapp else None

    def number_of(self, wid: str) -> str | None:
        """The number behind a wid, `…@c.us` or `…@lid`; None for groups and strangers."""
        user, _, server = wid.partition("@")
        if server == "lid":
            return self._by_lid.get(wid)
        return user if server == "c.us" else None

    def contacts(self) -> list[dict[str, Any]]:
        """What is synced to a page: people with a name."""
        return [{"id": p.wid, "lid": p.lid, "name": p.name} for p in self.people.values() if p.name is not None]

    def blocklist(self) -> list[dict[str, str]]:
        """Whom we have blocked."""
        return [{"id": p.wid, "lid": p.lid} for p in self.people.values() if p.blocked]

    def groups_for(self, own: str) -> list[dict[str, Any]]:
        """The groups of an account, participants as pairs of number and LID."""
        return [self.shown(g.id) for g in self.groups.values() if own in g.participants]

    def shown(self, id: str) -> dict[str, Any]:
        """A group as a page is told of it. Raises KeyError."""
        group = self.groups[id]
        people = [self.person(number) for number in group.participants]
        participants = [{"id": p.wid, "lid": p.lid, "admin": p.number in group.admins} for p in people]
        return {"id": id, "subject": group.subject, "announce": group.announce, "participants": participants}
