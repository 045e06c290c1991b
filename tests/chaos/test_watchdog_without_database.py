"""A stranger holds the database's lock for half a minute: what freezes meanwhile is healed all the same, and nothing else is touched."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterator

import pytest
from gateway_rig import Gateway, until

#: Seconds that the lock is held.
HELD = 30.0


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway() as one:
        one.link()
        yield one


def other_pid(gateway: Gateway, name: str, old: int) -> int | None:
    pid = gateway.program(name)[1]
    return pid if pid not in (None, old) else None


@pytest.mark.timeout(180)
@pytest.mark.parametrize("nudged", [False, True], ids=["alone", "while a nudge waits"])
@pytest.mark.parametrize("name", ["chromium-default", "browser-default"])
def test_what_freezes_under_a_strangers_lock_is_replaced(gateway: Gateway, name: str, nudged: bool) -> None:
    gateway.healthy(60)
    ids = {f"{name} {nudged} {n}": gateway.send(f"{name} {nudged} {n}", f"49155509{n:02d}") for n in range(3)}
    others = {other: gateway.pid(other) for other in ("api", "watchdog", "browser-default", "chromium-default") if other != name}
    old = gateway.pid(name)
    if nudged:
        os.kill(gateway.pid("browser-default"), signal.SIGSTOP)  # so that it cannot take the command
        begun = gateway.api.post("/api/recover-session", {})["id"]
        until("the nudge is under way", lambda: gateway.api.get(f"/api/recoveries/{begun}")["rungs"])
    stranger = sqlite3.connect(gateway.data / "gateway.db", isolation_level=None, timeout=5)
    stranger.execute("BEGIN IMMEDIATE")
    held = time.monotonic()
    if nudged and name != "browser-default":
        os.kill(gateway.pid("browser-default"), signal.SIGCONT)
    os.kill(old, signal.SIGSTOP)
    new = until("it is replaced", lambda: other_pid(gateway, name, old), 15)
    print(f"{name} replaced after {time.monotonic() - held:.1f} s")
    while time.monotonic() - held < HELD:
        assert {other: gateway.program(other)[1] for other in others} == others, "a locked database is no illness"
        assert gateway.program(name)[1] == new
        time.sleep(0.5)
    stranger.execute("ROLLBACK")
    stranger.close()
    gateway.healthy(60)
    verdict = gateway.verdict(ids)
    assert verdict.clean, verdict
    last = until("the recovery ends", lambda: (r := gateway.api.get("/api/recoveries")["recoveries"][0])["status"] != "running" and r)
    rung = "relaunch_chromium" if name == "chromium-default" else "respawn_host"
    assert [one["name"] for one in last["rungs"]] == (["nudge", rung] if nudged else [rung])
    assert last["status"] == "succeeded"
