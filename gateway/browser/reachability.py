"""Finds out why WhatsApp cannot be reached, while it cannot: from Chromium's own error, and by asking once itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from gateway import reach
from gateway.beat import boot_time, to_tick
from gateway.browser import policies
from gateway.browser.standing import Standing
from gateway.settings import Settings

#: Seconds for which the page or its socket is given time by itself, and between two examinations.
GRACE, PAUSE = 2.0, 5.0
BLOCKED = "net::ERR_BLOCKED_BY_ADMINISTRATOR"
#: Chromium's errors of a navigation, by the words of reach.trouble().
CAUSES = {
    "net::ERR_NAME_NOT_RESOLVED": "dns", "net::ERR_CONNECTION_REFUSED": "refused", "net::ERR_ADDRESS_UNREACHABLE": "no_route",
    "net::ERR_INTERNET_DISCONNECTED": "no_route", "net::ERR_NETWORK_ACCESS_DENIED": "no_route", "net::ERR_TIMED_OUT": "timeout",
    "net::ERR_CONNECTION_TIMED_OUT": "timeout", "net::ERR_CONNECTION_RESET": "closed", "net::ERR_CONNECTION_CLOSED": "closed",
    "net::ERR_EMPTY_RESPONSE": "closed", "net::ERR_CONNECTION_ABORTED": "closed", "net::ERR_SSL_PROTOCOL_ERROR": "tls",
    "net::ERR_SSL_VERSION_OR_CIPHER_MISMATCH": "tls",
}  # fmt: skip

log = structlog.get_logger()


class Reachability:
    """Keeps `standing.unreachable`."""

    def __init__(self, settings: Settings, standing: Standing) -> None:
        self._settings, self._standing = settings, standing
        self._server, self._proxy = reach.Server.of(settings.whatsapp_url), reach.way(settings)

    async def run(self) -> None:
        """For ever."""
        s, examined_at, error = self._standing, -PAUSE, None
        while True:
            now = boot_time()
            if not self._away(now):
                s.unreachable, examined_at = None, -PAUSE
            elif now - examined_at >= PAUSE or self._error() != error:
                error = self._error()
                said = await self._examine(error)
                examined_at = boot_time()
                if self._away(examined_at):
                    self._say(said)
            await asyncio.sleep(to_tick(1.0))

    def _away(self, now: float) -> bool:
        s = self._standing
        since = s.elsewhere_since if s.elsewhere_since is not None else s.socket_down_since
        linked = s.elsewhere_since is not None or (s.report is not None and s.report.account is not None)
        return s.bridge is not None and linked and since is not None and now - since > GRACE

    def _error(self) -> str | None:
        s = self._standing
        return s.bridge.page.net_error if s.bridge is not None and s.elsewhere_since is not None else None

    async def _examine(self, error: str | None) -> str | None:
        if error == BLOCKED:
            assert self._standing.bridge is not None
            executable = Path(self._standing.bridge.page.endpoint.launch.executable)
            return await asyncio.to_thread(blocked, policies.directory_of(executable), self._settings.whatsapp_url)
        found = await reach.find_trouble(self._settings.whatsapp_url, self._proxy)
        return explain(error, found, self._server)

    def _say(self, said: str | None) -> None:
        s = self._standing
        if said is not None and said != s.unreachable:
            log.warning("WhatsApp cannot be reached", session=s.session, reason=said)
        s.unreachable = said


def explain(error: str | None, found: reach.Trouble | None, server: reach.Server) -> str | None:
    """One sentence; None if nothing is known. `error`: Chromium's (net::ERR_…). `found`: what asking brought, which knows more."""
    if error is not None and error.startswith("net::ERR_CERT"):
        return str(reach.trouble(server, "certificate"))
    if found is not None:
        return str(found)
    if error is None:
        return None
    cause = CAUSES.get(error)
    return str(reach.trouble(server, cause)) if cause else f"Chromium says {error}"


def blocked(directory: Path, url: str) -> str:
    """The sentence for a page that a policy blocks."""
    found = policies.read(directory)
    policy = policies.blocking(found, url) or found.get("URLBlocklist")
    where = f"the policy URLBlocklist in {policy.file}" if policy else "a policy of this machine's administrator"
    return f"{where} forbids Chromium to load {url}: name it in the policy URLAllowlist, or take it out of the list"
