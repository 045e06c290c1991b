"""The edge of pyppeteer: one tab of this slot's Chromium, and calls on it that always end.

Every wait has a deadline, and none ever cancels a future of pyppeteer: a cancelled one stays in its
table, and at the connection's end the loop that rejects the others stumbles over it (FACTS,
measured). `asyncio.wait` leaves them alone; what ends a wait early is the connection's end, which
this module announces to all waiters itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any, Self

import structlog
from pyppeteer.connection import CDPSession, Connection
from websockets.exceptions import ConnectionClosedError

from gateway.browser.endpoint import Endpoint
from gateway.browser.scripts import BRIDGE_NAME, Scripts

log = structlog.get_logger()

#: Seconds for the handshake and for each question that needs no work of the page.
CONNECT = 3.0
ATTACH = 5.0


class PageError(Exception):
    """A call on the page got no answer of the bridge; the text is what pyppeteer or Chromium said, verbatim."""


class Gone(PageError):
    """The connection, the tab or its document ended, before or during the call."""


class Late(PageError):
    """No answer before the deadline: the call may still be carried out, now or much later."""


class Broken(PageError):
    """The page answered, but not as the bridge does: it is not there, or threw."""


class Page:
    """An attached tab. Owns its connection; close() it.

    `lost` is resolved when the connection or the tab has ended; its result says why. `crashed`: the renderer is.
    """

    def __init__(self, endpoint: Endpoint, scripts: Scripts) -> None:
        self.endpoint = endpoint
        self.crashed = False
        self.net_error: str | None = None  #: why WhatsApp Web could not be loaded when it was opened last (net::ERR_…)
        self._scripts = scripts
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = loop.create_future()
        self.navigated = asyncio.Event()  #: another document has come; whoever waits for it clears it
        self._connection = _Connection(endpoint.url, loop)
        self._connection.setClosedCallback(lambda: self.lose("the connection to Chromium has ended"))
        self._session: CDPSession | None = None
        self._target = ""
        self._tasks: set[asyncio.Task[Any]] = set()

    @classmethod
    async def connect(cls, endpoint: Endpoint, scripts: Scripts) -> Self:
        """Connect and attach to the one tab, closing others. Raises PageError."""
        page = cls(endpoint, scripts)
        try:
            await page._attach()
        except BaseException:
            page.close()
            raise
        return page

    async def _attach(self) -> None:
        connection = self._connection
        await self._within(lambda: connection.send("Target.setDiscoverTargets", {"discover": True}), CONNECT)
        tabs = await self._tabs()
        ours = [t for t in tabs if t["url"].startswith(self._scripts.url)] or tabs
        if not ours:
            made = await self._within(lambda: connection.send("Target.createTarget", {"url": "about:blank"}), ATTACH)
            ours = [t for t in await self._tabs() if t["targetId"] == made["targetId"]]
        self._target = ours[0]["targetId"]
        self._session = await self._within(lambda: connection.createSession(ours[0]), ATTACH)
        self._listen(self._session)
        # not waited for: Chromium obeys in order, and a page that hangs shall show by its missed round trips
        self._needed("Page.enable", {})
        self._needed("Inspector.enable", {})
        self._needed("Page.addScriptToEvaluateOnNewDocument", {"source": self._scripts.document})
        for tab in tabs:
            if tab["targetId"] != self._target:
                self._close_tab(tab["targetId"])

    async def _tabs(self) -> list[dict[str, Any]]:
        answer = await self._within(lambda: self._connection.send("Target.getTargets"), CONNECT)
        return [t for t in answer["targetInfos"] if t["type"] == "page" and not t["url"].startswith(("devtools:", "chrome-extension:"))]

    def _listen(self, session: CDPSession) -> None:
        self._connection.on("Target.targetDestroyed", lambda e: self._target_ended(e, "the page has been closed"))
        self._connection.on("Target.targetCreated", self._target_created)
        self._connection.on("Target.targetCrashed", lambda e: self._target_crashed(e))
        session.on("Inspector.targetCrashed", lambda e: self._crash())
        session.on("Page.frameNavigated", lambda e: None if e["frame"].get("parentId") else self.navigated.set())
        # a dialog would block every call until somebody clicks
        session.on("Page.javascriptDialogOpening", lambda e: self._in_passing("Page.handleJavaScriptDialog", {"accept": True}))

    def _target_ended(self, event: dict[str, Any], why: str) -> None:
        if event.get("targetId") == self._target:
            self.lose(why)

    def _target_crashed(self, event: dict[str, Any]) -> None:
        if event.get("targetId") == self._target:
            self._crash()

    def _crash(self) -> None:
        self.crashed = True
        log.warning("The page's renderer has crashed", chromium=self.endpoint.launch.pid)

    def _target_created(self, event: dict[str, Any]) -> None:
        info = event.get("targetInfo", {})
        if self._target and info.get("type") == "page" and info.get("targetId") != self._target:
            self._close_tab(info["targetId"])

    def _close_tab(self, target: str) -> None:
        """A second tab of WhatsApp would be a conflict of two devices."""
        with contextlib.suppress(Exception):
            _heeded(self._connection.send("Target.closeTarget", {"targetId": target}))

    def _in_passing(self, method: str, params: dict[str, Any]) -> Awaitable[Any] | None:
        """A command whose answer nobody waits for; None if it cannot be sent."""
        with contextlib.suppress(Exception):
            if self._session is not None:
                asked: Awaitable[Any] = asyncio.ensure_future(self._session.send(method, params))
                _heeded(asked)
                return asked
        return None

    def _needed(self, method: str, params: dict[str, Any]) -> None:
        """A command that the page cannot be used without: if it fails, the tab is given up."""
        assert self._session is not None
        try:
            asked: asyncio.Future[Any] = asyncio.ensure_future(self._session.send(method, params))
        except Exception as error:
            raise _translated(error) from error
        asked.add_done_callback(lambda f: self.lose(f"{method}: {f.exception()}") if not f.cancelled() and f.exception() else None)

    # -- calls

    async def call(self, name: str, args: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Ask the bridge; its JSON answer. `deadline` in seconds. Raises Gone, Late, Broken."""
        expression = f"{BRIDGE_NAME}.call({json.dumps(name)}, {json.dumps(args)})"
        value = await self.evaluate(expression, deadline)
        if not isinstance(value, dict):
            raise Broken(f"the bridge answered {value!r}")
        return value

    async def evaluate(self, expression: str, deadline: float) -> Any:
        """The value of a JavaScript expression in the page's main frame, promises awaited. Raises Gone, Late, Broken."""
        params = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        answer = await self.command("Runtime.evaluate", params, deadline)
        if details := answer.get("exceptionDetails"):
            thrown = details.get("exception", {})
            raise Broken(str(thrown.get("description") or thrown.get("value") or details.get("text")).split("\n")[0])
        return answer["result"].get("value")

    async def command(self, method: str, params: dict[str, Any], deadline: float) -> dict[str, Any]:
        """One DevTools command on the tab. Raises Gone, Late, Broken."""
        session = self._session
        assert session is not None, "not attached"
        answer = await self._within(lambda: session.send(method, params), deadline)
        if answer is None:  # pyppeteer answers so when the connection ends while it sends
            raise Gone("the connection to Chromium ended while the call was sent")
        return dict(answer)

    async def _within(self, ask: Callable[[], Awaitable[Any]], deadline: float) -> Any:
        """What pyppeteer answers, waiting for at most `deadline` seconds, and no longer than the connection lasts."""
        try:
            asked = asyncio.ensure_future(ask())
        except Exception as error:  # pyppeteer's send raises at once on a closed session
            raise _translated(error) from error
        _heeded(asked)
        await asyncio.wait({asked, self.lost}, timeout=deadline, return_when=asyncio.FIRST_COMPLETED)
        if asked.done():
            if asked.cancelled():
                raise Gone("the connection to Chromium was given up")
            if (failed := asked.exception()) is not None:
                raise _translated(failed) from failed
            return asked.result()
        if self.lost.done():
            raise Gone(self.lost.result())
        raise Late(f"no answer within {deadline:g} s")

    # -- the document

    async def put_bridge(self) -> None:
        """Put today's bridge into the living document, over an older one where there is one. Raises PageError."""
        await self.evaluate(self._scripts.bridge, ATTACH)

    def open(self) -> None:
        """Begin to load WhatsApp Web; its server may take its time to answer, so nobody waits for it here. See `net_error`."""
        asked = self._in_passing("Page.navigate", {"url": self._scripts.url})
        if isinstance(asked, asyncio.Future):
            asked.add_done_callback(self._opened)

    def _opened(self, asked: asyncio.Future[Any]) -> None:
        if not asked.cancelled() and asked.exception() is None:
            self.net_error = str((asked.result() or {}).get("errorText") or "")[:100] or None

    async def reload(self) -> None:
        """Load the document anew. Raises PageError."""
        await self.command("Page.reload", {}, ATTACH)

    # -- the end

    def lose(self, why: str) -> None:
        """Tell every waiter at once that nothing will be answered any more."""
        if not self.lost.done():
            self.lost.set_result(why)

    def close(self) -> None:
        """Leave Chromium alone: it and the page live on. Never raises, never waits."""
        self.lose("the connection was closed")
        connection = self._connection
        if connection._connected:
            task = asyncio.ensure_future(connection.dispose())
            _heeded(task)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            # it never came to be: pyppeteer's senders spin until it does, so let them meet a closed one
            connection._recv_fut.cancel()
            connection.connection = _Closed()
            connection._connected = True


class _Connection(Connection):  # type: ignore[misc]  # pyppeteer has no types
    """pyppeteer's, with an owner for every future, and an end that always reaches the sessions.

    A session sends each call inside of another one, whose future it throws away. When the connection
    ends both are rejected: the call's reaches its caller as a PageError, the other one nobody.

    A send that meets a dead socket resolves its own future and leaves it in the table, where the loop
    that rejects the others stumbles over it, before it has told the sessions that they are closed.
    """

    async def _on_close(self) -> None:
        for id in [id for id, future in self._callbacks.items() if future.done()]:
            del self._callbacks[id]
        await super()._on_close()

    def send(self, method: str, params: dict[str, Any] | None = None) -> Awaitable[Any]:
        future: Awaitable[Any] = super().send(method, params)
        _heeded(future)
        return future


class _Closed:
    """Stands in for a websocket that never opened."""

    async def send(self, message: str) -> None:
        raise ConnectionClosedError(None, None)

    async def close(self) -> None:
        return None


def _heeded(future: Awaitable[Any]) -> None:
    """Look at a future's outcome even if nobody waits for it any more: asyncio logs those that nobody saw."""
    if isinstance(future, asyncio.Future):
        future.add_done_callback(lambda f: f.cancelled() or f.exception())


#: Words of errors after which the document, the tab or the connection is another one, or none.
_ENDED = ("Target closed", "Session closed", "Connection is closed", "navigated or closed", "context was destroyed", "Cannot find context")


def _translated(error: BaseException) -> PageError:
    text = str(error) or type(error).__name__
    if isinstance(error, ConnectionError | OSError) or any(words in text for words in _ENDED) or "Promise was collected" in text:
        return Gone(text)
    return Broken(text)
