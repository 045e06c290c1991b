"""The OpenAPI document, and the page that shows it: files of ours, so that it works without a network."""

from __future__ import annotations

from importlib import resources
from typing import Any

from aiohttp import web
from pydantic_core import to_json

from gateway.api.errors import Problem

DOCUMENT = web.AppKey("document", bytes)

#: The page loads nothing from anywhere else, and nobody may frame it.
_POLICY = "default-src 'self'; img-src 'self' data: blob:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def _files() -> dict[str, bytes]:
    directory = resources.files("gateway.api") / "web"
    return {f.name: f.read_bytes() for f in directory.iterdir() if f.name.rpartition(".")[2] in _TYPES}


def add_docs(app: web.Application, document: dict[str, Any], root: str = "") -> None:
    """Routes of the document and its page. `root` is GATEWAY_ROOT_PATH."""
    app[DOCUMENT] = to_json(document)
    files = _files()

    async def openapi(request: web.Request) -> web.Response:
        return web.Response(body=request.app[DOCUMENT], content_type="application/json")

    async def page(request: web.Request) -> web.Response:
        name = request.match_info.get("name", "docs.html")
        if name not in files:
            raise Problem(404, "no_such_path", "there is nothing at this path: /api/docs shows what there is")
        headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache", "Referrer-Policy": "no-referrer"}
        return web.Response(body=files[name], content_type=_TYPES[name.rpartition(".")[2]], charset="utf-8", headers=headers)

    async def to_docs(request: web.Request) -> web.Response:
        raise web.HTTPFound(f"{root}/api/docs")

    for prefix in dict.fromkeys(("", root)):
        app.router.add_get(f"{prefix}/api/openapi.json", openapi)
        app.router.add_get(f"{prefix}/api/docs", page)
        app.router.add_get(f"{prefix}/api/docs/{{name}}", page)
        app.router.add_get(f"{prefix}/", to_docs)
    if root:
        app.router.add_get(root, to_docs)
