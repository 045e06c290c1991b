"""Fault injection: a catalogue of kinds, and the faults that are on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from .fields import Bad, Fields, Unknown

#: How WhatsApp Web refuses a message by itself.
REFUSALS = ("throws", "later", "nack", "silence")

#: Faults that may be on at the same time.
MOST_ACTIVE = 100

#: What a memory blow-up takes at most: enough for any limit worth testing, and no danger to the machine.
MOST_MEGABYTES = 2_000

#: Where a fault takes effect.
SERVER, PAGE = "server", "page"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault, described for people and for the code that obeys it."""

    name: str
    side: str
    sentence: str
    once: bool = False  #: happens at once and is over; otherwise it stays on for `count` times or `seconds`
    counted: bool = True  #: takes `count`: it has occasions that can be counted
    usual: int | None = None  #: the count where none is given; None: any number
    matched: bool = False  #: takes `match`: a substring of body or chat
    parameters: dict[str, float | str] = field(default_factory=dict)  #: further fields with their defaults


_KINDS = (
    Kind("lost_stanza", SERVER, "A message goes out on the socket and never arrives: no row, no ack.", matched=True),
    Kind(
        "no_ack",
        SERVER,
        "A message arrives and is recorded, but its ack is withheld for good, also when the page sends it again.",
        matched=True,
    ),
    Kind(
        "slow_ack",
        SERVER,
        "A message is recorded at once, and its ack comes some seconds later.",
        matched=True,
        parameters={"seconds_delay": 3.0},
    ),
    Kind("ack_lost", SERVER, "A message is recorded, then the line is cut before its ack gets out.", matched=True),
    Kind(
        "nack",
        SERVER,
        "A message is refused with an error code (463: the account may not write to new chats for a while).",
        matched=True,
        parameters={"code": 463.0},
    ),
    Kind(
        "deaf",
        SERVER,
        "The server answers nothing but the page's pings: no ack for a message, which it records, and no look-up. The line stays open.",
        counted=False,
    ),
    Kind(
        "slow",
        SERVER,
        "Whatever the server says on the socket arrives some seconds late, in order.",
        parameters={"seconds_delay": 1.0},
    ),
    Kind("refuse_socket", SERVER, "New connections of the page's socket are refused; one that is open stays."),
    Kind("cut_socket", SERVER, "Every open socket of a page is cut now.", once=True),
    Kind(
        "away",
        SERVER,
        "WhatsApp is out of reach: lines are cut, and no page, socket or file is served. The phone and this API stay.",
        counted=False,
    ),
    Kind("conflict", SERVER, "Another window takes over the device: each page that is linked is told so and disconnected.", once=True),
    Kind("logged_out", SERVER, "The phone removes every linked device, as someone does who logs out elsewhere.", once=True),
    Kind("lookup_fails", SERVER, "Asking whether a number is on WhatsApp ends in an error.", matched=True),
    Kind(
        "slow_lookup",
        SERVER,
        "Asking whether a number is on WhatsApp takes some seconds.",
        matched=True,
        parameters={"seconds_delay": 3.0},
    ),
    Kind("upload_fails", SERVER, "The upload of a media file is refused."),
    Kind("slow_chat_lookup", PAGE, "Opening a chat takes the page some seconds longer.", matched=True, parameters={"seconds_delay": 2.5}),
    Kind(
        "refusal",
        PAGE,
        "WhatsApp Web refuses a message by itself, and nothing goes out. `form` says how: its code throws `error`; it throws it later, "
        "when the message is on the page; the message ends at ack -1 without a code (nack); or it stays at ack 0 for ever (silence).",
        matched=True,
        parameters={"form": "throws", "error": "ContactBlocked"},
    ),
    Kind("page_exception", PAGE, "A script of the page throws an exception that nobody catches.", once=True),
    Kind("endless_loop", PAGE, "A script of the page loops for ever: from now on the page answers nothing.", once=True),
    Kind(
        "renamed_function",
        PAGE,
        "WhatsApp has renamed one of its functions, as an update may do: on the page now and on each one loaded meanwhile.",
        counted=False,
        parameters={"module": "WAWebSendMsgChatAction", "function": "addAndSendMsgToChat"},
    ),
    Kind(
        "renamed_field",
        PAGE,
        "WhatsApp has renamed a field of its objects to $1, as it did to _serialized in July 2026.",
        counted=False,
        parameters={"module": "WAWebWid", "field": "_serialized"},
    ),
    Kind(
        "memory_blow_up",
        PAGE,
        "A script of the page takes that many megabytes and keeps them.",
        once=True,
        parameters={"megabytes": 300.0},
    ),
    Kind(
        "modal",
        PAGE,
        "A dialog lies over the page until its button was pressed `count` times, once unless said: on the page now and on each one loaded.",
        usual=1,
        parameters={"title": "What’s new on WhatsApp Web", "button": "Continue"},
    ),
    Kind("reload", PAGE, "The page reloads by itself.", once=True),
)
CATALOGUE: dict[str, Kind] = {k.name: k for k in _KINDS}


@dataclass(slots=True)
class Fault:
    """A fault that is on."""

    id: str
    kind: Kind
    left: int | None  #: occasions left; None: any number
    until: float | None  #: monotonic seconds; None: until it is deleted
    match: str | None
    parameters: dict[str, Any]

    def shown(self) -> dict[str, Any]:
        """As the API and the page see it; `seconds` is what is left of its time."""
        left = None if self.until is None else max(0.0, round(self.until - time.monotonic(), 3))
        said = {"id": self.id, "kind": self.kind.name, "count": self.left, "seconds": left, "match": self.match}
        return {k: v for k, v in said.items() if v is not None} | self.parameters


class Faults:
    """The faults that are on, oldest first."""

    def __init__(self) -> None:
        self._active: dict[str, Fault] = {}
        self._made = 0

    def read(self, body: Fields) -> Fault:
        """The fault that a control request asks for; not yet on. Raises Bad."""
        kind = CATALOGUE[body.need("kind", body.choice("kind", CATALOGUE))]
        count = body.whole("count", kind.usual, least=1) if kind.counted and not kind.once else None
        seconds = body.seconds("seconds") if not kind.once else None
        match = body.text("match", limit=1_000) if kind.matched else None
        parameters = {name: _parameter(body, name, default) for name, default in kind.parameters.items()}
        body.done()
        self._made += 1
        until = None if seconds is None else time.monotonic() + seconds
        return Fault(f"f{self._made}", kind, count, until, match, parameters)

    def switch_on(self, fault: Fault) -> None:
        """From now on. Raises Bad if too many are."""
        self._expire()
        if len(self._active) >= MOST_ACTIVE:
            raise Bad(f"{MOST_ACTIVE} faults are on already; delete some first.")
        self._active[fault.id] = fault

    def switch_off(self, id: str) -> Fault:
        """No longer. Raises Unknown."""
        self._expire()
        if id not in self._active:
            raise Unknown(f"No fault with the id {id} is on.")
        return self._active.pop(id)

    def hit(self, kind: str, *texts: str | None) -> Fault | None:
        """The first fault of that kind that is on and fits one of the texts; this uses one of its occasions."""
        for fault in self.active():
            if fault.kind.name == kind and (fault.match is None or any(fault.match in t for t in texts if t)):
                self.used(fault.id)
                return fault
        return None

    def on(self, kind: str) -> bool:
        """Whether a fault of that kind is on; uses none of its occasions."""
        return any(f.kind.name == kind for f in self.active())

    def used(self, id: str) -> None:
        """One occasion fewer; after the last one the fault is off."""
        fault = self._active.get(id)
        if fault is not None and fault.left is not None:
            fault.left -= 1
            if fault.left <= 0:
                del self._active[id]

    def active(self, side: str | None = None) -> list[Fault]:
        """All that are on now, or those of one side."""
        self._expire()
        return [f for f in self._active.values() if side is None or f.kind.side == side]

    def clear(self) -> None:
        """All off."""
        self._active.clear()

    def _expire(self) -> None:
        now = time.monotonic()
        self._active = {id: f for id, f in self._active.items() if f.until is None or f.until > now}


def described() -> list[dict[str, Any]]:
    """The catalogue for people and for the phone page."""
    return [
        {
            "kind": k.name,
            "sentence": k.sentence,
            "at_once": k.once,
            "takes": [
                *(["count"] if k.counted and not k.once else []),
                *(["seconds"] if not k.once else []),
                *(["match"] if k.matched else []),
                *k.parameters,
            ],
        }
        for k in CATALOGUE.values()
    ]


def _parameter(body: Fields, name: str, default: float | str) -> Any:
    if name == "form":
        return body.choice(name, REFUSALS, str(default))
    if isinstance(default, str):
        return body.text(name, default, limit=200)
    if name == "code":
        return body.whole(name, int(default), least=100, most=999)
    if name == "megabytes":
        return body.whole(name, int(default), least=1, most=MOST_MEGABYTES)
    return body.seconds(name, default, most=3_600)
