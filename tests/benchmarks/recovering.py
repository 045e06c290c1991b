"""Recovering: from kill -9 of Chromium, or of its host, until the next message reaches WhatsApp's server, in the middle of a full queue.

150 messages wait in 16 chats and go out at pacing 0; after 30 of them the process is killed. The figure is from the kill to the first
message that arrives more than 0.2 s after it, by the sandbox's clock: before that only what was on its way already, since nothing is
back so soon. All must have arrived, and the session be healthy, before the next kill.
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
CHATS = [f"49155500{n:02d}" for n in range(16)]
MESSAGES, BEFORE = 150, 30
#: Seconds after a kill in which messages arrive that were handed over before.
ON_ITS_WAY = 0.2
NAMES = {"chromium-default": "Chromium", "browser-default": "its host"}


def measure(scale: Scale, gateway: Gateway) -> Iterator[Row]:
    for program, limit in LIMITS.items():
        took = [_kill(gateway, program, n, settle=not scale.quick) for n in range(scale.pick(10, 1))]
        detail = f"median of {len(took)}, {min(took):.2f} to {max(took):.2f} s"
        yield Row(f"{NAMES[program]} killed → next send", statistics.median(took), "s", detail, limit)


def _kill(gateway: Gateway, program: str, n: int, settle: bool) -> float:
    """Seconds to the next send; `settle`: returns when all of the batch has its outcome."""
    arrivals = Arrivals(gateway)
    batch = [{"to": CHATS[i % len(CHATS)], "text": f"{program} {n}: {i}"} for i in range(MESSAGES)]
    pid = gateway.pid(program)
    gateway.api.post("/api/messages/batch", {"messages": batch})
    arrivals.count(BEFORE)
    os.kill(pid, signal.SIGKILL)
    at = time.time()
    times = arrivals.until("the next send", lambda found: max(found.values()) > at + ON_ITS_WAY).values()
    next_send = min(time for time in times if time > at + ON_ITS_WAY)
    if settle:
        arrivals.count(MESSAGES)
        until("each has its outcome", lambda: gateway.api.get("/api/health")["message_queue_length"] == 0 and _settled(gateway), 60)
    gateway.healthy()
    return next_send - at


def _settled(gateway: Gateway) -> bool:
    counts = gateway.api.get("/api/queue-status")["counts"]
    return not counts["sending"] and not counts["unconfirmed"]
