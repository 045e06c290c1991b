"""When the next message may go: the session's pace. Pure; times in seconds of the boot clock."""

from __future__ import annotations

from dataclasses import dataclass

#: The jitter's largest share of the interval. It only lengthens: an interval is a promise to WhatsApp's limits.
JITTER = 0.25


@dataclass(slots=True)
class Pacer:
    """Keeps hand-overs `interval` seconds apart; 0 switches it off."""

    interval: float
    _next: float = 0.0

    def delay(self, now: float) -> float:
        """Seconds to wait before the next hand-over."""
        return max(0.0, self._next - now) if self.interval else 0.0

    def started(self, now: float, random: float) -> None:
        """A hand-over begins; `random` in [0, 1) is the caller's dice."""
        self._next = now + self.interval * (1.0 + JITTER * random)
