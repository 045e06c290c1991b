"""What comes between us and WhatsApp's page: dialogs that lie over it, and another window that takes its place."""

from __future__ import annotations

from collections import deque

import structlog

from gateway.browser.bridge import Bridge, Report
from gateway.browser.standing import Standing
from gateway.browser.translate import for_log
from gateway.pauses import doubling
from gateway.session import CONFLICT

log = structlog.get_logger()

#: The first takeover comes at once: ours is the device's only window, so a second one was a passing tab. From then on the
#: pause doubles up to the longest. Two copies of one profile would fight for ever; so they do it rarely, and it is said.
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0
#: Takeovers older than this many seconds are no quarrel any more.
QUARREL = 1800.0


class Takeovers:
    """When to take over. Pure: takes the time as an argument."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=16)

    def count(self, now: float) -> int:
        """Of the present quarrel."""
        while self._times and now - self._times[0] > QUARREL:
            self._times.popleft()
        return len(self._times)

    def due(self, now: float) -> bool:
        """Whether the pause after the last one is over."""
        count = self.count(now)
        return count == 0 or now - self._times[-1] >= doubling(count, first=FIRST_PAUSE, largest=LONGEST_PAUSE)

    def done(self, now: float) -> None:
        """One was made."""
        self._times.append(now)


class Interruptions:
    """Heeds what each report says of them."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self._takeovers = Takeovers()
        self._said: frozenset[str] = frozenset()

    async def heed(self, bridge: Bridge, report: Report, now: float) -> None:
        """Dismiss what is known, tell of what is not, take back what is ours. Raises PageError, Refused."""
        s = self._standing
        s.takeovers = self._takeovers.count(now)
        s.dialogs = tuple(str(d["title"]) for d in report.dialogs if not d["known"])
        for title in set(s.dialogs) - self._said:
            log.warning("A dialog that we do not know lies over the page", session=s.session, title=for_log(title), alert=True)
        self._said = frozenset(s.dialogs)
        if len(s.dialogs) < len(report.dialogs):
            for title in await bridge.dismiss():
                log.info("A dialog was dismissed", session=s.session, title=title)
        if CONFLICT in (report.socket, report.mode) and self._takeovers.due(now):
            self._takeovers.done(now)
            s.takeovers = self._takeovers.count(now)
            log.warning("Another window has taken our place; taking it back", session=s.session, takeovers=s.takeovers)
            await bridge.take_over()
