"""A full disk and a database that a stranger holds: nothing is accepted, nothing is lost, and nobody is killed for it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

from disk_rig import Filler, small_disk
from gateway_rig import Gateway, until

from gateway.client import Refused
from gateway.store import lanes
from gateway.store.database import ACCEPT_ROOM, CLAIM_ROOM, open_reader

#: Bytes of the small file system: room for the reserves (200 MB), the ballast, a profile, and what the test fills.
SIZE = 448 * 1024 * 1024
PROGRAMS = ("api", "browser-default", "chromium-default", "watchdog")
#: Seconds that a stranger holds the database; longer than all deadlines for it (5 s), and than those for beats.
HELD = 15.0
#: Holds the write lock until its standard input ends.
STRANGER = """
import sqlite3, sys
conn = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
conn.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
conn.execute("ROLLBACK")
"""


def post(gateway: Gateway, body: str, key: str, to: str = "4915550001") -> tuple[int, dict[str, str], dict[str, Any]]:
    """(status, headers, body) of the attempt to send."""
    request = urllib.request.Request(
        f"{gateway.api.base}/api/messages",
        json.dumps({"to": to, "text": body}).encode(),
        {"Content-Type": "application/json", "Idempotency-Key": key},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, dict(answer.headers), json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), json.load(error)


def refused(gateway: Gateway, body: str, code: str) -> None:
    """The message is refused with 503, Retry-After and that code."""
    status, headers, answer = post(gateway, body, body.replace(" ", "-"))
    assert (status, answer["error"]["code"]) == (503, code)
    assert int(headers["Retry-After"]) > 0


def pids(gateway: Gateway) -> dict[str, int | None]:
    return {name: gateway.program(name)[1] for name in PROGRAMS}


def nobody_suffered(gateway: Gateway, before: dict[str, int | None]) -> None:
    """No process ended. A page whose database Chromium closed on the full disk may have been loaded anew: nothing else mends it."""
    assert pids(gateway) == before
    done = {(r["cause"], *(rung["name"] for rung in r["rungs"])) for r in gateway.api.get("/api/recoveries")["recoveries"]}
    assert done <= {("storage_lost", "reload_page")}
    with contextlib.closing(open_reader(gateway.data / "gateway.db")) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert lanes.check(conn) == []


def accepting(gateway: Gateway) -> bool:
    try:
        return bool(gateway.api.get("/api/health")["accepting"])
    except Refused:
        return False


def texts(gateway: Gateway) -> list[str]:
    return [m["text"]["body"] for m in gateway.api.get("/api/messages?limit=100")["messages"]]


def test_a_full_disk_loses_nothing_and_kills_nobody() -> None:
    gateway = Gateway()
    with small_disk(gateway.data, SIZE), gateway:
        gateway.link()
        until("the ballast is set aside", lambda: (gateway.data / "ballast").exists(), 20)
        before = pids(gateway)
        filler = Filler(gateway.data)
        try:
            gateway.sandbox.post("/control/faults", {"kind": "slow_ack", "seconds": 60, "seconds_delay": 6})
            ids = {f"in flight {n}": gateway.send(f"in flight {n}", f"491555000{n}") for n in range(4)}
            until("they are at the server", lambda: len(gateway.rows()) == len(ids))
            assert {gateway.view(i)["status"] for i in ids.values()} == {"sending"}
            filler.fill()
            time.sleep(0.6)  # statvfs is asked twice a second
            for n in range(3):
                refused(gateway, f"refused {n}", "disk_full")
            assert not accepting(gateway)
            time.sleep(10)  # full for a while: the acks come, beats go on, and every deadline of the watchdog passes
            assert pids(gateway) == before
            refused(gateway, "refused 3", "disk_full")
        finally:
            filler.free()
        for id_ in ids.values():
            gateway.sent(id_)
        until("it accepts again by itself", lambda: accepting(gateway), 10)
        assert sorted(texts(gateway)) == sorted(ids), "what was refused left nothing behind"
        ids["refused 0"] = post(gateway, "refused 0", "refused-0")[2]["id"]
        verdict = gateway.verdict(ids)
        assert verdict.clean, verdict
        gateway.healthy()
        nobody_suffered(gateway, before)


def test_the_reserve_is_kept_for_outcomes() -> None:
    """Below 200 MB nothing is accepted and what waits still goes; below 100 MB nothing is handed over either, until there is room."""
    gateway = Gateway()
    with small_disk(gateway.data, SIZE), gateway:
        gateway.link()
        before = pids(gateway)
        filler = Filler(gateway.data)
        try:
            gateway.api.post("/api/sessions/default/pause")
            ids = {f"waiting {n}": gateway.send(f"waiting {n}", f"491555000{n}") for n in range(4)}
            filler.leave(CLAIM_ROOM - 10_000_000)
            gateway.api.post("/api/sessions/default/resume")
            time.sleep(2.5)  # more than two looks of the sender
            assert gateway.rows() == []
            filler.free()
            filler.leave(ACCEPT_ROOM - 10_000_000)
            time.sleep(0.6)
            refused(gateway, "refused", "disk_full")
            verdict = gateway.verdict(ids)
            assert verdict.clean, verdict
        finally:
            filler.free()
        until("it accepts again by itself", lambda: accepting(gateway), 10)
        nobody_suffered(gateway, before)


def test_a_database_held_by_a_stranger_is_no_illness() -> None:
    with Gateway() as gateway:
        gateway.link()
        before = pids(gateway)
        gateway.sandbox.post("/control/faults", {"kind": "slow_ack", "seconds": 60, "seconds_delay": 3})
        ids = {f"in flight {n}": gateway.send(f"in flight {n}", f"491555000{n}") for n in range(4)}
        until("they are at the server", lambda: len(gateway.rows()) == len(ids))
        command = [sys.executable, "-c", STRANGER, str(gateway.data / "gateway.db")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stranger:
            assert stranger.stdin is not None and stranger.stdout is not None
            assert stranger.stdout.readline() == b"held\n"
            begun = time.monotonic()
            refused(gateway, "refused", "database_locked")
            assert time.monotonic() - begun < 10
            assert not accepting(gateway)
            with contextlib.closing(sqlite3.connect(gateway.data / "gateway.db")) as conn:
                assert conn.execute("SELECT count(*) FROM outbox").fetchone()[0] == len(ids), "reading goes on"
            time.sleep(max(0.0, begun + HELD - time.monotonic()))
            assert pids(gateway) == before
            assert stranger.poll() is None, "the stranger is not ours to kill"
            stranger.stdin.close()
        for id_ in ids.values():
            gateway.sent(id_)
        until("it accepts again by itself", lambda: accepting(gateway), 10)
        ids["refused"] = post(gateway, "refused", "refused")[2]["id"]
        verdict = gateway.verdict(ids)
        assert verdict.clean, verdict
        assert sorted(texts(gateway)) == sorted(ids), "what was refused left nothing behind"
        gateway.healthy()
        nobody_suffered(gateway, before)
