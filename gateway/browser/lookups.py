"""What follows from the answers to look-ups. Pure: times are the caller's, in seconds of the boot clock.

wa-js answers null for "not on WhatsApp" and for every error, and keeps a null for 15 s; the bridge asks WhatsApp's own
code then, which throws. Should that call an error absence too: absence is believed only if the socket was connected
throughout and two look-ups at least SECOND_LOOK_UP seconds apart agree. A verdict of absence that the store still has
counts as the first of the two.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.browser.bridge import Resolved
from gateway.browser.recent import Recent
from gateway.pauses import doubling
from gateway.store.recipients import BELIEVED, Known

#: Seconds between the two look-ups that have to agree on absence.
SECOND_LOOK_UP = 16.0
#: Seconds before a look-up that failed is tried again: first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
#: Failed look-ups of one recipient in a row, while WhatsApp answers others, after which its messages are dead letters: about 8 minutes.
FAILURES = 12
#: Addresses of which something is remembered.
REMEMBERED = 10_000

_ABSENT = {"not_a_member": Known.NOT_A_MEMBER, "group_unknown": Known.GROUP_UNKNOWN}


@dataclass(frozen=True, slots=True)
class _Fact:
    answer: Resolved
    at: float


@dataclass(frozen=True, slots=True)
class _Failing:
    """A streak of look-ups that failed."""

    count: int
    since: float


class Verdicts:
    """What was heard of addresses lately. One fact for each, shared by all who ask."""

    def __init__(self) -> None:
        self._facts: Recent[str, _Fact] = Recent(REMEMBERED)
        self._absent: Recent[str, _Fact] = Recent(REMEMBERED)
        self._failing: Recent[str, _Failing] = Recent(REMEMBERED)
        self._answered_at = float("-inf")

    def fresh(self, address: str, now: float) -> Resolved | None:
        """Who is behind the address, if that was heard less than BELIEVED seconds ago."""
        fact = self._facts.get(address)
        return fact.answer if fact is not None and now - fact.at < BELIEVED else None

    def heard(self, address: str, answer: Resolved, now: float, *, absent: bool = False) -> Known | float:
        """The verdict, or in how many seconds to look the address up again.

        `absent`: the store has a verdict of absence of the last day.
        """
        if not (answer.exists or answer.connected):
            return self.failed(address, now)
        self._failing.pop(address, None)
        self._answered_at = now
        if answer.exists:
            self._absent.pop(address, None)
            self._facts[address] = _Fact(answer, now)
            return Known.RESOLVED
        self._facts.pop(address, None)
        first = self._absent.get(address)
        if first is None or (first.answer.generation, first.answer.drops) != (answer.generation, answer.drops):
            self._absent[address] = first = _Fact(answer, now)
        if not absent and now - first.at < SECOND_LOOK_UP:
            return SECOND_LOOK_UP + 0.2 - (now - first.at)
        self._absent.pop(address, None)
        return _ABSENT.get(answer.why or "", Known.GROUP_UNKNOWN if address.endswith("@g.us") else Known.NOT_ON_WHATSAPP)

    def failed(self, address: str, now: float) -> float:
        """A look-up got no answer. Returns in how many seconds to try again."""
        before = self._failing.get(address, _Failing(0, now))
        self._failing[address] = _Failing(before.count + 1, before.since)
        return doubling(before.count + 1, first=FIRST_PAUSE, largest=LONGEST_PAUSE)

    def doubtful(self, address: str) -> bool:
        """Whether so many look-ups of it failed that another question is to show whether WhatsApp answers at all."""
        failing = self._failing.get(address)
        return failing is not None and failing.count >= FAILURES and self._answered_at < failing.since

    def answered(self, now: float) -> None:
        """WhatsApp's server answered a question of another kind."""
        self._answered_at = now

    def ended(self, address: str) -> bool:
        """Whether look-ups of this address fail while WhatsApp answers others: then the streak is over, and a next one begins anew."""
        failing = self._failing.get(address)
        if failing is None or failing.count < FAILURES or self._answered_at < failing.since:
            return False
        del self._failing[address]
        return True
