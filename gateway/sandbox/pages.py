"""What a browser is served: the emulated page, the phone page, media, and the place where blocked requests are reported."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from pathlib import Path

import segno
from aiohttp import web

from .line import MOST_LINES, Line
from .world import World

_HERE = Path(__file__).parent
#: Like WhatsApp Web's: no inline scripts, eval allowed. Every other host is blocked, and what was blocked is reported.
PAGE_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-eval'; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self' data: blob:; img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
    "object-src 'none'; frame-ancestors 'self'; form-action 'self'; base-uri 'self'; report-uri /csp-report"
)
PHONE_POLICY = "default-src 'self'; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'"
_FRESH = {"Cache-Control": "no-store"}
#: An upload larger than this is refused; WhatsApp's own limits are near it.
MOST_UPLOAD = 100 * 2**20


async def never_stale(_: web.Request, response: web.StreamResponse) -> None:
    """Scripts are asked for anew by each load: a profile that is kept must not run those of an older sandbox."""
    response.headers.setdefault("Cache-Control", "no-cache")


class Pages:
    """The routes that browsers use."""

    def __init__(self, world: World) -> None:
        self.world = world

    def routes(self) -> list[web.AbstractRouteDef]:
        return [
            web.get("/", self.page),
            web.get("/web/loader.js", self.loader),
            web.static("/web", _HERE / "web"),
            web.get("/phone", self.phone),
            web.static("/phone", _HERE / "phone"),
            web.get("/ws/chat", self.socket),
            web.post("/mms/upload", self.upload),
            web.get("/mms/{sha256}", self.download),
            web.get("/qr.svg", self.qr),
            web.post("/csp-report", self.blocked),
        ]

    async def page(self, request: web.Request) -> web.StreamResponse:
        """WhatsApp Web, or the page that turns a headless browser away."""
        refused = self.world.behaviour["refuse_headless"] and "Headless" in request.headers.get("User-Agent", "")
        headers = {**_FRESH, "Content-Security-Policy": PAGE_POLICY}
        return web.FileResponse(_HERE / "web" / ("refused.html" if refused else "index.html"), headers=headers)

    async def loader(self, _: web.Request) -> web.StreamResponse:
        """The first script: all others wait for it, so this is where a slow load is made."""
        await asyncio.sleep(self.world.behaviour["slow_load"])
        return web.FileResponse(_HERE / "web" / "loader.js", headers=_FRESH)

    async def phone(self, _: web.Request) -> web.StreamResponse:
        """The phone."""
        return web.FileResponse(_HERE / "phone" / "index.html", headers={**_FRESH, "Content-Security-Policy": PHONE_POLICY})

    async def socket(self, request: web.Request) -> web.StreamResponse:
        """The page's line."""
        if self.world.faults.hit("refuse_socket") or len(self.world.lines) >= MOST_LINES:
            raise web.HTTPServiceUnavailable(text="no connections now")
        return await Line(self.world, request).serve()

    async def qr(self, request: web.Request) -> web.Response:
        """A text as a QR code."""
        text = request.query.get("text", "")[:500]
        if not text:
            raise web.HTTPBadRequest(text="'text' is missing.")
        image = io.BytesIO()
        segno.make(text, error="m").save(image, kind="svg", border=1, scale=8)
        return web.Response(body=image.getvalue(), content_type="image/svg+xml", headers=_FRESH)

    async def upload(self, request: web.Request) -> web.Response:
        """A media file; answers its hash."""
        if self.world.faults.hit("upload_fails"):
            raise web.HTTPServiceUnavailable(text="no uploads now")
        data = await request.read()
        sha256 = hashlib.sha256(data).hexdigest()
        self.world.keep_media(sha256, data, request.headers.get("Content-Type", "application/octet-stream"))
        return web.json_response({"sha256": sha256, "size": len(data)})

    async def download(self, request: web.Request) -> web.Response:
        """A media file by its hash. Files that a browser could run are never served as such."""
        kept = self.world.media.get(request.match_info["sha256"])
        if kept is None:
            raise web.HTTPNotFound(text="no such file, or it was dropped for newer ones")
        data, mimetype = kept
        harmless = mimetype.partition("/")[0] in ("image", "audio", "video") and "svg" not in mimetype
        headers = {
            "Content-Type": mimetype if harmless else "application/octet-stream",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox",
        }
        return web.Response(body=data, headers=headers)

    async def blocked(self, request: web.Request) -> web.Response:
        """The browser reports that it blocked something: if it was a request to another host, it counts."""
        try:
            report = json.loads(await request.text())["csp-report"]
            target = str(report.get("blocked-uri", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            return web.Response(status=400)
        if target.partition(":")[0] in ("http", "https", "ws", "wss"):
            self.world.truth.counts["foreign_requests"] += 1
            self.world.stir()
        return web.Response(status=204)
