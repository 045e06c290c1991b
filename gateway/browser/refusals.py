"""Hand-overs that the page refuses in a row, for reasons of its own. Pure: times are the caller's, in seconds of the boot clock.

Such a refusal is no fault of the message, counts no attempt and ends none. So it is the session that pauses, for longer and
longer, and one that goes on is said: as a failing canary, for which the watchdog has the page mended.
"""

from __future__ import annotations

from gateway.message import HandOverError, NotSent
from gateway.pauses import doubling

#: Refusals in a row that nobody waits for: those of the calls under way when a page is attached to anew.
EXPECTED = 4
#: Seconds that the session pauses after further ones: first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: Seconds that they go on before it is said.
SAID_AFTER = 10.0


class Refusals:
    """Those since the page last took a message."""

    def __init__(self) -> None:
        self._count, self._since, self._until, self._code = 0, 0.0, 0.0, ""

    def note(self, error: HandOverError | None, now: float) -> None:
        """A hand-over ended; None: the page took the message."""
        if not (isinstance(error, NotSent) and error.page):
            if error is None:
                self._count, self._until = 0, 0.0
            return
        if now < self._until:
            return  # under way together: they count once
        self._since = self._since if self._count else now
        self._count, self._code = self._count + 1, error.code
        if self._count > EXPECTED:
            self._until = now + doubling(self._count - EXPECTED, first=FIRST_PAUSE, largest=LONGEST_PAUSE)

    def pause(self, now: float) -> float:
        """Seconds until the next hand-over may be tried."""
        return max(0.0, self._until - now)

    def said(self, now: float) -> str | None:
        """That the page refuses everything; None: it does not, or not for long."""
        if self._count <= EXPECTED or now - self._since < SAID_AFTER:
            return None
        return f"the page refuses every message ({self._code})"
