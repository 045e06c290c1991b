"""A rig for tests: the sandbox in this process, a real Chromium, and the unmodified wa-js on the sandbox's page.

    async with Rig() as rig:
        await rig.link()
        id = await rig.send("4915550001", "hello")

Everything that it starts is ended by its own pid or mark, whatever the test did to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import psutil
import pyppeteer

from gateway.sandbox.behaviour import SETTINGS
from gateway.sandbox.server import Sandbox

#: What WhatsApp Web is told instead of "HeadlessChrome".
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
#: Set before the bundle: nothing of wa-js may talk to third parties.
CONFIG = "window.WPPConfig = {disableGoogleAnalytics: true, linkPreviewApiServers: [], syncAllStatus: false};"
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--remote-debugging-port=0",
]
_MARK = "SANDBOX_RIG"


T = TypeVar("T")


class Timeout(AssertionError):
    """A condition never came true."""


def wa_js() -> str:
    """The bundle's text: `GATEWAY_WA_JS`, else the one that the gateway provides."""
    named = os.environ.get("GATEWAY_WA_JS")
    if named:
        return Path(named).read_text()
    from gateway.provision import wa_js_path

    return Path(wa_js_path()).read_text()


def chromium() -> str:
    """The browser's executable."""
    names = (os.environ.get("GATEWAY_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    assert found, "no Chromium on this machine: install one, or set GATEWAY_CHROMIUM"
    return found


async def until(what: str, question: Callable[[], Awaitable[T]], seconds: float = 20.0) -> T:
    """Ask until the answer is true-ish; exceptions count as no, the last one is shown in the end."""
    end = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < end:
        try:
            last = await question()
            if last:
                return last
        except Exception as e:
            last = e
        await asyncio.sleep(0.03)
    raise Timeout(f"never within {seconds} s: {what} (last answer: {last!r})")


class Browser:
    """One Chromium on a profile directory, and its one page."""

    def __init__(self, profile: Path, *, user_agent: str | None = USER_AGENT, bundle: str | None = None) -> None:
        self.profile = profile
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._agent = user_agent
        self._bundle = bundle
        self._process: subprocess.Popen[bytes]
        self._browser: Any = None
        self.page: Any = None

    async def start(self, url: str) -> None:
        """Launch, inject, go to `url`."""
        self.profile.mkdir(parents=True, exist_ok=True)
        temporary = self.profile.parent / "tmp"
        temporary.mkdir(exist_ok=True)
        port_file = self.profile / "DevToolsActivePort"
        port_file.unlink(missing_ok=True)
        agent = [f"--user-agent={self._agent}"] if self._agent else []
        self._process = subprocess.Popen(
            [chromium(), *FLAGS, *agent, f"--user-data-dir={self.profile}", "about:blank"],
            env={**os.environ, "TMPDIR": str(temporary), _MARK: str(self.profile)},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        async def endpoint() -> str | None:
            lines = port_file.read_text().split()
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}" if len(lines) == 2 else None

        address = await until("Chromium's DevTools port", endpoint)
        self._browser = await pyppeteer.connect(browserWSEndpoint=address, defaultViewport=None)
        self.page = (await self._browser.pages())[0]
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("request", lambda r: self.requests.append(r.url))
        if self._bundle is not None:
            source = CONFIG + "\n" + self._bundle
            await self.page._client.send("Page.addScriptToEvaluateOnNewDocument", {"source": source})
        await self.page.goto(url)

    async def js(self, body: str, seconds: float = 20.0) -> Any:
        """Run `body` as an async function in the page. A deadline passed raises TimeoutError and leaves the call
        to itself: a cancelled future would break pyppeteer's table."""
        call = asyncio.ensure_future(self.page.evaluate(f"async () => {{ {body} }}"))
        done, _ = await asyncio.wait([call], timeout=seconds)
        if not done:
            call.add_done_callback(lambda f: f.cancelled() or f.exception())
            raise TimeoutError(f"the page did not answer within {seconds} s")
        return call.result()

    def memory(self) -> int:
        """Bytes of its own that the browser and its processes hold."""
        root = psutil.Process(self._process.pid)
        infos = [p.memory_info() for p in (root, *root.children(recursive=True))]
        return sum(i.rss - i.shared for i in infos)

    async def kill(self) -> None:
        """kill -9 of all that belongs to it, and wait for its end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await asyncio.to_thread(self._process.wait)
        await asyncio.to_thread(_sweep, str(self.profile))
        if self._browser is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(self._browser.disconnect())), 2)
        self._browser = self.page = None


def _sweep(mark: str) -> None:
    """End what a killed Chromium leaves behind: its crash handlers run in sessions of their own."""
    left = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(_MARK) == mark:
                process.kill()
                left.append(process)
    psutil.wait_procs(left, timeout=5)


class Rig:
    """Sandbox, browser, bundle, and the few things that every test does with them."""

    def __init__(self, *, user_agent: str | None = USER_AGENT, settings: dict[str, Any] | None = None) -> None:
        self._agent = user_agent
        self._settings = settings or {}
        self.sandbox = Sandbox()
        self.directory: Path
        self.browser: Browser
        self.http: aiohttp.ClientSession

    async def __aenter__(self) -> Rig:
        bundle = wa_js()
        self.directory = Path(tempfile.mkdtemp(prefix="sandbox-rig-"))
        await self.sandbox.__aenter__()
        self.http = aiohttp.ClientSession()
        if self._settings:
            await self.control("settings", **self._settings)
        self.browser = Browser(self.directory / "profile", user_agent=self._agent, bundle=bundle)
        try:
            await self.browser.start(self.sandbox.url)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.browser.kill()
        await self.http.close()
        await self.sandbox.__aexit__(None, None, None)
        shutil.rmtree(self.directory, ignore_errors=True)

    # -- the sandbox's control API

    async def control(self, path: str, *, status: int = 200, **body: Any) -> Any:
        """POST /control/<path>; asserts the status and gives the answer."""
        async with self.http.post(f"{self.sandbox.url}/control/{path}", json=body) as answer:
            said = await answer.json()
            assert answer.status == status, (path, body, answer.status, said)
            return said

    async def ask(self, path: str) -> Any:
        """GET /control/<path>."""
        async with self.http.get(f"{self.sandbox.url}/control/{path}") as answer:
            assert answer.status == 200, (path, answer.status, await answer.text())
            return await answer.json()

    async def fault(self, kind: str, **fields: Any) -> str:
        """Switch a fault on; its id. A page that is connected knows of it once this returns."""
        id: str = (await self.control("faults", kind=kind, **fields))["id"]
        return id

    async def heal(self, id: str) -> None:
        """Switch a fault off."""
        async with self.http.delete(f"{self.sandbox.url}/control/faults/{id}") as answer:
            assert answer.status == 200, await answer.text()

    async def row(self, id: str) -> dict[str, Any] | None:
        """The ground truth of one message, by hex id or full key."""
        hex_id = id.split("_")[2] if "_" in id else id
        rows: list[dict[str, Any]] = await self.ask("messages")
        return next((r for r in rows if r["id"] == hex_id), None)

    # -- the page

    async def js(self, body: str, seconds: float = 20.0) -> Any:
        """Run `body` as an async function in the page."""
        return await self.browser.js(body, seconds)

    async def until_js(self, expression: str, seconds: float = 20.0) -> Any:
        """Wait until the expression is true-ish; its value."""
        return await until(expression, lambda: self.js(f"return {expression}", 5), seconds)

    async def main(self) -> None:
        """Wait until the page is logged in, synced, and wa-js ready."""
        await self.until_js("window.WPP?.isFullReady && WPP.whatsapp.Stream.mode === 'MAIN' && WPP.whatsapp.Stream.info === 'NORMAL'")

    async def qr(self) -> str:
        """Wait for a QR code; its text."""
        code: str = await self.until_js("(await window.WPP?.conn.getAuthCode())?.fullCode")
        return code

    async def link(self, **scan: Any) -> None:
        """From the QR code to MAIN."""
        await self.qr()
        await until("the sandbox sees the code on show", self._on_show)
        await self.control("scan", **scan)
        await self.main()

    async def _on_show(self) -> bool:
        return any(p["qr"] for p in (await self.ask("state"))["pages"])

    async def reload(self) -> None:
        """A new document, up to MAIN."""
        await self.browser.page.reload()
        await self.main()

    async def restart(self) -> None:
        """kill -9 of Chromium and a new one on the same profile; does not wait for MAIN."""
        await self.browser.kill()
        await self.browser.start(self.sandbox.url)

    async def send(self, to: str, text: str, *, wait: bool = True, seconds: float = 20.0, id: str | None = None) -> Any:
        """Send a text with an id of ours; {id, result: the send result or null}. `wait`: for WhatsApp's ack."""
        wid = to if "@" in to else f"{to}@c.us"
        made = json.dumps(id) if id else "String(await WPP.chat.generateMessageID(chat))"
        return await self.js(
            f"""const chat = await WPP.chat.find({json.dumps(wid)});
            const id = {made};
            const quiet = {{linkPreview: false, markIsRead: false, detectMentioned: false}};
            const options = {{...quiet, messageId: id, waitForAck: {json.dumps(wait)}}};
            const sent = await WPP.chat.sendTextMessage(chat.id, {json.dumps(text)}, options);
            return {{id: sent.id, ack: sent.ack, result: sent.sendMsgResult}};""",
            seconds,
        )

    async def clean(self) -> None:
        """No fault on, the settings as they are by default: what a test leaves to the next on the same rig."""
        for fault in (await self.ask("state"))["faults"]:
            await self.heal(fault["id"])
        await self.control("settings", **{s.name: s.default for s in SETTINGS})

    async def ack(self, id: str) -> Any:
        """The ack that the page knows of a message, or the code of the error that it raises."""
        return await self.js(
            f"try {{ return (await WPP.chat.getMessageById({json.dumps(id)})).ack }} catch (e) {{ return e.code ?? String(e) }}"
        )
