"""The kill matrix: everything is killed and stopped at random moments, and everything is counted.

Each line sends 200 messages at pacing 0 while one kind of process is hit several times. The seed is
printed; GATEWAY_CHAOS_SEED repeats a run's dice.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable

import psutil
import pytest
from gateway_rig import Gateway, until

from gateway.client import Refused, Unreachable

MESSAGES = 200
CHATS = 12
SEED = int(os.environ.get("GATEWAY_CHAOS_SEED", time.time_ns() % 1_000_000))
#: what is hit → the causes that its recoveries may have; any other cause is somebody innocent killed
CAUSES = {
    "api": set[str](),
    "browser-default": {"host_exited", "host_silent"},
    "chromium-default": {"chromium_exited", "chromium_stopped", "page_unresponsive"},
    "renderer": {"page_crashed", "page_unresponsive"},
    "watchdog": set[str](),
}


def victim(gateway: Gateway, name: str) -> int | None:
    """The pid to hit; a renderer is found by the process table."""
    if name != "renderer":
        return gateway.program(name)[1]
    renderers = {}
    for pid in gateway.chromium():
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if any("--type=renderer" in word for word in process.cmdline()):
                renderers[process.memory_info().rss] = pid
    return renderers[max(renderers)] if renderers else None  # the largest is the page; others are spares


def post(gateway: Gateway, n: int) -> str:
    """As a good client does: repeat with the same key until there is an answer."""
    body = {"to": f"49155570{n % CHATS:02d}", "text": f"chaos {n}"}

    def attempt() -> str | None:
        try:
            return str(gateway.api.post("/api/messages", body, {"Idempotency-Key": f"chaos-{n}"}, timeout=5)["id"])
        except Refused as error:
            assert error.status >= 500, error
            return None

    return until(f"message {n} is accepted", attempt, 60)


def send_all(gateway: Gateway, ids: dict[str, str], dice: random.Random) -> None:
    for n in range(MESSAGES):
        ids[f"chaos {n}"] = post(gateway, n)
        time.sleep(dice.uniform(0, 0.08))  # spread over the storm, so that every fault finds messages in flight


def storm(gateway: Gateway, hit: Callable[[], None], dice: random.Random, times: int, done: Callable[[], bool]) -> int:
    """Hit at random moments; returns how often."""
    hits = 0
    while hits < times and not done():
        time.sleep(dice.uniform(0.2, 1.5))  # the moment of a fault is the experiment, not a condition to wait for
        hit()
        hits += 1
    return hits


def in_order(gateway: Gateway) -> bool:
    """Each chat's rows arrived in the order in which they were accepted."""
    chats: dict[str, list[int]] = {}
    for row in gateway.rows():
        chats.setdefault(row["chat"], []).append(int(row["body"].split()[1]))
    return all(numbers == sorted(numbers) for numbers in chats.values())


def run_line(gateway: Gateway, hit: Callable[[], None], dice: random.Random, times: int) -> None:
    ids: dict[str, str] = {}
    gateway.link()
    sender = threading.Thread(target=send_all, args=(gateway, ids, random.Random(dice.random())))
    sender.start()

    def finished() -> bool:
        try:
            return not sender.is_alive() and gateway.api.get("/api/health")["message_queue_length"] == 0
        except (Refused, Unreachable):
            return False

    hits = storm(gateway, hit, dice, times, finished)
    sender.join(180)
    assert len(ids) == MESSAGES
    verdict = gateway.verdict(ids, 120)
    causes = sorted({r["cause"] for r in gateway.api.get("/api/recoveries")["recoveries"]})
    print(f"seed {SEED}  hits {hits}  {verdict}  page_resends {verdict.page_resends}  recoveries {causes}")
    assert verdict.clean, verdict
    assert in_order(gateway)
    gateway.healthy(60)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["kill", "stop"])
@pytest.mark.parametrize("name", ["api", "browser-default", "chromium-default", "renderer", "watchdog"])
def test_nothing_lost_nothing_twice(name: str, how: str) -> None:
    dice = random.Random(f"{SEED} {name} {how}")
    number = signal.SIGKILL if how == "kill" else signal.SIGSTOP
    with Gateway(GATEWAY_SEND_TIMEOUT="20") as gateway:

        def hit() -> None:
            pid = victim(gateway, name)
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

        run_line(gateway, hit, dice, times=4 if how == "kill" else 2)
        causes = {r["cause"] for r in gateway.api.get("/api/recoveries")["recoveries"]}
        assert causes <= CAUSES[name], "nobody innocent was killed"
        gateway.stop()
        until("no Chromium is left", lambda: not gateway.chromium(), 10)


@pytest.mark.timeout(300)
def test_supervisord_killed_and_started_again() -> None:
    dice = random.Random(f"{SEED} supervisord")
    with Gateway(GATEWAY_SEND_TIMEOUT="20") as gateway:

        def hit() -> None:
            assert gateway.process is not None
            gateway.process.kill()
            gateway.process.wait()
            gateway.start()  # as systemd would

        run_line(gateway, hit, dice, times=2)
