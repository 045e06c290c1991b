"""A script that kills at random for a while and then stops the gateway, some seconds or milliseconds after the last kill: nothing is left.

GATEWAY_CHAOS_SECONDS sets how long one round kills (default 20), GATEWAY_CHAOS_SEED repeats a run's dice.
"""

from __future__ import annotations

import os
import random
import signal
import time

import psutil
import pytest
from gateway_rig import Gateway
from strikes import Family

SEED = int(os.environ.get("GATEWAY_CHAOS_SEED", time.time_ns() % 1_000_000))
SECONDS = float(os.environ.get("GATEWAY_CHAOS_SECONDS", "20"))
ROUNDS = 4
#: Seconds that `docker stop` grants, less some.
SOON = 8.0


@pytest.mark.timeout(600)
def test_nothing_outlives_the_end_whatever_was_killed_before() -> None:
    dice = random.Random(SEED)
    with Gateway() as gateway:
        gateway.link()
        ends = []
        for _ in range(ROUNDS):
            family, kills = Family(gateway), 0
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                time.sleep(dice.choice([0.05, 0.5, 2.0]) * dice.random())  # the moments are the experiment
                kills += _hit(gateway, family, dice)
            assert gateway.process is not None
            assert gateway.process.poll() is None, "supervisord itself was not hit"
            begun = time.monotonic()
            gateway.stop()
            ends.append(round(time.monotonic() - begun, 2))
            family.check_gone()
            print(f"seed {SEED}  kills and stops {kills}  stopped within {ends[-1]} s")
            gateway.start()
        gateway.healthy(60)
    assert max(ends) < SOON


def _hit(gateway: Gateway, family: Family, dice: random.Random) -> int:
    """Kill or stop some processes at once; returns how many. Two of three times Chromium's own: leader, children, crash handlers."""
    now = [p for p in family.note() if gateway.process is not None and p.pid != gateway.process.pid]
    chromium = [psutil.Process(pid) for pid in gateway.chromium() if psutil.pid_exists(pid)]
    pool = chromium if chromium and dice.random() < 0.67 else now
    victims = dice.sample(pool, min(len(pool), dice.choice([1, 1, 2, 5])))
    for victim in victims:
        try:
            victim.send_signal(dice.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP]))
        except psutil.NoSuchProcess:
            continue
    return len(victims)
