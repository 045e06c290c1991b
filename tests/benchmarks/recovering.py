"""Recovering: from kill -9 of Chromium, or of its host, until messages reach WhatsApp's server again, in the middle of a full queue.

150 messages wait in 16 chats and go out at pacing 0; after 30 of them the process is killed. The first figure is from the kill to the
first message that arrives more than 0.2 s after it, by the sandbox's clock: before that only what was on its way already, since nothing is
back so soon. The second is until every chat has had such a message: the chats that had one in flight go on last, once the page was asked
what became of it. All must have arrived, and the session be healthy, before the next kill.
The limits are what a user waits for without asking.
"""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Iterator

from arrivals import Arrivals
from gateway_rig import Gateway, until
from report import Limit, Row
from scale import Scale

LIMITS = {"chromium-default": Limit(5.0, most=True), "browser-default": Limit(1.5, most=True)}
EVERY_CHAT = Limit(5.0, most=True)
CHATS = [f"49155500{n:02d}" for n in range(16)]
MESSAGES, BEFORE = 150, 30
#: Seconds after a kill in which messages arrive that were handed over before.
ON_ITS_WAY = 0.2
NAMES = {"chromium-default": "Chromium", "browser-default": "its host"}


def measure(scale: Scale, gateway: Gateway) -> Iterator[Row]:
    for program, limit in LIMITS.items():
        took = [_kill(gateway, program, n, settle=not scale.quick) for n in range(scale.pick(10, 1))]
        yield _row(f"{NAMES[program]} killed → next send", [one for one, _ in took], limit)
        yield _row(f"{NAMES[program]} killed → every chat goes on", [every for _, every in took], EVERY_CHAT)


def _row(name: str, took: list[float], limit: Limit) -> Row:
    return Row(name, statistics.median(took), "s", f"median of {len(took)}, {min(took):.2f} to {max(took):.2f} s", limit)


def _kill(gateway: Gateway, program: str, n: int, settle: bool) -> tuple[float, float]:
    """Seconds to the next send, and until every chat has sent again; `settle`: returns when all of the batch has its outcome."""
    arrivals = Arrivals(gateway)
    batch = [{"to": CHATS[i % len(CHATS)], "text": f"{program} {n}: {i}"} for i in range(MESSAGES)]
    pid = gateway.pid(program)
    gateway.api.post("/api/messages/batch", {"messages": batch})
    arrivals.count(BEFORE)
    os.kill(pid, signal.SIGKILL)
    at = time.time()
    since = at + ON_ITS_WAY
    arrivals.until("every chat sends again", lambda found: len(_goes_on(found, since)) == len(CHATS))
    again = _goes_on(arrivals.at, since).values()
    if settle:
        arrivals.count(MESSAGES)
        until("each has its outcome", lambda: gateway.api.get("/api/health")["message_queue_length"] == 0 and _settled(gateway), 60)
    gateway.healthy()
    return min(again) - at, max(again) - at


def _goes_on(found: dict[str, float], since: float) -> dict[int, float]:
    """Of each chat that has sent since then, when it did so first."""
    first: dict[int, float] = {}
    for body, time_ in found.items():
        chat = int(body.rpartition(" ")[2]) % len(CHATS)
        if time_ > since:
            first[chat] = min(time_, first.get(chat, time_))
    return first


def _settled(gateway: Gateway) -> bool:
    counts = gateway.api.get("/api/queue-status")["counts"]
    return not counts["sending"] and not counts["unconfirmed"]
