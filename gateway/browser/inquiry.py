"""Asks WhatsApp's server something that it must answer, where messages wait for their acks in vain.

Silence about one message proves little: its contact may be blocked, its stanza lost. A server that answers vouches for the
session, one that does not makes it ill (session.py, `ill`). The question is a look-up of our own number, which WhatsApp
counts among our look-ups: it is asked in doubt alone, and rarely.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from gateway.beat import boot_time
from gateway.browser.bridge import Bridge, Refused
from gateway.browser.page import Gone, PageError
from gateway.browser.standing import Standing, awakened
from gateway.browser.translate import for_log
from gateway.pauses import doubling
from gateway.settings import Settings

log = structlog.get_logger()

#: Seconds between two questions while the doubt lasts and the server answers.
EACH = 30.0
#: Seconds before the next one after one that went unanswered; it doubles up to EACH.
AGAIN = 5.0
#: Seconds that the server has for its answer, at most and at least: half a send timeout, so that the doubt ends with it.
PATIENCE, LEAST = 10.0, 1.0


@dataclass(slots=True)
class Pace:
    """When to ask next. Pure: takes the time as an argument."""

    next_at: float = 0.0
    failures: int = 0

    def due(self, now: float) -> bool:
        return now >= self.next_at

    def answered(self, now: float) -> None:
        """The next question is for EACH seconds later."""
        self.next_at, self.failures = now + EACH, 0

    def unanswered(self, now: float) -> None:
        self.failures += 1
        self.next_at = now + doubling(self.failures, first=AGAIN, largest=EACH)


class Inquiry:
    """One host's questions to WhatsApp's server."""

    def __init__(self, settings: Settings, standing: Standing) -> None:
        self._settings, self._standing = settings, standing
        self._pace = Pace()

    async def run(self) -> None:
        """For ever."""
        while True:
            await awakened(self._standing.inquiries)
            now = boot_time()
            bridge = self._line(now)
            # a message handed over since the last answer is a doubt of its own, whatever was answered before
            due = self._pace.due(now) or self._unheard()
            link = self._standing.link
            if bridge is not None and link is not None and due and self._standing.in_doubt(now, self._settings.send_timeout):
                await self._ask(bridge, link.account)

    def _line(self, now: float) -> Bridge | None:
        """The bridge of a page that is connected; without a line the question would say nothing new."""
        report = self._standing.report
        return self._standing.usable(now) if report is not None and report.socket == "CONNECTED" else None

    def _unheard(self) -> bool:
        """Whether the last question was answered, and before the oldest hand-over that is in doubt now."""
        at, answered = self._standing.oldest_unacked_at, self._standing.server_answered_at
        return self._pace.failures == 0 and at is not None and answered is not None and answered < at

    async def _ask(self, bridge: Bridge, own: str) -> None:
        s = self._standing
        patience = max(LEAST, min(PATIENCE, self._settings.send_timeout / 2))
        try:
            right, why = await bridge.knows(own, patience), "it does not know our own number"
        except Gone:
            return  # another document, or the end
        except (PageError, Refused) as error:
            right, why = False, for_log(str(error))
        now = boot_time()
        if right:
            if s.server_answered_at is None or s.server_silent_at is not None or now - s.server_answered_at > 2 * EACH:
                log.info("No ack comes, and WhatsApp's server answers: the session is well, a message is not", session=s.session)
            self._pace.answered(now)
            s.server_answered_at, s.server_silent_at = now, None
        else:
            if s.server_silent_at is None:
                log.warning("No ack comes, and WhatsApp's server does not answer a question either", session=s.session, reason=why)
            self._pace.unanswered(now)
            s.server_silent_at = s.server_silent_at or now
