"""Behind a proxy: the gateway under a path of its own, stripped by the proxy or passed on; and connections that the proxy closes first."""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from aiohttp import web
from api_rig import ONE, ApiRig, PlayedHost, beating
from sandbox_rig import Browser, until

from gateway.api.wire import IDLE_TIMEOUT

KEY = "a-key-of-more-than-sixteen-characters"
ROOT = "/apps/whatsapp"
DEPLOY = Path(__file__).parents[2] / "docs/deploy.md"


async def _proxied(api: ApiRig, strip: bool) -> AsyncIterator[str]:
    """The address of a proxy that shows the gateway, and nothing else, under ROOT."""

    async def forward(request: web.Request) -> web.Response:
        if not request.path_qs.startswith(ROOT):
            return web.Response(status=502, text="outside of the gateway's path")
        path = request.path_qs.removeprefix(ROOT) if strip else request.path_qs
        headers = {k: v for k, v in request.headers.items() if k != "Host"} | {"X-Forwarded-Prefix": ROOT, "Host": "example.com"}
        async with api.http.request(
            request.method, f"{api.url}{path or '/'}", headers=headers, data=await request.read(), allow_redirects=False
        ) as reply:
            kept = {k: v for k, v in reply.headers.items() if k not in ("Content-Length", "Transfer-Encoding", "Date", "Server")}
            return web.Response(status=reply.status, headers=kept, body=await reply.read())

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", forward)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield "http://{}:{}".format(*runner.addresses[0])
    await runner.cleanup()


@pytest.fixture(params=[ROOT, f"{ROOT}, stripped"])
async def shown(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[ApiRig, str]]:
    async with ApiRig(tmp_path, api_key=KEY, root_path=ROOT) as api, PlayedHost(api), beating(api.settings, "watchdog"):
        async for proxy in _proxied(api, "stripped" in request.param):
            yield api, proxy


async def test_every_url_handed_out_leads_to_what_it_says(shown: tuple[ApiRig, str]) -> None:
    api, proxy = shown
    own = {"X-Api-Key": KEY}

    async def ask(method: str, url: str, **more: Any) -> tuple[int, Any, str | None]:
        async with api.http.request(method, url, headers={**own, **more.pop("headers", {})}, allow_redirects=False, **more) as reply:
            body = await reply.json() if reply.content_type == "application/json" else await reply.text()
            return reply.status, body, reply.headers.get("Location")

    for headers in ({}, {"Prefer": "wait=0"}):
        status, sent, location = await ask("POST", f"{proxy}{ROOT}/api/messages", json=ONE, headers=headers)
        assert status == 202 and location is not None
        assert (await ask("GET", urljoin(proxy, location)))[1]["id"] == sent["id"]
        assert (await ask("GET", urljoin(api.url, location)))[1]["id"] == sent["id"], "also directly"
    status, opened, location = await ask("POST", f"{proxy}{ROOT}/api/recover-session", json={})
    assert status == 202 and location is not None and (await ask("GET", urljoin(proxy, location)))[1]["id"] == opened["id"]
    status, refused, _ = await ask("POST", f"{proxy}{ROOT}/api/recover-session", json={})
    (path,) = re.findall(r"read it at (\S+)", refused["error"]["message"])
    assert status == 409 and (await ask("GET", urljoin(proxy, path)))[1]["id"] == opened["id"]
    _, lost, _ = await ask("GET", f"{proxy}{ROOT}/api/nothing")
    assert f"{ROOT}/api/docs shows" in lost["error"]["message"]
    for top in ("", "/"):
        status, _, location = await ask("GET", f"{proxy}{ROOT}{top}")
        assert status == 302 and location == f"{ROOT}/api/docs"
    assert (await ask("GET", f"{proxy}{ROOT}/metrics"))[0] == (await ask("GET", f"{api.url}/metrics"))[0] == 200
    _, document, _ = await ask("GET", f"{proxy}{ROOT}/api/openapi.json")
    (server,) = document["servers"]
    assert (await ask("GET", urljoin(proxy, server["url"]) + "/api/queue-status"))[0] == 200
    for probe in (f"{proxy}{ROOT}/healthz", f"{api.url}/healthz", f"{proxy}{ROOT}/readyz"):
        async with api.http.get(probe) as reply:
            assert reply.status == 200, "no key needed"


@pytest.mark.parametrize("shown", [f"{ROOT}, stripped"], indirect=True)
async def test_the_docs_page_works_under_its_path(shown: tuple[ApiRig, str]) -> None:
    _, proxy = shown
    short = tempfile.TemporaryDirectory()  # Chromium's socket lies in it, and a socket's path is short
    browser = Browser(Path(short.name) / "profile", user_agent=None)
    try:
        await browser.start("about:blank")
        await browser.page.setExtraHTTPHeaders({"X-Api-Key": KEY})
        await browser.page.goto(f"{proxy}{ROOT}/")
        assert browser.page.url == f"{proxy}{ROOT}/api/docs"

        async def command() -> str:
            return str(await browser.js("return document.querySelector('#send_message pre')?.textContent ?? ''"))

        assert f"{proxy}{ROOT}/api/messages" in await until("the page is built", command)
        await browser.js("document.querySelector('#list_sessions form.try button').click()")

        async def tried() -> bool:
            return str(await browser.js("return document.querySelector('#list_sessions .status').textContent")).startswith("200")

        await until("the call is answered", tried)
        assert browser.errors == [] and all(url.startswith(f"{proxy}{ROOT}/") for url in browser.requests if url.startswith("http"))
    finally:
        await browser.kill()
        short.cleanup()


def test_an_idle_connection_is_kept_longer_than_each_proxy_of_the_docs_keeps_it() -> None:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", DEPLOY.read_text().partition("**Idle connections.**")[2], re.MULTILINE)
    proxies = {name: (kept, to_set) for name, kept, to_set in rows if name not in ("proxy", "---")}
    assert {"nginx", "Caddy", "Traefik", "HAProxy", "Apache httpd", "Envoy, Istio"} <= proxies.keys()
    for name, (kept, to_set) in proxies.items():
        seconds = re.search(r"(\d+) ?s", kept if to_set.startswith("nothing") else to_set.replace("ttl=600", "600 s"))
        assert seconds is not None and int(seconds[1]) < IDLE_TIMEOUT, name
    assert f"for {IDLE_TIMEOUT:g} s" in DEPLOY.read_text()
