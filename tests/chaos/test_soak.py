"""The soak: at default pacing, a fault a minute, chosen by dice; everything is counted, and how long the session was not in service.

GATEWAY_CHAOS_MINUTES is its length (2 unless said), GATEWAY_CHAOS_SEED repeats a run's dice. The last line is the availability
at one fault an hour: 1 − the mean seconds out of service after a fault / 3600. A process that stands still is a fault like one that
was killed; an API that does not answer counts as out of service.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from gateway_rig import Gateway, until
from strikes import Family, strike

from gateway.client import Client, Refused, Unreachable

SEED = int(os.environ.get("GATEWAY_CHAOS_SEED", time.time_ns() % 1_000_000))
MINUTES = int(os.environ.get("GATEWAY_CHAOS_MINUTES", 2))
#: Seconds from one fault to the next, and between two messages: a little slower than the pacing, so that the queue empties between faults.
EACH, MESSAGE_EACH = 60.0, 1.2
#: Seconds between two questions for health.
LOOK = 0.1
CHATS = 10
#: Seconds out of service that any fault may cost.
MOST = 45.0


@dataclass(eq=False)  # a thread is itself alone
class Health(threading.Thread):
    """Asks for health all the time; adds up the seconds out of service."""

    api: Client
    over: threading.Event = field(default_factory=threading.Event)
    down: float = 0.0
    longest: float = 0.0

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def run(self) -> None:
        before, since = time.monotonic(), None
        while not self.over.wait(LOOK):
            healthy = self._healthy()
            now = time.monotonic()
            if healthy:
                since = None
            else:
                since = since or before
                self.down += now - before
                self.longest = max(self.longest, now - since)
            before = now

    def _healthy(self) -> bool:
        try:
            return bool(self.api.get("/api/health", timeout=1.0)["session_health"])
        except (Refused, Unreachable):
            return False


class Load(threading.Thread):
    """Sends a message each `MESSAGE_EACH` seconds until told to stop, and repeats each with its key until there is an answer."""

    def __init__(self, api: Client) -> None:
        super().__init__(daemon=True)
        self.api, self.over, self.ids, self.trouble = api, threading.Event(), {}, ""

    def run(self) -> None:
        n = 0
        while not self.over.wait(MESSAGE_EACH):
            body = {"to": f"49155580{n % CHATS:02d}", "text": f"soak {n}"}
            try:
                self.ids[body["text"]] = until(f"message {n} is accepted", lambda body=body, n=n: self._post(body, n), 60)
            except AssertionError as error:
                self.trouble = str(error)
                return
            n += 1

    def _post(self, body: dict[str, str], n: int) -> str | None:
        try:
            return str(self.api.post("/api/messages", body, {"Idempotency-Key": f"soak-{n}"}, timeout=5)["id"])
        except (Refused, Unreachable) as error:
            assert getattr(error, "status", 500) >= 500, error
            return None


def _hit(name: str, number: signal.Signals) -> Callable[[Gateway], object]:
    return lambda gateway: strike(gateway, name, number, inside=False)


def _page(kind: str) -> Callable[[Gateway], object]:
    return lambda gateway: gateway.fault(kind)


FAULTS: dict[str, Callable[[Gateway], object]] = {
    f"{name} {word}": _hit(name, number)
    for name in ("api", "browser-default", "chromium-default", "renderer", "watchdog")
    for word, number in (("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP))
} | {"the page hangs": _page("endless_loop"), "the socket is cut": _page("cut_socket"), "the page reloads": _page("reload")}


@pytest.mark.timeout(MINUTES * 60 + 300)
def test_a_fault_a_minute_loses_nothing_and_doubles_nothing() -> None:
    dice = random.Random(SEED)
    # each kind as often as any other, in an order of the dice's
    kinds = [kind for _ in range(MINUTES // len(FAULTS) + 1) for kind in dice.sample(sorted(FAULTS), len(FAULTS))][:MINUTES]
    with Gateway(GATEWAY_SEND_INTERVAL="1") as gateway:
        gateway.link()
        family, load, health = Family(gateway), Load(Client(gateway.api.base)), Health(Client(gateway.api.base))
        load.start()
        health.start()
        begun, took = time.monotonic(), {}
        for n, kind in enumerate(kinds):
            time.sleep(max(0.0, begun + n * EACH + dice.uniform(2, 12) - time.monotonic()))  # the moment is the experiment
            family.note()
            before = health.down
            FAULTS[kind](gateway)
            time.sleep(max(0.0, begun + (n + 1) * EACH - time.monotonic()))
            took.setdefault(kind, []).append(health.down - before)
        load.over.set()
        load.join(90)
        assert not load.trouble and not load.is_alive(), load.trouble
        verdict = gateway.verdict(load.ids, 120)
        gateway.healthy(60)
        health.over.set()
        health.join(5)
        recoveries = [r["status"] for r in gateway.api.get("/api/recoveries")["recoveries"]]
        for kind, seconds in sorted(took.items()):
            print(f"{kind:28} {'  '.join(f'{s:5.1f}' for s in seconds)} s out of service")
        every = [seconds for each in took.values() for seconds in each]
        mean = statistics.mean(every)
        print(f"seed {SEED}  minutes {MINUTES}  faults {len(kinds)}  recoveries {len(recoveries)}")
        print(f"{verdict}  page_resends {verdict.page_resends}")
        print(f"out of service: mean {mean:.2f} s a fault, median {statistics.median(every):.2f} s, longest {health.longest:.1f} s")
        print(f"availability at one fault an hour: {100 * (1 - mean / 3600):.3f} %")
        assert verdict.clean, verdict
        assert "running" not in recoveries
        assert health.longest < MOST
        family.check_alive()
        gateway.stop()
        family.check_gone()
