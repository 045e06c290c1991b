"""Resting: what our processes cost while there is nothing to do, a session linked and healthy.

CPU is a share of one core over half a minute; memory is PSS, in which a page that several processes share counts once.
Chromium is reported and not limited: what it takes is WhatsApp Web's (here the sandbox's page, which is smaller).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from gateway_rig import Gateway
from report import Limit, Row
from scale import Scale

CPU = Limit(1.0, most=True)
MEMORY = Limit(160.0, most=True)
OURS = ("api", "browser-default", "watchdog")


def measure(scale: Scale, gateway: Gateway) -> Iterator[Row]:
    pids = {name: gateway.pid(name) for name in OURS} | {"supervisord": _supervisord(gateway)}
    time.sleep(scale.pick(5.0, 0.0))  # starting costs something, and is not what is asked
    share = _cpu_share({**{name: [pid] for name, pid in pids.items()}, "Chromium": gateway.chromium()}, scale.pick(30.0, 1.0))
    chromium = share.pop("Chromium")
    each = ", ".join(f"{name} {value:.2f}" for name, value in share.items())
    yield Row("CPU of our processes at rest", sum(share.values()), "%", f"{each}; Chromium {chromium:.1f} %", CPU)
    memory = {name: _pss(pid) for name, pid in pids.items()}
    yield Row("memory of our processes", sum(memory.values()), "MB", ", ".join(f"{n} {v:.0f}" for n, v in memory.items()), MEMORY)
    yield Row("memory of Chromium", sum(_pss(pid) for pid in gateway.chromium()), "MB", f"PSS of {len(gateway.chromium())} processes")


def _supervisord(gateway: Gateway) -> int:
    parent = psutil.Process(gateway.pid("api")).parent()
    assert parent is not None
    return parent.pid


def _cpu_share(groups: dict[str, list[int]], seconds: float) -> dict[str, float]:
    """Percent of one core that each group used."""

    def used() -> dict[str, float]:
        return {name: sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids) for name, pids in groups.items()}

    begun, before = time.monotonic(), used()
    time.sleep(seconds)
    after, took = used(), time.monotonic() - begun
    return {name: 100 * (after[name] - before[name]) / took for name in groups}


def _pss(pid: int) -> float:
    """MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6
