"""When the next message may go: the session's pace. Pure; times in seconds of the boot clock.

The windows slide: in no span of that length, wherever it begins, are there more hand-overs than the
cap. Fixed ones (so many from midnight on) would let twice the cap through around each boundary, and
WhatsApp's limits know no midnight of ours. What counts is the hand-over, also a repeated one: that is
what WhatsApp may see. One proven never to have left the page is taken back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

#: The jitter's largest share of the interval. It only lengthens: an interval is a promise to WhatsApp's limits.
JITTER = 0.25
#: The same for `careful`: 3 to 5 s between messages.
CAREFUL_JITTER = 2.0 / 3.0
#: Parts of a window in which hand-overs are counted together, so that a window's size does not grow with its cap.
#: A part leaves as a whole, when its youngest may: it errs towards waiting, by at most 1/240 of the window.
PARTS = 240

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `limit` hand-overs in any `span` seconds; `name` is its setting's."""

    name: str
    limit: int
    span: float
    new_chats: bool = False  #: counts, and holds back, only chats without history


@dataclass(frozen=True, slots=True)
class Use:
    """How a cap stands: `left` may go now; where that is none, one more at `until`."""

    name: str
    limit: int
    span: float
    new_chats: bool
    left: int
    until: float | None

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Use:
        """The inverse of asdict(). Raises TypeError."""
        return cls(**data)


@dataclass(frozen=True, slots=True)
class Past:
    """Hand-overs that the store remembers: `count` of them, the last `age` seconds ago, `new_chats` to chats without history."""

    age: float
    count: int
    new_chats: int


def caps(*, minute: int, hour: int, day: int, new_chats: int) -> list[Cap]:
    """Those that are switched on; 0 is off."""
    every = [
        Cap("max_per_minute", minute, MINUTE),
        Cap("max_per_hour", hour, HOUR),
        Cap("max_per_day", day, DAY),
        Cap("new_chats_per_day", new_chats, DAY, new_chats=True),
    ]
    return [cap for cap in every if cap.limit]


class Window:
    """What a cap has seen of late."""

    def __init__(self, cap: Cap) -> None:
        self.cap = cap
        self._grain = cap.span / PARTS
        self._parts: deque[list[int]] = deque()  # [number of the part, hand-overs], oldest first
        self._total = 0

    def add(self, at: float, count: int = 1) -> None:
        """Hand-overs at `at`, which is not before the last ones; what comes out of order counts as the last."""
        number = int(at // self._grain)
        if not self._parts or self._parts[-1][0] < number:
            self._parts.append([number, 0])
        self._parts[-1][1] += count
        self._total += count

    def take_back(self, at: float) -> None:
        """One that was added at `at` did not happen after all."""
        number = int(at // self._grain)
        for part in reversed(self._parts):
            if part[0] <= number:
                if part[0] == number and part[1]:
                    part[1] -= 1
                    self._total -= 1
                return

    def until(self, now: float) -> float | None:
        """When one more may go; None: now."""
        self._forget(now)
        over = self._total - self.cap.limit
        if over < 0:
            return None
        for number, count in self._parts:
            over -= count
            if over < 0:
                return self._leaves(number)
        return None

    def left(self, now: float) -> int:
        self._forget(now)
        return max(0, self.cap.limit - self._total)

    def _leaves(self, number: int) -> float:
        return (number + 1) * self._grain + self.cap.span

    def _forget(self, now: float) -> None:
        while self._parts and self._leaves(self._parts[0][0]) <= now:
            self._total -= self._parts.popleft()[1]


class Pacer:
    """Keeps hand-overs `interval` seconds apart, up to `jitter` of it more, and below the caps; an interval of 0 is none."""

    def __init__(self, interval: float, *, jitter: float = JITTER, caps: Iterable[Cap] = ()) -> None:
        self._interval, self._jitter = interval, jitter
        self._windows = [Window(cap) for cap in caps]
        self._next = 0.0
        self._last = (0.0, 0.0)  # when the last one began, and what `_next` was before

    def recall(self, past: Iterable[Past], now: float) -> None:
        """What predecessors handed over. Call it once, before the first hand-over."""
        for one in sorted(past, key=lambda p: -p.age):
            at = now - max(0.0, one.age)
            for window in self._windows:
                if count := one.new_chats if window.cap.new_chats else one.count:
                    window.add(at, count)
            self._next = max(self._next, at + self._interval)

    def delay(self, now: float) -> float:
        """Seconds to wait before the next hand-over."""
        waits = [until - now for w in self._windows if not w.cap.new_chats and (until := w.until(now)) is not None]
        return max(0.0, self._next - now if self._interval else 0.0, *waits)

    def new_chats(self, now: float) -> bool:
        """Whether chats without history may be written to now."""
        return all(w.left(now) > 0 for w in self._windows if w.cap.new_chats)

    def started(self, now: float, random: float, *, new_chat: bool = False) -> None:
        """A hand-over begins; `random` in [0, 1) is the caller's dice."""
        self._last = (now, self._next)
        self._next = now + self._interval * (1.0 + self._jitter * random)
        for window in self._windows:
            if new_chat or not window.cap.new_chats:
                window.add(now)

    def take_back(self, at: float, *, new_chat: bool = False, interval: bool = False) -> None:
        """The hand-over that began at `at` is proven never to have left the page.

        With `interval` the next one need not wait for it either, unless another one has begun since: of a hand-over that is tried
        over and over through no fault of the session, other chats are not to notice anything.
        """
        if interval and self._last[0] == at:
            self._next = self._last[1]
        for window in self._windows:
            if new_chat or not window.cap.new_chats:
                window.take_back(at)

    def uses(self, now: float) -> list[Use]:
        """How each cap stands."""
        return [Use(w.cap.name, w.cap.limit, w.cap.span, w.cap.new_chats, w.left(now), w.until(now)) for w in self._windows]


def holding(uses: Sequence[Use], *, new_chats: bool) -> Use | None:
    """The cap that holds back longest: of all messages, or, with `new_chats`, of one to a chat without history. None: none does."""
    full = [use for use in uses if use.until is not None and (new_chats or not use.new_chats)]
    return max(full, key=lambda use: use.until or 0.0, default=None)


def drain(queued: int, rate: float, uses: Sequence[Use], now: float) -> float | None:
    """Seconds until `queued` messages are gone at `rate` per second, as far as the caps let them; None if nobody can say.

    Caps on new chats are left out: how many of the queued ones go to such chats is not counted. `now` and the uses are of one clock.
    """
    if not queued:
        return 0.0 if rate else None
    floor, held = 0.0, False
    for use in uses:
        over = queued - use.left
        if use.new_chats or over <= 0:
            continue
        held = held or use.until is not None
        # what is left goes now, the last ones a span after those; each span lets `limit` through
        wait = use.span if use.until is None else max(0.0, use.until - now)
        floor = max(floor, wait + (over - 1) // use.limit * use.span)
    if held or not rate:  # held by a cap, the rate of the last minutes says nothing
        return floor or None
    return max(floor, queued / rate)
