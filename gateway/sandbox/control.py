"""The control API: the phone's side of the sandbox, its ground truth, and the switches. JSON in, JSON out."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from . import delivery
from .accounts import DEFAULT_NUMBER, Account
from .faults import CATALOGUE, PAGE, described
from .fields import Bad, Fields, NotNow, Unknown, digits
from .happenings import AT_FIRST, AT_ONCE, unlink
from .line import Line
from .phonebook import Group
from .world import World

#: The longest that a watcher of changes is kept waiting, in seconds.
LONGEST_WATCH = 25.0
#: Rows that one answer to a watcher holds at most; the latest changes win.
MOST_CHANGES = 2_000
_MEDIA_TYPES = ("image", "video", "audio", "ptt", "document")
_INCOMING_TYPES = {"text": "chat", "chat": "chat", **{name: name for name in _MEDIA_TYPES}}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def sentences(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler refuses into a status and a sentence."""
    try:
        return await handler(request)
    except Bad as e:
        return _error(400, "invalid_request", str(e))
    except Unknown as e:
        return _error(404, "not_found", str(e))
    except NotNow as e:
        return _error(409, "conflict", str(e))


def _error(status: int, code: str, sentence: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": sentence}}, status=status)


class Control:
    """The endpoints under /control."""

    def __init__(self, world: World) -> None:
        self.world = world

    def routes(self) -> list[web.RouteDef]:
        """Path by path, as the interface document lists them; settings, groups and changes go beyond it."""
        return [
            web.get("/control/state", self.state),
            web.post("/control/scan", self.scan),
            web.post("/control/unlink", self.unlink),
            web.get("/control/messages", self.messages),
            web.get("/control/summary", self.summary),
            web.post("/control/incoming", self.incoming),
            web.post("/control/ack", self.ack),
            web.get("/control/faults", self.fault_kinds),
            web.post("/control/faults", self.fault_on),
            web.delete("/control/faults/{id}", self.fault_off),
            web.post("/control/contacts", self.contact),
            web.post("/control/groups", self.group),
            web.get("/control/settings", self.settings),
            web.post("/control/settings", self.change_settings),
            web.post("/control/reset", self.reset),
            web.get("/control/changes", self.changes),
        ]

    def _state(self) -> dict[str, Any]:
        return {
            "accounts": [a.state() for a in self.world.accounts.all.values()],
            "faults": [f.shown() for f in self.world.faults.active()],
            "pages": [line.state() for line in sorted(self.world.lines, key=lambda each: each.id)],
        }

    async def state(self, _: web.Request) -> web.Response:
        """Accounts, faults that are on, open pages."""
        return web.json_response(self._state())

    # -- the phone

    async def scan(self, request: web.Request) -> web.Response:
        """The phone scans the QR code on show, or takes the pairing code that is typed into it."""
        body = await Fields.of(request)
        number, code = body.number("account"), body.text("code", limit=20)
        body.done()
        line, number = self._by_code(code) if code is not None else (self._by_qr(), number)
        device = self.world.account(number or DEFAULT_NUMBER).link()
        line.pair(device)
        self.world.stir()
        return web.json_response({"ok": True, "account": device.account.number, "device": device.jid})

    def _by_qr(self) -> Line:
        showing = [line for line in self.world.lines if line.ref is not None]
        if not showing:
            raise NotNow("No page shows a QR code now. Open the page, or ask it for a new code, and scan again.")
        return max(showing, key=lambda line: line.id)

    def _by_code(self, code: str) -> tuple[Line, str]:
        typed = code.replace("-", "").replace(" ", "").upper()
        for line in self.world.lines:
            if line.code is not None and line.code[0] == typed:
                return line, line.code[1]
        raise NotNow("No page has asked for this pairing code, or it is no longer valid.")

    async def unlink(self, request: web.Request) -> web.Response:
        """The phone removes its linked devices."""
        body = await Fields.of(request)
        account = self.world.own_account(body.number("account"))
        body.done()
        if not account.devices:
            raise NotNow(f"{account.number} has no linked device.")
        removed = unlink([account])
        self.world.stir()
        return web.json_response({"ok": True, "removed": [d.jid for d in removed]})

    async def incoming(self, request: web.Request) -> web.Response:
        """Someone writes to us, in person or in a group."""
        body = await Fields.of(request)
        sender = body.need("from", body.number("from"))
        account = self._receiver(body)
        type = _INCOMING_TYPES[body.choice("type", _INCOMING_TYPES, "text") or "text"]
        group = body.text("group", limit=100)
        content = self._content(body, type)
        body.done()
        row = delivery.incoming(self.world, account, sender=sender, group=group, type=type, content=content)
        return web.json_response({"id": row.id, "key": row.key})

    def _receiver(self, body: Fields) -> Account:
        return self.world.own_account(body.number("account"))

    def _content(self, body: Fields, type: str) -> dict[str, Any]:
        text = body.text("text")
        media = body.text("media", limit=64 * 2**20)
        mimetype, filename = body.text("mimetype", limit=200), body.text("filename", limit=200)
        if type == "chat":
            if media is not None:
                raise Bad("'media' needs a 'type' other than text.")
            return {"body": body.need("text", text)}
        try:
            data = base64.b64decode(body.need("media", media), validate=True)
        except binascii.Error:
            raise Bad("'media' must be base64.") from None
        sha256 = hashlib.sha256(data).hexdigest()
        mimetype = mimetype or "application/octet-stream"
        self.world.keep_media(sha256, data, mimetype)
        return {"body": None, "caption": text, "media_sha256": sha256, "mimetype": mimetype, "filename": filename}

    async def ack(self, request: web.Request) -> web.Response:
        """WhatsApp's server (1), or a recipient's device (2 delivered, 3 read, 4 played) acknowledges a message now."""
        body = await Fields.of(request)
        id = body.need("id", body.text("id", limit=300))
        ack = body.need("ack", body.whole("ack", least=1, most=4))
        body.done()
        row = self.world.truth.find(id)
        if row is None:
            raise Unknown(f"No message with the id {id} has arrived.")
        delivery.acknowledge(self.world, row, ack)
        return web.json_response({"ok": True})

    # -- the truth

    async def messages(self, request: web.Request) -> web.Response:
        """The ground truth in order of `seq`."""
        direction = request.query.get("direction", "out")
        if direction not in ("out", "in"):
            raise Bad("'direction' must be out or in.")
        after, limit = _query_whole(request, "after", 0), _query_whole(request, "limit", 1_000_000)
        rows = [r.shown() for r in self.world.truth.rows(direction).values() if r.seq > after]
        return web.json_response(rows[:limit])

    async def summary(self, _: web.Request) -> web.Response:
        """Counters over everything since the last reset."""
        return web.json_response(self.world.truth.summary())

    async def changes(self, request: web.Request) -> web.Response:
        """What changed since `since`, waiting up to `wait` seconds for something to: what the phone page lives on."""
        since, wait = _query_whole(request, "since", 0), min(float(_query_whole(request, "wait", 0)), LONGEST_WATCH)
        event = self.world.changed
        if since >= self.world.version and wait:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await event.wait()
        truth = self.world.truth
        rows = [row.shown() for row, _ in zip(truth.changed_since(since), range(MOST_CHANGES), strict=False)]
        book = self.world.phonebook
        return web.json_response(
            {
                "version": self.world.version,
                "era": self.world.era,
                "messages": rows[::-1],
                "names": {p.number: p.name for p in book.people.values() if p.name},
                "groups": {g.id: g.subject for g in book.groups.values()},
                "settings": self.world.behaviour.values,
                "summary": truth.summary(),
                **self._state(),
            }
        )

    # -- faults and behaviour

    async def fault_kinds(self, _: web.Request) -> web.Response:
        """The catalogue, and what is on."""
        return web.json_response({"kinds": described(), "faults": [f.shown() for f in self.world.faults.active()]})

    async def fault_on(self, request: web.Request) -> web.Response:
        """Make something go wrong."""
        fault = self.world.faults.read(await Fields.of(request))
        if not fault.kind.once:
            self.world.faults.switch_on(fault)
            if (first := AT_FIRST.get(fault.kind.name)) is not None:
                first(self.world)
            self.world.push_settings()
        elif fault.kind.side == PAGE:
            if not self.world.lines:
                raise NotNow("No page is connected that this could happen to.")
            for line in self.world.lines:
                line.say({"t": "do", "kind": fault.kind.name, **fault.parameters})
        else:
            AT_ONCE[fault.kind.name](self.world)
        self.world.stir()
        return web.json_response({"id": fault.id, "kind": fault.kind.name, "means": CATALOGUE[fault.kind.name].sentence})

    async def fault_off(self, request: web.Request) -> web.Response:
        """Make it right again."""
        self.world.faults.switch_off(request.match_info["id"])
        self.world.push_settings()
        self.world.stir()
        return web.json_response({"ok": True})

    async def settings(self, _: web.Request) -> web.Response:
        """How this WhatsApp behaves, with a sentence for each setting."""
        return web.json_response(self.world.behaviour.described())

    async def change_settings(self, request: web.Request) -> web.Response:
        """Change some of it, from now on; the page keeps what it has already loaded."""
        self.world.behaviour.change(await Fields.of(request))
        self.world.push_settings()
        self.world.stir()
        return web.json_response(self.world.behaviour.values)

    # -- who exists

    async def contact(self, request: web.Request) -> web.Response:
        """Who exists, under which LID, what WhatsApp makes of the number, and whether we have blocked it."""
        body = await Fields.of(request)
        number = body.need("number", body.number("number"))
        on_whatsapp, name, lid = body.flag("on_whatsapp", True), body.text("name", limit=100), body.text("lid", limit=30)
        resolves_to, blocked = body.number("resolves_to"), body.flag("blocked", False)
        body.done()
        if lid is not None:
            lid = f"{digits(lid, 'lid')}@lid" if len(lid.partition("@")[0]) >= 5 else f"{lid.partition('@')[0]}@lid"
        book = self.world.phonebook
        person = book.change(number, name=name, on_whatsapp=on_whatsapp, lid=lid, resolves_to=resolves_to, blocked=blocked)
        for line in self.world.lines:
            if line.device is not None:
                line.say({"t": "blocklist", "blocked": book.blocklist()})
        return web.json_response({"number": number, "lid": person.lid, "on_whatsapp": on_whatsapp})

    async def group(self, request: web.Request) -> web.Response:
        """Make a group, or change it; the account's own number belongs to it unless it says otherwise. `announce`: only admins write."""
        body = await Fields.of(request)
        id = body.text("id", limit=60) or f"120363{secrets.randbelow(10**12):012d}@g.us"
        if not id.endswith("@g.us"):
            raise Bad("'id' must end in @g.us.")
        subject = body.text("subject", "Group", limit=100) or "Group"
        account = self._receiver(body)
        with_us = body.flag("with_us", True)
        numbers = [digits(p, "participants") for p in body.items("participants")]
        admins, announce = [digits(p, "admins") for p in body.items("admins")], body.flag("announce", False)
        body.done()
        if with_us and account.number not in numbers:
            numbers.insert(0, account.number)
        book = self.world.phonebook
        left = set(book.groups[id].participants).difference(numbers) if id in book.groups else set()
        book.add_group(Group(id, subject, list(dict.fromkeys(numbers)), admins, announce))
        for line in self.world.lines:
            if line.device is not None:
                own = line.device.account.number
                line.say({"t": "groups", "groups": book.groups_for(own) + ([book.shown(id)] if own in left else [])})
        self.world.stir()
        return web.json_response({"id": id, "participants": numbers})

    async def reset(self, _: web.Request) -> web.Response:
        """Everything as new."""
        self.world.reset()
        self.world.push_settings()
        return web.json_response({"ok": True})


def _query_whole(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise Bad(f"'{name}' must be a whole number.")
    return int(text)
