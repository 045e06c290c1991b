"""The end of `gateway up` by SIGTERM: soon, with nothing left behind, whatever was stopped or killed shortly before."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator

import pytest
from gateway_rig import Gateway

from gateway.browser import incarnation

#: Seconds: `docker stop` kills after 10.
SOON = 8.0


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway() as one:
        one.link()
        yield one


def end(gateway: Gateway) -> float:
    """Seconds from SIGTERM to the end of supervisord."""
    assert gateway.process is not None
    begun = time.monotonic()
    gateway.process.send_signal(signal.SIGTERM)
    gateway.process.wait(25)
    return time.monotonic() - begun


def up(gateway: Gateway) -> None:
    """It runs, and its page answers."""
    if gateway.process is None or gateway.process.poll() is not None:
        gateway.start()
    gateway.healthy()


def test_a_healthy_one_ends_with_the_mark_of_a_clean_end(gateway: Gateway) -> None:
    up(gateway)
    took = end(gateway)
    assert gateway.left_over() == {}
    state = json.loads((gateway.data / "sessions" / "default" / incarnation.NAME).read_bytes())
    assert state["clean"] == state["boot"]
    assert took < 3.0
    assert gateway.recoveries() == []


def test_others_that_stand_still_and_children_of_a_chromium_that_was_killed_just_before(gateway: Gateway) -> None:
    """Both have to be killed, which they are side by side; and no end reaches the children, nor does a launcher come to sweep them."""
    up(gateway)
    leader = gateway.pid("chromium-default")
    children = set(gateway.chromium()) - {leader}
    still = [gateway.pid(name) for name in ("api", "browser-default")]
    assert gateway.process is not None
    gateway.process.send_signal(signal.SIGSTOP)  # it starts no successor between the kill and the end
    for pid in (*still, *children):
        os.kill(pid, signal.SIGSTOP)
    os.kill(leader, signal.SIGKILL)
    gateway.process.send_signal(signal.SIGTERM)
    gateway.process.send_signal(signal.SIGCONT)
    begun = time.monotonic()
    gateway.process.wait(25)
    assert gateway.left_over() == {}
    assert time.monotonic() - begun < SOON
