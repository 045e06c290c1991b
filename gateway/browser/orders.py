"""Carries out what the API and the watchdog ask of this host: rows of the store, answered within their deadlines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from gateway.browser.bridge import Bridge, Refused
from gateway.browser.page import PageError
from gateway.browser.records import Records
from gateway.browser.resolver import Resolver
from gateway.browser.standing import Standing, awakened
from gateway.store import commands
from gateway.store.commands import Command
from gateway.store.doorbell import Bell

log = structlog.get_logger()

#: Seconds between two looks while the bell rings without end.
LEAST = 0.05
SCREENSHOT = 10.0


class Orders:
    def __init__(self, standing: Standing, records: Records, bell: Bell, resolver: Resolver) -> None:
        self._standing, self._records, self._bell, self._resolver = standing, records, bell, resolver

    async def run(self) -> None:
        """For ever. Raises Fenced."""
        s = self._standing
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            while True:
                await awakened(s.orders)
                taken = await self._records.once(
                    lambda conn: commands.take(conn, target="browser", session=s.session, fence=self._records.fence, now=time.time())
                )
                for command in taken or []:
                    group.create_task(self._carry_out(command))
                await asyncio.sleep(LEAST)

    async def _listen(self) -> None:
        """Somebody committed something: messages for the sender, recipients for the resolver, perhaps a command for us."""
        s = self._standing
        while True:
            await self._bell.wait()
            for event in (s.work, s.names, s.orders):
                event.set()

    async def _carry_out(self, command: Command) -> None:
        result, error = None, None
        try:
            result = await self._obey(command)
        except Refused as refused:
            error = f"{refused.code}: {refused}" if refused.code.replace("_", "").isalpha() else str(refused)
        except PageError as failed:
            error = f"page_unavailable: the page did not answer: {failed}"
        if error:
            log.info("A command was refused", kind=command.kind, session=command.session, reason=error)
        await self._records.surely(
            lambda conn: commands.answer(conn, id=command.id, result=result, error=error, fence=self._records.fence, now=time.time())
        )
        self._standing.stir()

    async def _obey(self, command: Command) -> Any:
        bridge = self._standing.bridge
        if bridge is None:
            raise Refused("page_unavailable", "there is no connection to Chromium at present")
        kinds: dict[str, Callable[[Bridge, dict[str, Any]], Awaitable[Any]]] = {
            "qr": lambda b, a: b.qr(),
            "pairing_code": lambda b, a: b.pairing_code(a["phone"]),
            "contact": self._contact,
            "screenshot": _screenshot,
            "logout": _logout,
            "nudge": _nudge,
            "reload_page": _reload,
        }
        if command.kind not in kinds:
            raise Refused("command_unknown", f"this host knows no command {command.kind}")
        return await kinds[command.kind](bridge, command.args)

    async def _contact(self, bridge: Bridge, args: dict[str, Any]) -> dict[str, Any]:
        found = await self._resolver.contact(args["address"])
        return {"exists": found.exists, "wa_id": found.wa_id, "pn": found.pn, "lid": found.lid}


async def _screenshot(bridge: Bridge, args: dict[str, Any]) -> dict[str, Any]:
    answer = await bridge.page.command("Page.captureScreenshot", {"format": "png"}, SCREENSHOT)
    return {"png": answer["data"]}


async def _logout(bridge: Bridge, args: dict[str, Any]) -> dict[str, Any]:
    await bridge.logout()
    return {}


async def _nudge(bridge: Bridge, args: dict[str, Any]) -> dict[str, Any]:
    """The gentlest rung: today's bridge anew, and a fresh connection of WhatsApp's socket."""
    await bridge.page.put_bridge()
    await bridge.attach()
    await bridge.reconnect()
    return {}


async def _reload(bridge: Bridge, args: dict[str, Any]) -> dict[str, Any]:
    await bridge.page.reload()
    return {}
