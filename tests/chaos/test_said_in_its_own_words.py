"""A passkey asked for, a dialog, a logout, another window, an outage: each is said in words of its own, in health and by
`gateway status`; nothing dies of it, and the queue goes on by itself where it can."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from gateway_rig import GATEWAY, Gateway, until

#: Seconds that WhatsApp is out of reach.
OUTAGE = 120.0
#: Seconds for which words and processes are watched while a situation lasts that ends only by somebody's hand.
WATCHED = 12.0
PROGRAMS = ("api", "watchdog", "browser-default", "chromium-default")
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def in_service(request: pytest.FixtureRequest, gateway: Gateway, story: None) -> Iterator[None]:
    gateway.healthy(60)
    gateway.sent(gateway.send(f"before {request.node.name}", "4915556000"))
    yield
    gateway.heal()


def status(gateway: Gateway) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*GATEWAY, "status"], env=gateway.environ, capture_output=True, text=True, timeout=60)


def queue_up(gateway: Gateway, what: str, count: int = 20) -> dict[str, str]:
    """Accept messages that have to wait, to chats old and new: body → id."""
    bodies = [f"{what} {next(_numbers)}" for _ in range(count)]
    return {body: gateway.send(body, f"49155560{n % 7:02d}") for n, body in enumerate(bodies)}


def told(gateway: Gateway, *words: str, seconds: float = 15.0) -> str:
    """The one sentence of health that has all these words; `gateway status` says it too, and that it is not healthy."""

    def sentence() -> str | None:
        said = gateway.health()
        assert not said["session_health"] or not said["sessions"][0]["complaints"]
        complaints: list[str] = said["sessions"][0]["complaints"]
        return complaints[0] if len(complaints) == 1 and all(w in complaints[0] for w in words) else None

    found = until(f"health says {words}", sentence, seconds)
    typed = status(gateway)
    assert typed.returncode == 1 and all(w in typed.stdout for w in words), typed.stdout
    return found


class Witness:
    """Says in the end whether anybody was killed, or the page loaded anew."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.pids = self._pids()
        self._documents = self._loaded()
        self._before = {r["id"] for r in self._recoveries()}

    def _pids(self) -> dict[str, int]:
        return {name: self._gateway.pid(name) for name in PROGRAMS}

    def _loaded(self) -> int:
        return sum(path.read_text().count("Attached to the page") for path in (self._gateway.data / "logs").glob("browser-default.log*"))

    def _recoveries(self) -> list[dict[str, Any]]:
        return list(self._gateway.api.get("/api/recoveries")["recoveries"])

    def tried(self) -> list[tuple[str, list[str]]]:
        """(cause, rungs) of each recovery since."""
        return [(r["cause"], [rung["name"] for rung in r["rungs"]]) for r in self._recoveries() if r["id"] not in self._before]

    def nobody_died(self, *, same_document: bool = True) -> None:
        assert self._pids() == self.pids
        assert {rung for _, rungs in self.tried() for rung in rungs} <= {"nudge"}, self.tried()
        if same_document:
            assert self._loaded() == self._documents, "the living page was loaded anew"


def delivered(gateway: Gateway, ids: dict[str, str], seconds: float = 60.0) -> None:
    verdict = gateway.verdict(ids, seconds)
    assert verdict.clean, verdict
    print(verdict)


def watched(gateway: Gateway, *words: str) -> None:
    """For a while nothing changes but the clock."""
    end = time.monotonic() + WATCHED
    while time.monotonic() < end:
        said = gateway.health()
        assert not said["session_health"] and all(w in said["sessions"][0]["complaints"][0] for w in words), said["sessions"]
        assert not said["restart_in_progress"]
        time.sleep(0.2)


@pytest.mark.timeout(400)
def test_whatsapp_is_away_for_two_minutes(gateway: Gateway) -> None:
    witness = Witness(gateway)
    away = gateway.fault("away")
    begun = time.monotonic()
    words = ("WhatsApp is out of reach", "nothing to do")
    told(gateway, *words)
    ids = queue_up(gateway, "during the outage")
    while time.monotonic() - begun < OUTAGE:
        (sentence,) = gateway.session()["complaints"]
        assert all(w in sentence for w in words), sentence
        time.sleep(0.5)
    witness.nobody_died()
    lasted = re.search(r"for (\d+) s", told(gateway, *words))
    assert lasted and abs(int(lasted[1]) - (time.monotonic() - begun)) < 8
    assert {gateway.view(i)["status"] for i in ids.values()} == {"queued"}
    assert {gateway.view(i)["attempts_counted"] for i in ids.values()} == {0}
    gateway.heal(away)
    back = time.monotonic()
    delivered(gateway, ids)
    print(f"all sent {time.monotonic() - back:.1f} s after the outage; recoveries: {witness.tried()}")
    gateway.healthy()
    witness.nobody_died()


@pytest.mark.timeout(300)
def test_whatsapp_falls_silent_without_a_goodbye(gateway: Gateway) -> None:
    """As behind a pulled cable: the line stays open and nothing comes; also what was just handed over is not lost."""
    assert gateway.whatsapp is not None
    witness = Witness(gateway)
    ids = queue_up(gateway, "into the silence", 5)
    gateway.whatsapp.send_signal(signal.SIGSTOP)
    try:
        told(gateway, "WhatsApp is out of reach", seconds=30)
        ids |= queue_up(gateway, "during the silence")
        end = time.monotonic() + 45
        while time.monotonic() < end:
            assert "WhatsApp is out of reach" in gateway.session()["complaints"][0]
            time.sleep(0.5)
        witness.nobody_died()
    finally:
        gateway.whatsapp.send_signal(signal.SIGCONT)
    delivered(gateway, ids)
    gateway.healthy()
    witness.nobody_died()


@pytest.mark.timeout(300)
def test_chromium_is_killed_while_whatsapp_is_away(gateway: Gateway) -> None:
    witness = Witness(gateway)
    away = gateway.fault("away")
    told(gateway, "WhatsApp is out of reach")
    ids = queue_up(gateway, "under a dead sky")
    os.kill(witness.pids["chromium-default"], signal.SIGKILL)
    told(gateway, "WhatsApp Web cannot be loaded", "nothing to do", seconds=30)
    successor = gateway.pid("chromium-default")
    end = time.monotonic() + 50  # longer than every rung's patience: here it would climb
    while time.monotonic() < end:
        assert "WhatsApp Web cannot be loaded" in gateway.session()["complaints"][0]
        time.sleep(0.5)
    assert {name: gateway.pid(name) for name in PROGRAMS} == witness.pids | {"chromium-default": successor}, "it died once, by our hand"
    gateway.heal(away)
    back = time.monotonic()
    delivered(gateway, ids)
    gateway.healthy()
    print(f"all sent {time.monotonic() - back:.1f} s after the outage; recoveries: {witness.tried()}")
    assert {cause for cause, _ in witness.tried()} <= {"chromium_exited", "socket_down"}, witness.tried()
    assert gateway.pid("chromium-default") == successor


def test_a_dialog_over_the_page(gateway: Gateway) -> None:
    witness = Witness(gateway)
    gateway.fault("modal")  # "What's new": its button is known
    until("it was dismissed", lambda: not gateway.sandbox.get("/control/state")["faults"])
    strange = gateway.fault("modal", title="Something nobody has seen before", button="Log out")
    remark = until("it is said", lambda: gateway.session()["remarks"])[0]
    assert "Something nobody has seen before" in remark and "screenshot" in remark
    ids = queue_up(gateway, "under the dialog")
    delivered(gateway, ids)
    said, typed = gateway.health(), status(gateway)
    assert said["session_health"] and said["sessions"][0]["complaints"] == [], "it hinders no message, so it is no illness"
    assert typed.returncode == 0 and remark in typed.stdout
    gateway.heal(strange)
    until("and then no more", lambda: not gateway.session()["remarks"])
    witness.nobody_died()
    assert witness.tried() == []


def test_another_window_takes_our_place(gateway: Gateway) -> None:
    witness = Witness(gateway)
    ids: dict[str, str] = {}
    for _ in range(8):  # the first is taken back at once, the others after pauses that grow, until one is long enough to be seen
        gateway.fault("conflict")
        until("it is noticed", lambda: not gateway.health()["session_health"], 10)
        ids |= queue_up(gateway, "while another window is open", 5)
        if any("end that one" in c for c in gateway.session()["complaints"]):
            break
        gateway.healthy()
    told(gateway, "open in another window", "times lately", "end that one", seconds=3)
    delivered(gateway, ids)
    gateway.healthy()
    witness.nobody_died()


def test_logged_out_elsewhere(gateway: Gateway) -> None:
    witness = Witness(gateway)
    gateway.fault("logged_out")
    words = ("was logged out", "scan the QR code", "is kept")
    told(gateway, *words)
    ids = queue_up(gateway, "while logged out")
    watched(gateway, *words)
    assert {gateway.view(i)["status"] for i in ids.values()} == {"queued"}
    witness.nobody_died(same_document=False)  # WhatsApp Web itself begins anew
    gateway.link()
    delivered(gateway, ids)
    witness.nobody_died(same_document=False)
    assert witness.tried() == []


def test_a_passkey_is_asked_for(gateway: Gateway) -> None:
    gateway.sandbox.post("/control/settings", {"passkey_after_scan": True})
    gateway.fault("logged_out")
    told(gateway, "was logged out")
    witness = Witness(gateway)
    until("the phone scans", lambda: gateway.sandbox.post("/control/scan"))
    words = ("passkey", "fingerprint", "Passkeys", "scan again", "is kept")
    told(gateway, *words)
    assert gateway.session()["state"] == "awaiting_passkey"
    ids = queue_up(gateway, "while the passkey is awaited")
    watched(gateway, *words)
    witness.nobody_died()
    assert witness.tried() == []
    # what the sentence advises: the passkey removed, the page loaded anew, scanned again
    gateway.sandbox.post("/control/settings", {"passkey_after_scan": False})
    gateway.api.post("/api/recover-session", {"strategy": "reload_page"})
    told(gateway, "was logged out", seconds=30)
    gateway.link()
    delivered(gateway, ids)
    assert {name: gateway.pid(name) for name in PROGRAMS} == witness.pids
