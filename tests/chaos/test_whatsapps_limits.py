"""WhatsApp's own limits: look-ups that fail, an account that is restricted, a number that is not on WhatsApp."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest
from gateway_rig import SENT, Gateway, until

#: Seconds for which look-ups fail: longer than the two questions of which both must say nobody (16 s apart).
FAILING = 60.0
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def in_service(gateway: Gateway, story: None) -> Iterator[None]:
    gateway.healthy()
    yield
    gateway.heal()


def known(gateway: Gateway) -> str:
    """A number with which there is history."""
    number = f"4915551{next(_numbers):03d}"
    gateway.sent(gateway.send(f"hello {number}", number))
    return number


def test_look_ups_that_fail_under_load_fail_no_message(gateway: Gateway) -> None:
    old = known(gateway)
    gateway.fault("lookup_fails", seconds=FAILING)
    begun, ids, slowest = time.monotonic(), {}, 0.0
    for n in itertools.count():
        if time.monotonic() - begun > FAILING:
            break
        ids[f"new {n}"] = gateway.send(f"new {n}", f"4915552{n % 25:03d}")
        asked = time.monotonic()
        ids[f"old {n}"] = gateway.send(f"old {n}", old)
        gateway.sent(ids[f"old {n}"], 5)
        slowest = max(slowest, time.monotonic() - asked)
        time.sleep(0.2)  # the pace of the load
    assert {gateway.view(i)["status"] for body, i in ids.items() if body.startswith("new")} == {"queued"}
    verdict = gateway.verdict(ids)
    assert verdict.clean, verdict
    print(f"{verdict}; known chats went on, the slowest in {slowest:.2f} s; all sent {time.monotonic() - begun - FAILING:.1f} s after")
    gateway.healthy()


@pytest.mark.timeout(200)
def test_a_restricted_account_fails_nothing_and_drains_when_it_ends(gateway: Gateway) -> None:
    old = known(gateway)
    nacked = gateway.sandbox.get("/control/summary")["nacked"]
    restriction = gateway.fault("nack", code=463, match="stranger")
    ids = {f"stranger {n}": gateway.send(f"stranger {n}", f"4915553{n:03d}") for n in range(12)}
    until("it is known", lambda: gateway.session()["restricted_until"])
    begun = time.monotonic()
    for n in range(10):
        ids[f"friend {n}"] = gateway.send(f"friend {n}", old)
        gateway.sent(ids[f"friend {n}"], 5)
    views = [gateway.view(i) for body, i in ids.items() if body.startswith("stranger")]
    assert {v["status"] for v in views} == {"queued"} and {v["attempts_counted"] for v in views} == {0}
    assert all(len(v["attempts"]) <= 1 for v in views)
    assert gateway.api.get("/api/queue-status")["head_of_line"]["reason"] == "account_restricted"
    refused = gateway.sandbox.get("/control/summary")["nacked"] - nacked
    assert refused == sum(len(v["attempts"]) for v in views)
    gateway.sandbox.delete(f"/control/faults/{restriction}")
    verdict = gateway.verdict(ids, 120)
    assert verdict.clean, verdict
    print(f"{verdict}; {refused} stanzas refused; drained after {time.monotonic() - begun:.1f} s")
    assert gateway.session()["restricted_until"] is None
    gateway.healthy()


def test_a_number_that_is_not_on_whatsapp(gateway: Gateway) -> None:
    nobody = "4915554001"
    gateway.sandbox.post("/control/contacts", {"number": nobody, "on_whatsapp": False})
    first = gateway.send("to nobody", nobody)
    beside = gateway.send("to somebody", "4915554002")
    gateway.sent(beside)
    view = until("a dead letter", lambda: (v := gateway.view(first))["status"] == "failed" and v, 40)
    assert view["reason"] == "recipient_not_on_whatsapp"
    assert view["attempts"] == [], "no hand-over"
    second = gateway.send("to nobody again", nobody)
    again = until("a dead letter", lambda: (v := gateway.view(second))["status"] == "failed" and v, 5)
    assert again["reason"] == "recipient_not_on_whatsapp"
    assert [r for r in gateway.rows() if "nobody" in r["body"]] == [], "no stanza"
    assert gateway.view(beside)["status"] in SENT
