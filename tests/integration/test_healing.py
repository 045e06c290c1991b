"""The brief: a browser dies or freezes, and the watchdog heals it through supervisor while the queue goes on."""

from __future__ import annotations

import os
import signal
import statistics
import time

import psutil
import pytest
from gateway_rig import Gateway, until

pytestmark = pytest.mark.usefixtures("story")


def test_a_frozen_browser_is_killed_and_respawned_through_supervisor_and_the_queue_goes_on(gateway: Gateway) -> None:
    old = gateway.pid("chromium-default")
    os.kill(old, signal.SIGSTOP)
    ids = {f"frozen {n}": gateway.send(f"frozen {n}", f"49155502{n:02d}") for n in range(5)}
    new = until("another pid", lambda: (pid := gateway.program("chromium-default")[1]) != old and pid)
    assert f"RUNNING   pid {new}" in gateway.supervisorctl("status", "chromium-default") or gateway.program("chromium-default")[1] == new
    verdict = gateway.verdict(ids)
    assert verdict.clean, verdict
    causes = [r["cause"] for r in gateway.api.get("/api/recoveries")["recoveries"]]
    assert causes, "the recovery is written down"
    gateway.healthy()


def test_a_chromium_that_is_stopped_as_it_starts_is_not_waited_for(gateway: Gateway) -> None:
    """It does not get the time that one on its way up has, and nobody else is killed for it."""
    gateway.healthy()
    host, first = gateway.pid("browser-default"), gateway.pid("chromium-default")
    before = len(gateway.api.get("/api/recoveries")["recoveries"])
    os.kill(first, signal.SIGSTOP)
    waiting = gateway.send("stopped twice", "4915550209")
    second = until("the next one starts", lambda: (pid := gateway.program("chromium-default")[1]) not in (None, first) and pid)
    os.kill(int(second), signal.SIGSTOP)
    stopped = time.monotonic()
    third = until("and one after it", lambda: (pid := gateway.program("chromium-default")[1]) not in (None, first, second) and pid)
    assert time.monotonic() - stopped < 15, "a rung's patience would be 30 s"
    gateway.sent(waiting)
    gateway.healthy()
    assert (gateway.pid("chromium-default"), gateway.pid("browser-default")) == (third, host)
    recoveries = until("the recovery ends", lambda: (r := gateway.api.get("/api/recoveries")["recoveries"])[0]["status"] != "running" and r)
    assert len(recoveries) == before + 1
    assert [rung["name"] for rung in recoveries[0]["rungs"]] == ["relaunch_chromium", "relaunch_chromium"]


def test_chromium_killed_is_healed_without_loss(gateway: Gateway) -> None:
    old = gateway.pid("chromium-default")
    ids = {f"killed {n}": gateway.send(f"killed {n}", f"49155503{n % 4:02d}") for n in range(20)}
    os.kill(old, signal.SIGKILL)
    verdict = gateway.verdict(ids)
    assert verdict.clean, verdict
    gateway.healthy()


def test_a_killed_host_hands_the_living_page_to_its_successor(gateway: Gateway) -> None:
    gateway.sent(gateway.send("before", "4915550400"))
    pages = gateway.sandbox.get("/control/summary")
    chromium = gateway.pid("chromium-default")
    took = []
    for n in range(10):
        gateway.healthy()
        host = gateway.pid("browser-default")
        os.kill(host, signal.SIGKILL)
        killed = time.time()
        body = f"after the host's death {n}"
        gateway.sent(gateway.send(body, "4915550400"))
        took.append(next(r["accepted_at"] for r in gateway.rows() if r.get("body") == body) - killed)
    print("host killed → next send, seconds:", [round(t, 2) for t in took], "median", round(statistics.median(took), 2))
    assert statistics.median(took) < 5, "1.5 s is the benchmark's limit, on a machine that does nothing else"
    assert gateway.pid("chromium-default") == chromium, "the same Chromium"
    assert gateway.sandbox.get("/control/summary")["page_resends"] == pages["page_resends"], "no reload: the page sent nothing again"


@pytest.mark.parametrize("name", ["browser-default", "chromium-default", "api"])
def test_restart_by_supervisorctl_works_as_an_operator_expects(gateway: Gateway, name: str) -> None:
    gateway.healthy()
    old = gateway.pid(name)
    assert "started" in gateway.supervisorctl("restart", name)
    assert gateway.pid(name) != old
    until("the API answers", lambda: gateway.api.get("/readyz"))
    gateway.sent(gateway.send(f"after restart of {name}", "4915550500"))
    gateway.healthy()


def test_a_write_that_a_kill_tore_costs_no_login(gateway: Gateway) -> None:
    """Left in place it would: Chromium appends behind it, and its next start finds the database damaged and deletes it."""
    gateway.healthy()
    gateway.supervisorctl("stop", "chromium-default")
    (log,) = (gateway.data / "sessions/default/profile/Default/IndexedDB").glob("*.leveldb/[0-9]*.log")
    with log.open("ab") as file:
        file.write(b"\0\0\0\0\x64\x00\x01")  # of a record of 100 bytes, its header
    gateway.supervisorctl("start", "chromium-default")
    gateway.healthy()
    gateway.sent(gateway.send("written behind the torn write"))
    gateway.supervisorctl("restart", "chromium-default")
    gateway.healthy()
    gateway.sent(gateway.send("still linked"))
    said = (gateway.data / "logs" / "chromium-default.log").read_text()
    assert "What the last Chromium had half written was cut off" in said and str(log.name) in said


def test_stop_is_respected(gateway: Gateway) -> None:
    gateway.supervisorctl("stop", "chromium-default")
    until("health says so", lambda: not gateway.api.get("/api/health")["session_health"])
    waiting = gateway.send("waits for the operator", "4915550600")
    end = time.monotonic() + 8
    while time.monotonic() < end:  # longer than any rung takes to fire
        assert gateway.program("chromium-default")[0] == "STOPPED"
    assert gateway.view(waiting)["status"] == "queued"
    gateway.supervisorctl("start", "chromium-default")
    gateway.sent(waiting)


def test_nothing_is_left_when_supervisord_is_killed() -> None:
    with Gateway() as gateway:
        gateway.link()
        assert gateway.process is not None
        family = [p.pid for p in psutil.Process(gateway.process.pid).children(recursive=True)]
        assert len(gateway.chromium()) > 3
        gateway.process.kill()
        gateway.process.wait()
        until("no Chromium is left", lambda: not gateway.chromium(), 10)
        until("no process is left", lambda: not any(psutil.pid_exists(pid) for pid in family), 10)
        gateway.start()  # as systemd would
        gateway.healthy()
        gateway.sent(gateway.send("after supervisord's death"))


def test_a_page_that_takes_too_much_memory_gets_a_new_chromium_and_loses_nothing() -> None:
    with Gateway(GATEWAY_CHROMIUM_MEMORY_LIMIT="700000000") as gateway:
        gateway.link()
        programs = {name: gateway.pid(name) for name in ("api", "watchdog", "browser-default", "chromium-default")}
        before = until("it is measured", lambda: memory(gateway))
        assert before < 650_000_000 and gateway.api.get("/api/recoveries")["recoveries"] == []
        ids = {f"before {n}": gateway.send(f"before {n}", f"49155507{n % 4:02d}") for n in range(10)}
        gateway.sandbox.post("/control/faults", {"kind": "memory_blow_up", "megabytes": 500})
        ids |= {f"after {n}": gateway.send(f"after {n}", f"49155507{n % 4:02d}") for n in range(10)}
        new = until("another Chromium", lambda: (pid := gateway.program("chromium-default")[1]) != programs["chromium-default"] and pid)
        verdict = gateway.verdict(ids)
        assert verdict.clean, verdict
        gateway.healthy()
        until("within the limit again", lambda: memory(gateway) < 650_000_000)
        (recovery,) = gateway.api.get("/api/recoveries")["recoveries"]
        assert (recovery["cause"], [r["name"] for r in recovery["rungs"]]) == ("memory", ["relaunch_chromium"])
        assert {name: gateway.pid(name) for name in programs} == programs | {"chromium-default": new}


def memory(gateway: Gateway) -> int:
    """Bytes of the session's Chromium as health shows them; 0 while nobody knows."""
    processes = gateway.api.get("/api/health")["processes"]
    return next(p["memory_bytes"] for p in processes if p["name"] == "chromium-default") or 0
