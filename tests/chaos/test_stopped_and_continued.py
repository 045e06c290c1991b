"""All of a gateway's processes stand still for longer than every deadline, as after `docker pause` or a suspend: nobody is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import psutil
import pytest
from gateway_rig import Gateway, until

#: Seconds to stand still: the API grants the watchdog 15 s, the watchdog grants Chromium's start 20 s.
STILL = 30.0
#: Seconds for which nobody may be killed afterwards: longer than any judge looks away.
AFTER = 25.0
NAMES = ("api", "watchdog", "browser-default", "chromium-default")


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway(GATEWAY_SEND_TIMEOUT="20") as one:  # passed as we stand still, and counts anew
        one.link()
        yield one


def family(gateway: Gateway) -> list[psutil.Process]:
    """supervisord and all below it, Chromium's own processes included."""
    assert gateway.process is not None
    head = psutil.Process(gateway.process.pid)
    return [head, *head.children(recursive=True)]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("backwards", [False, True], ids=["oldest first", "youngest first"])
def test_nobody_is_killed(gateway: Gateway, backwards: bool) -> None:
    gateway.healthy()
    pids = {name: gateway.pid(name) for name in NAMES}
    recoveries = gateway.api.get("/api/recoveries")["recoveries"]
    gateway.fault("slow_ack", seconds_delay=STILL + 9, count=1)  # comes when the judges look again
    sent = gateway.send(f"handed over before, {backwards}")
    until("it is handed over", lambda: gateway.view(sent)["status"] == "sending")
    stopped = family(gateway)
    for process in stopped:
        os.kill(process.pid, signal.SIGSTOP)
    time.sleep(STILL)
    for process in reversed(stopped) if backwards else stopped:
        os.kill(process.pid, signal.SIGCONT)
    end = time.monotonic() + AFTER
    while time.monotonic() < end:
        assert all(gateway.program(name)[1] == pid for name, pid in pids.items())
        time.sleep(0.5)
    gateway.healthy()
    assert gateway.api.get("/api/recoveries")["recoveries"] == recoveries
    gateway.sent(sent)
    assert [row["calls"] for row in gateway.rows() if row.get("body") == f"handed over before, {backwards}"] == [1]
