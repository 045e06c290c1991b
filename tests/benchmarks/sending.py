"""Sending: how many messages a second reach WhatsApp's server from a full queue, at pacing 0, in 16 chats.

The peer is the shortest program that does it: a loop that calls sendTextMessage through pyppeteer, one after the other, and waits for
each ack (`waitForAck: true, linkPreview: false, markIsRead: false`), in a Chromium of its own, on the same sandbox, to the same chats,
in turns with ours. It writes nothing down. Both rates are by the sandbox's clock, from the first stanza to the last.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from arrivals import Arrivals
from gateway_rig import Gateway, until
from report import Limit, Row, ratio
from sandbox_rig import Browser, wa_js
from scale import Scale

LIMIT = Limit(0.8, 1.0)
CHATS = [f"49155500{n:02d}" for n in range(16)]
PEERS_ACCOUNT = "491700000002"
_READY = "return Boolean(window.WPP?.isFullReady && WPP.whatsapp.Stream.mode === 'MAIN' && WPP.whatsapp.Stream.info === 'NORMAL')"
_SEND = "await WPP.chat.sendTextMessage(%s, %s, {createChat: true, waitForAck: true, linkPreview: false, markIsRead: false}); return true"


def measure(scale: Scale, gateway: Gateway) -> Iterator[Row]:
    ours, theirs = asyncio.run(_in_turns(gateway, scale.pick(6, 1), scale.pick(240, 16)))
    detail = f"{statistics.median(ours):.0f}/s against {statistics.median(theirs):.0f}/s of a bare loop"
    yield ratio("sends a second at pacing 0", ours, theirs, detail, LIMIT)


async def _in_turns(gateway: Gateway, turns: int, messages: int) -> tuple[list[float], list[float]]:
    ours, theirs = [], []
    with tempfile.TemporaryDirectory(prefix="gw-bench-", ignore_cleanup_errors=True) as path:
        browser = Browser(Path(path) / "profile", bundle=wa_js())
        try:
            await browser.start(f"{gateway.sandbox.base}/")
            await _linked(gateway, browser)
            _queue(gateway, "warm", len(CHATS))
            await _loop(gateway, browser, "warm peer", len(CHATS))
            for turn in range(turns):
                ours.append(_queue(gateway, f"turn {turn}", messages))
                theirs.append(await _loop(gateway, browser, f"peer {turn}", messages))
        finally:
            await browser.kill()
    return ours, theirs


async def _linked(gateway: Gateway, browser: Browser) -> None:
    shown = "the peer's page shows its code"
    await asyncio.to_thread(until, shown, lambda: any(p["qr"] for p in gateway.sandbox.get("/control/state")["pages"]))
    gateway.sandbox.post("/control/scan", {"account": PEERS_ACCOUNT})
    end = time.monotonic() + 30
    while not await browser.js(_READY):
        if time.monotonic() > end:
            raise RuntimeError("the peer's page was not ready within 30 s")
        await asyncio.sleep(0.05)


def _queue(gateway: Gateway, mark: str, messages: int) -> float:
    """Queue them while the session is paused, let go, and see how they arrive. Returns messages a second."""
    arrivals = Arrivals(gateway)
    gateway.api.post("/api/sessions/default/pause")
    batch = [{"to": CHATS[n % len(CHATS)], "text": f"{mark} {n}"} for n in range(messages)]
    gateway.api.post("/api/messages/batch", {"messages": batch})
    gateway.api.post("/api/sessions/default/resume")
    return _rate(arrivals, messages)


async def _loop(gateway: Gateway, browser: Browser, mark: str, messages: int) -> float:
    arrivals = Arrivals(gateway)
    for n in range(messages):
        await browser.js(_SEND % (json.dumps(f"{CHATS[n % len(CHATS)]}@c.us"), json.dumps(f"{mark} {n}")))
    return _rate(arrivals, messages)


def _rate(arrivals: Arrivals, messages: int) -> float:
    times = arrivals.count(messages).values()
    return (messages - 1) / (max(times) - min(times))
