"""The peer of accepting.py: an aiohttp server whose only handler answers 202 with nothing. `empty.py PORT`."""

from __future__ import annotations

import sys

from aiohttp import web


async def empty(_: web.Request) -> web.Response:
    return web.Response(status=202)


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.post("/api/messages", empty), web.get("/readyz", empty)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
