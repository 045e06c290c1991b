"""What became of a message whose outcome nobody heard: the decision of PROTOCOL, "Reconciling". Pure.

`sought` says what to ask the page, `sight` reads its answer, `decide` is the list of rules; the
first that fits decides.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from gateway.message import Key
from gateway.store.model import Claim, Pending


@dataclass(frozen=True, slots=True)
class Sought:
    """What to ask the page: open these chats, then look under these keys.

    `witness`: keys of an older message of the chat, of which one must be found to show that the page has read its store.
    """

    hex: str
    chats: tuple[str, ...]
    keys: tuple[str, ...]
    witness: tuple[str, ...] = ()


class Seen(enum.Enum):
    """What the page's answers amount to."""

    FOUND = "found"
    ABSENT = "absent"  #: every key of every chat that exists says so
    UNKNOWN = "unknown"  #: some question went unanswered: ask again


@dataclass(frozen=True, slots=True)
class Sight:
    """The message as the page knows it; `ack`, `nack` (a code) and `why` (words), where known, of a found one."""

    seen: Seen
    ack: int = 0
    nack: int | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the decision depends on."""

    sight: Sight
    ledger: str | None  #: running, placed, failed; None: this document's ledger does not know the id
    placed: bool  #: `placed` is committed for the attempt
    synced: bool  #: MAIN, NORMAL and CONNECTED, and either unbroken for 5 s or with the witness found
    same_incarnation: bool  #: the attempt's is today's
    generation_gone: bool  #: the attempt's document is not this one
    attached_since: bool  #: this epoch has attached after the attempt's call


class Verdict(enum.Enum):
    """What follows."""

    SENT = "sent"
    NACKED = "nacked"
    WAIT = "wait"  #: the page has it, or is at it
    LOST = "lost"  #: failed(outcome_unknown)
    QUEUE = "queue"  #: proven not sent: queued again, same id
    ASK_AGAIN = "ask again"
    UNANSWERED = "unanswered"  #: of a held one: asked for often enough, it stays held


#: Seconds for which the page must have been synced without a break before absence proves anything, where no witness
#: is found: a page that is just synced may not have read its store yet.
SYNCED = 5.0


def decide(f: Facts) -> Verdict:
    """PROTOCOL's rules, in its order."""
    # 1: found under any key
    if f.sight.seen is Seen.FOUND:
        if f.sight.ack >= 1:
            return Verdict.SENT
        return Verdict.WAIT if f.sight.ack == 0 else Verdict.NACKED
    # 2: the call still runs
    if f.ledger == "running":
        return Verdict.WAIT
    # it ended, in this very document, before it reached WhatsApp's own code: there is nothing to look for
    if f.ledger == "failed" and not f.generation_gone and not f.placed:
        return Verdict.QUEUE
    if f.sight.seen is Seen.UNKNOWN:
        return Verdict.ASK_AGAIN
    # absence counts once the page has read its store
    if not f.synced:
        return Verdict.ASK_AGAIN
    # 3: it was placed, and the page's store has lost it
    if f.placed or f.ledger == "placed":
        return Verdict.LOST
    # 4: absent
    if not f.same_incarnation:
        return Verdict.LOST
    never_placed = f.generation_gone or f.ledger == "failed" or (f.ledger is None and f.attached_since)
    return Verdict.QUEUE if never_placed else Verdict.ASK_AGAIN


def sought(p: Pending, own: tuple[str | None, ...], *, generation: str | None = None, incarnation: str | None = None) -> Sought:
    """Every chat and key that the message can have; `own` are our own ids, which groups add to a key as its participant.

    A witness serves a document (`generation`) other than the one that sent it, which must have read it from disk, and
    within the same `incarnation` of the profile.
    """
    key = p.key or Key(p.remote or p.address, p.hex, p.participant)
    hex_, chats, keys = _everywhere(key, (p.remote, p.pn, p.lid), (p.participant, *own))
    w = p.witness
    if w is None or w.generation == generation or w.incarnation != incarnation:
        return Sought(hex_, chats, keys)
    places = tuple(dict.fromkeys((w.key.remote, *chats))) if w.key.remote in chats else (w.key.remote,)
    return Sought(hex_, chats, keys, _keys(places, w.key.hex, (w.key.participant, None, *own)))


def sought_before_sending(c: Claim, own: tuple[str | None, ...]) -> Sought:
    """The same of a message that may be sent although its outcome is unknown: it may be there under a key of an earlier attempt."""
    return Sought(*_everywhere(c.key, (c.remote, c.pn, c.lid), own))


def _everywhere(
    key: Key, remotes: tuple[str | None, ...], participants: tuple[str | None, ...]
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The id, the chats it may lie in, and every key that it may have there."""
    group = key.remote.endswith("@g.us")
    chats = (key.remote,) if group else tuple(c for c in dict.fromkeys((key.remote, *remotes)) if c)
    return key.hex, chats, _keys(chats, key.hex, (key.participant, None, *participants))


def _keys(chats: tuple[str, ...], hex_: str, participants: tuple[str | None, ...]) -> tuple[str, ...]:
    """The id under each of the chats; in a group under each participant that we can have there."""
    if not chats[0].endswith("@g.us"):
        return tuple(str(Key(chat, hex_)) for chat in chats)
    return tuple(str(Key(chats[0], hex_, who)) for who in dict.fromkeys(participants))


def sight(asked: Sought, answer: dict[str, Any]) -> Sight:
    """What the bridge's answer to `asked` amounts to.

    Absent needs the chat that the message went to opened, and every key answered: `msg_not_found`,
    or `chat_not_found` for the other remote, as one of pn and lid always says. `also`: keys that the bridge
    asked under besides, since a chat was opened under an id that was not known here.
    """
    found = answer.get("found")
    if found:
        return Sight(Seen.FOUND, int(found["ack"]), found.get("code"), found.get("why"))
    opened = answer.get("opened", {}).get(asked.chats[0])
    said = [answer.get("answers", {}).get(key) for key in (*asked.keys, *answer.get("also", ()))]
    if not opened or "msg_not_found" not in said or not set(said) <= {"msg_not_found", "chat_not_found"}:
        return Sight(Seen.UNKNOWN)
    return Sight(Seen.ABSENT)
