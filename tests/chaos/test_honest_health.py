"""Honest health: whatever breaks, `session_health` says so within seconds, and is true again only when a message can go out.

A message waits through each fault. The first moment of health after it is tried out: a new message
must go out at once. While the fault lasts, health must not flicker.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from gateway_rig import SENT, Gateway, until

#: Seconds from the fault to an honest answer.
NOTICED = 6.0
#: Seconds that health is watched while the fault lasts.
WATCHED = 8.0
_numbers = itertools.count(1)


@pytest.fixture
def well(request: pytest.FixtureRequest, gateway: Gateway, story: None) -> Gateway:
    """The module's gateway in service."""
    gateway.healthy(60)
    gateway.sent(gateway.send(f"before {request.node.name}", "4915550100"))
    return gateway


def noticed(gateway: Gateway, begun: float, within: float = NOTICED) -> float:
    """Seconds from `begun` (monotonic) to the first answer that says so."""
    until("health tells", lambda: not gateway.health()["session_health"], within + 1)
    took = time.monotonic() - begun
    assert took <= within, f"told only after {took:.1f} s"
    return took


def back(gateway: Gateway, waiting: str, seconds: float = 60.0) -> None:
    """The first moment of health is one in which a message goes out."""
    until("session_health", lambda: gateway.health()["session_health"], seconds)
    gateway.sent(gateway.send(f"at the first moment of health {(n := next(_numbers))}", f"49155502{n:02d}"), 5)
    gateway.sent(waiting, 20)  # one that was under way when its page died has to be looked for first


def stays_ill(gateway: Gateway, seconds: float = WATCHED) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert not gateway.health()["session_health"], "healthy while nothing can go out"
        time.sleep(0.05)


def stop(name: str) -> Callable[[Gateway], object]:
    return lambda g: os.kill(g.pid(name), signal.SIGSTOP)


#: Faults that the watchdog mends by itself: how each is brought about.
MENDED: dict[str, Callable[[Gateway], object]] = {
    "hung page": lambda g: g.fault("endless_loop"),
    "stopped Chromium": stop("chromium-default"),
    "stopped host": stop("browser-default"),
}


@pytest.mark.parametrize("name", MENDED)
def test_what_the_watchdog_mends(well: Gateway, name: str) -> None:
    MENDED[name](well)
    begun = time.monotonic()
    waiting = well.send(f"waits for the end of: {name}", "4915550101")
    took = noticed(well, begun)
    back(well, waiting)
    print(f"{name}: told after {took:.2f} s, in service after {time.monotonic() - begun:.2f} s")


def test_a_cut_socket(well: Gateway) -> None:
    refused = well.fault("refuse_socket")
    begun = time.monotonic()
    well.fault("cut_socket")
    took = noticed(well, begun)
    waiting = well.send("waits for the line", "4915550102")
    stays_ill(well)
    assert well.view(waiting)["status"] in {"queued", "sending"}
    well.heal(refused)
    back(well, waiting)
    print(f"cut socket: told after {took:.2f} s")


def test_a_renamed_function(well: Gateway) -> None:
    begun = time.monotonic()
    renamed = well.fault("renamed_function")
    took = noticed(well, begun)
    waiting = well.send("waits for the function", "4915550103")
    stays_ill(well)
    view = well.view(waiting)
    assert (view["status"], view["attempts"]) == ("queued", []), "nothing is handed over to a page that cannot send"
    well.heal(renamed)
    back(well, waiting, 90)
    print(f"renamed function: told after {took:.2f} s")


def test_a_dead_host(well: Gateway) -> None:
    well.supervisorctl("stop", "browser-default")
    begun = time.monotonic()  # from its end: an ordered one lasts as long as it needs
    took = noticed(well, begun)
    waiting = well.send("waits for the host", "4915550104")
    stays_ill(well, 4)
    assert well.program("browser-default")[0] == "STOPPED"
    well.supervisorctl("start", "browser-default")
    back(well, waiting)
    print(f"dead host: told after {took:.2f} s")


def test_no_acks_at_all_and_no_answer_of_the_server() -> None:
    timeout = 4.0
    with Gateway(GATEWAY_SEND_TIMEOUT=f"{timeout:g}") as gateway:
        gateway.link()
        gateway.sent(gateway.send("acked", "4915550105"))
        silence = gateway.fault("deaf")
        ids = [gateway.send("no ack comes", "4915550105"), gateway.send("comes after it", "4915550105")]
        until("handed over", lambda: any(r.get("body") == "no ack comes" for r in gateway.rows()))
        begun = time.monotonic()
        assert gateway.health()["session_health"], "one that waits is no illness yet"
        took = noticed(gateway, begun, timeout + NOTICED)
        stays_ill(gateway, 4 * timeout)  # through a reload: a new document that has proven nothing
        gateway.heal(silence)
        until("session_health, without a message sent", lambda: gateway.health()["session_health"], 60)
        gateway.sent(gateway.send("all is well", "4915550106"), 5)
        # the second may have met the silence too, in the new document alone: ten send timeouts are its end
        ends = [until("an end", lambda id_=id_: (v := gateway.view(id_))["status"] in SENT | {"failed"} and v, 15 * timeout) for id_ in ids]  # type: ignore[misc]
        assert all(v["status"] in SENT or v["reason"] == "outcome_unknown" for v in ends), "never sent again on a guess"
        print(f"no acks: told after {took:.2f} s; the two that waited: {[v['status'] for v in ends]}")
        rows = gateway.rows()
        assert all(r["calls"] == 1 for r in rows) and len({r["body"] for r in rows}) == len(rows), "nothing is twice"


def test_silence_about_single_messages_is_no_illness_of_a_quiet_gateway() -> None:
    """A contact that is blocked in the one form of which the page says nothing, and a lost stanza; nobody else writes."""
    timeout = 2.0
    with Gateway(GATEWAY_SEND_TIMEOUT=f"{timeout:g}") as gateway:
        gateway.link()
        gateway.sent(gateway.send("acked", "4915550120"))
        gateway.fault("refusal", form="silence", match="refused")
        gateway.fault("lost_stanza", match="lost")
        ids = [gateway.send("refused", "4915550121"), gateway.send("lost", "4915550122")]
        begun = time.monotonic()
        while any(gateway.view(id_)["status"] != "failed" for id_ in ids):
            assert time.monotonic() - begun < 15 * timeout, "no end"
            assert gateway.health()["session_health"], gateway.health()["sessions"]
            time.sleep(0.05)
        end = time.monotonic() + WATCHED
        while time.monotonic() < end:
            assert gateway.health()["session_health"], gateway.health()["sessions"]
            time.sleep(0.05)
        assert [gateway.view(id_)["reason"] for id_ in ids] == ["outcome_unknown"] * 2
        assert gateway.api.get("/api/recoveries")["recoveries"] == []
        gateway.sent(gateway.send("all is well", "4915550121"), 5)
        print(f"two silent messages: healthy for {time.monotonic() - begun:.1f} s, until after their end")


def test_a_call_that_hangs_in_the_page_is_mended_while_others_go_on() -> None:
    timeout = 4.0
    with Gateway(GATEWAY_SEND_TIMEOUT=f"{timeout:g}") as gateway:
        gateway.link()
        gateway.sent(gateway.send("its chat is known now", "4915550131"))
        stuck_for_good = gateway.fault("slow_chat_lookup", seconds_delay=600, match="4915550131")
        stuck = gateway.send("stuck", "4915550131")
        begun = time.monotonic()
        others = []

        def recovery() -> dict[str, Any] | None:
            others.append(gateway.send(f"beside it {len(others)}", f"49155501{len(others) % 5 + 40}"))
            time.sleep(0.3)
            found = [r for r in gateway.api.get("/api/recoveries")["recoveries"] if r["cause"] == "call_hangs"]
            return found[0] if found else None

        found = until("the hanging call is judged", recovery, 4 * timeout)
        took = time.monotonic() - begun
        assert [rung["name"] for rung in found["rungs"]] == ["relaunch_chromium"]
        gateway.heal(stuck_for_good)
        gateway.sent(stuck, 30)
        for id_ in others:
            gateway.sent(id_, 30)
        gateway.healthy()
        rows = gateway.rows()
        assert all(r["calls"] == 1 for r in rows) and len({r["body"] for r in rows}) == len(rows), "nothing is twice"
        print(f"a hanging call: Chromium relaunched after {took:.1f} s, sent after {time.monotonic() - begun:.1f} s")


def test_one_message_without_an_ack_makes_nothing_ill_and_holds_back_nobody_else() -> None:
    with Gateway(GATEWAY_SEND_TIMEOUT="2") as gateway:
        gateway.link()
        gateway.fault("no_ack", match="the odd one")
        odd = gateway.send("the odd one", "4915550110")
        behind = gateway.send("behind it", "4915550110")
        begun, slowest = time.monotonic(), 0.0
        while gateway.view(behind)["status"] not in SENT:
            assert time.monotonic() - begun < 45, "its chat does not go on"
            asked = time.monotonic()
            gateway.sent(gateway.send(f"beside it {(n := next(_numbers))}", f"49155501{n % 5 + 11}"), 5)
            slowest = max(slowest, time.monotonic() - asked)
            assert gateway.health()["session_health"], gateway.health()["sessions"]
            time.sleep(0.5)  # the pace of the others' acks
        seen = gateway.view(odd)
        assert (seen["status"], seen["reason"]) == ("failed", "outcome_unknown")
        assert gateway.api.get("/api/recoveries")["recoveries"] == [], "nobody was killed for it"
        print(f"its chat went on after {time.monotonic() - begun:.1f} s; the slowest of the others took {slowest:.2f} s")
