"""The line to one open page: its WebSocket, and what each thing said on it means."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import secrets
import time
from typing import Any

from aiohttp import WSMsgType, web

from . import delivery
from .accounts import Device
from .fields import Bad, digits
from .world import World

#: QR codes that a page gets at once; it shows one after the other and then goes idle.
REFS = 6
#: Letters of a pairing code: Crockford's alphabet without 0, as WhatsApp uses it.
CODE_LETTERS = "123456789ABCDEFGHJKLMNPQRSTVWXYZ"
#: Lines open at the same time at most.
MOST_LINES = 100

_ids = itertools.count(1)


class Line:
    """One page's connection. What it says is obeyed in order; what it is told is queued and written by a task of its own."""

    def __init__(self, world: World, request: web.Request) -> None:
        self.world = world
        self.id = next(_ids)
        self.since = time.time()
        self.agent = request.headers.get("User-Agent", "")
        self.device: Device | None = None
        self.ref: str | None = None  #: the QR code on show
        self.code: tuple[str, str] | None = None  #: the pairing code on show, and the phone number it was asked for
        self.passkey: Device | None = None  #: a device that waits for its passkey
        self._request = request
        self._ws = web.WebSocketResponse(heartbeat=20, compress=False, max_msg_size=2**20)
        self._out: asyncio.Queue[tuple[float, dict[str, Any]]] = asyncio.Queue()  # each with its moment, by the loop's clock

    async def serve(self) -> web.WebSocketResponse:
        """Until the page goes away."""
        await self._ws.prepare(self._request)
        self.world.lines.add(self)
        writer = asyncio.create_task(self._write())
        self.say_settings()
        try:
            async for message in self._ws:
                if message.type is not WSMsgType.TEXT or not self._heard(message.data):
                    break
        finally:
            self._left()
            writer.cancel()
            await asyncio.wait([writer])
        return self._ws

    def say(self, message: dict[str, Any]) -> None:
        """Queue a message for the page."""
        slow = self.world.faults.hit("slow")
        delay = slow.parameters["seconds_delay"] if slow else 0.0
        self._out.put_nowait((asyncio.get_running_loop().time() + delay, message))

    def say_settings(self) -> None:
        """How the page behaves, and its faults: never slow, as it is no part of the play."""
        settings = {"t": "settings", "behaviour": self.world.behaviour.values, "faults": self.world.page_faults()}
        self._out.put_nowait((0.0, settings))

    def cut(self) -> None:
        """End the line at once, without a goodbye and without what is still queued."""
        while not self._out.empty():
            self._out.get_nowait()
        if self._request.transport is not None:
            self._request.transport.abort()

    def taken_over(self) -> None:
        """Another page speaks for this one's device now."""
        if self.device is not None:
            if self.device.line is self:
                self.device.line, self.device.ready = None, False
            self.device = None
            self.say({"t": "conflict"})

    def forget(self) -> None:
        """The server does not know this page any more."""
        self.device = self.ref = self.code = self.passkey = None
        self.say({"t": "bye"})

    def state(self) -> dict[str, Any]:
        """As `GET /control/state` shows it."""
        if self.device is not None:
            what = "ready" if self.device.ready else "syncing"
        elif self.passkey is not None:
            what = "passkey"
        else:
            what = "qr" if self.ref else "idle"
        return {
            "id": self.id,
            "state": what,
            "qr": self.ref is not None,
            "pairing_code": self.code[0] if self.code else None,
            "account": self.device.account.number if self.device else None,
            "device": self.device.jid if self.device else None,
            "user_agent": self.agent,
            "since": self.since,
        }

    def pair(self, device: Device) -> None:
        """The phone has scanned: hand the page its device, or ask for the passkey first."""
        self.ref = self.code = None
        if self.world.behaviour["passkey_after_scan"]:
            self.passkey = device
            self.say({"t": "passkey", "challenge": secrets.token_hex(32)})
        else:
            self.say({"t": "paired", "token": device.token})

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                due, message = await self._out.get()
                if (late := due - asyncio.get_running_loop().time()) > 0:
                    await asyncio.sleep(late)
                await self._ws.send_str(json.dumps(message, separators=(",", ":")))

    def _heard(self, text: str) -> bool:
        """Obey what the page says; False ends the line (a page that talks nonsense is none of ours)."""
        try:
            message = json.loads(text)
            obey = getattr(self, f"_on_{message['t']}")
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
        try:
            obey(message)
        except (KeyError, ValueError, TypeError):
            return False
        return True

    def _left(self) -> None:
        self.world.lines.discard(self)
        if self.device is not None and self.device.line is self:
            self.device.line, self.device.ready = None, False
        self.world.stir()

    # -- linking

    def _on_hello(self, m: dict[str, Any]) -> None:
        token = m.get("token")
        if token is None:
            self._on_refs(m)
            return
        device = self.world.accounts.device(token)
        if device is None:
            self.say({"t": "bye"})
            return
        if device.line is not None and device.line is not self:
            device.line.taken_over()
        self.device, device.line, device.ready = device, self, False
        self.passkey = None
        account = device.account
        self.say({"t": "welcome", "me": account.wid, "lid": account.lid, "device": device.number})
        self.world.schedule.after(self.world.behaviour["slow_sync"], self._sync)
        self.world.stir()

    def _sync(self) -> None:
        if self.device is not None and self.device.line is self:
            book = self.world.phonebook
            number = self.device.account.number
            self.say({"t": "sync", "contacts": book.contacts(), "blocked": book.blocklist(), "groups": book.groups_for(number)})

    def _on_ready(self, _: dict[str, Any]) -> None:
        if self.device is not None:
            self.device.ready = True
            self.device.tell_again()
            self.world.stir()

    def _on_refs(self, _: dict[str, Any]) -> None:
        refs = [f"2@{secrets.token_urlsafe(48)}" for _ in range(REFS)]
        self.say({"t": "refs", "refs": refs, "first": self.world.behaviour["qr_first"], "each": self.world.behaviour["qr_each"]})

    def _on_showing(self, m: dict[str, Any]) -> None:
        self.ref = m["ref"]
        self.world.stir()

    def _on_pairing_code(self, m: dict[str, Any]) -> None:
        try:
            phone = digits(m["phone"], "phone")
        except Bad as e:
            self.say({"rid": m["rid"], "error": str(e)})
            return
        code = "".join(secrets.choice(CODE_LETTERS) for _ in range(8))
        self.code = (code, phone)
        self.say({"rid": m["rid"], "code": code})
        self.world.stir()

    def _on_passkey(self, m: dict[str, Any]) -> None:
        device, self.passkey = self.passkey, None
        if device is None:
            return
        if m.get("assertion"):
            self.say({"t": "paired", "token": device.token})
        else:
            device.account.devices.pop(device.number, None)
            self._on_refs(m)
        self.world.stir()

    def _on_logout(self, m: dict[str, Any]) -> None:
        if self.device is not None:
            self.device.account.devices.pop(self.device.number, None)
            self.device = None
            self.world.stir()
        self.say({"rid": m["rid"], "done": True})

    def _on_ping(self, m: dict[str, Any]) -> None:
        self.say({"rid": m["rid"]})

    # -- messages

    def _on_send(self, m: dict[str, Any]) -> None:
        if self.device is not None:
            delivery.stanza(self.world, self, self.device, m)

    def _on_confirmed(self, m: dict[str, Any]) -> None:
        if self.device is not None:
            self.device.confirmed(m["n"])

    def _on_seen(self, m: dict[str, Any]) -> None:
        delivery.seen(self.world, m["chat"])

    def _on_exists(self, m: dict[str, Any]) -> None:
        wid = str(m["wid"])
        if self.world.faults.on("deaf"):
            return
        if self.world.faults.hit("lookup_fails", wid):
            self.say({"rid": m["rid"], "error": "the lookup failed"})
            return
        person = self.world.phonebook.find(wid)
        found = None if person is None else {"pn": person.wid, "lid": person.lid, "name": person.name}
        slow = self.world.faults.hit("slow_lookup", wid)
        self.world.schedule.after(slow.parameters["seconds_delay"] if slow else 0.0, lambda: self.say({"rid": m["rid"], "found": found}))

    def _on_group(self, m: dict[str, Any]) -> None:
        """The page asks for a group that it does not have."""
        id, book = str(m["id"]), self.world.phonebook
        if id not in book.groups:
            self.say({"rid": m["rid"], "error": "404: item-not-found"})
        elif self.device is None or self.device.account.number not in book.groups[id].participants:
            self.say({"rid": m["rid"], "error": "403: forbidden"})
        else:
            self.say({"rid": m["rid"], "group": book.shown(id)})

    def _on_change(self, m: dict[str, Any]) -> None:
        """A reaction, an edit, a revocation: a change of a message that exists."""
        done = delivery.change(self.world, str(m["id"]), str(m["what"]), m.get("text"))
        self.say({"rid": m["rid"], "done": True} if done else {"rid": m["rid"], "error": "the server does not know that message"})

    def _on_fault_used(self, m: dict[str, Any]) -> None:
        self.world.faults.used(str(m["id"]))
        self.world.stir()
