"""Every alert, on a real Prometheus that scrapes the real gateway: it fires for the fault that it is meant for, and is resolved after."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from disk_rig import Filler, small_disk
from gateway_rig import Gateway, until
from prometheus_rig import Prometheus

#: Bytes of the data directory's file system: above what DiskLow asks for (1 GB), with room for a profile. The image is sparse.
SIZE = 3_000_000_000
#: Seconds without an ack after which a message is unconfirmed; ten of them, and it is given up.
SEND_TIMEOUT = 6
#: More recoveries than RecoveryLoop's three.
KILLS = 5
#: Seconds over which RecoveryLoop counts, as committed, and some.
WINDOW = 660.0


@contextlib.contextmanager
def killed_again_and_again(g: Gateway) -> Iterator[None]:
    def recovered() -> int:
        return sum(r["status"] == "succeeded" for r in g.api.get("/api/recoveries")["recoveries"])

    for n in range(KILLS):
        os.kill(g.pid("chromium-default"), signal.SIGKILL)
        until("it is recovered", lambda n=n: recovered() > n, 60)
        g.healthy(60)
    yield


@contextlib.contextmanager
def a_disk_that_fills(g: Gateway) -> Iterator[None]:
    filler = Filler(g.data)
    try:
        filler.leave(900_000_000)
        yield
    finally:
        filler.free()


@contextlib.contextmanager
def a_stopped_watchdog(g: Gateway) -> Iterator[None]:
    """The API replaces it after 15 s."""
    os.kill(g.pid("watchdog"), signal.SIGSTOP)
    yield


@contextlib.contextmanager
def logged_out(g: Gateway) -> Iterator[None]:
    g.sandbox.post("/control/unlink")
    yield
    g.link()


@contextlib.contextmanager
def cut_off(g: Gateway) -> Iterator[None]:
    """WhatsApp is away."""
    fault = g.sandbox.post("/control/faults", {"kind": "refuse_socket"})["id"]
    g.sandbox.post("/control/faults", {"kind": "cut_socket"})
    yield
    g.sandbox.delete(f"/control/faults/{fault}")


@contextlib.contextmanager
def nobody_is_found(g: Gateway) -> Iterator[None]:
    """A message to somebody new, and look-ups that fail."""
    fault = g.sandbox.post("/control/faults", {"kind": "lookup_fails"})["id"]
    id_ = g.send("to somebody new", "4915557001")
    yield
    g.sandbox.delete(f"/control/faults/{fault}")
    g.sent(id_, 90)


@contextlib.contextmanager
def withheld_acks(g: Gateway) -> Iterator[None]:
    """One message whose ack never comes, while others are acked."""
    g.sandbox.post("/control/faults", {"kind": "no_ack", "match": "withheld"})
    id_ = g.send("withheld", "4915557002")
    g.sent(g.send("another", "4915557003"))
    yield
    until("it is given up", lambda: g.view(id_)["status"] == "failed", 20 * SEND_TIMEOUT)
    g.sent(g.send("one more", "4915557003"))  # an ack shows that messages go out


@contextlib.contextmanager
def restricted(g: Gateway) -> Iterator[None]:
    fault = g.sandbox.post("/control/faults", {"kind": "nack", "code": 463, "match": "stranger"})["id"]
    id_ = g.send("to a stranger", "4915557004")
    yield
    g.sandbox.delete(f"/control/faults/{fault}")
    g.sent(id_, 120)  # it is tried out after a minute


@contextlib.contextmanager
def taken_down(g: Gateway) -> Iterator[None]:
    g.stop()
    yield
    g.start()
    g.healthy()


#: (alert, fault). What RecoveryLoop counts is over after ten minutes, so it comes first and is waited for last.
FAULTS: tuple[tuple[str, Callable[[Gateway], AbstractContextManager[None]]], ...] = (
    ("DiskLow", a_disk_that_fills),
    ("WatchdogSilent", a_stopped_watchdog),
    ("LoggedOut", logged_out),
    ("SessionUnhealthy", cut_off),
    ("QueueHeadOld", nobody_is_found),
    ("Unconfirmed", withheld_acks),
    ("AccountRestricted", restricted),
    ("GatewayDown", taken_down),
)


def what_waits_by_somebodys_will_is_no_alert(g: Gateway, p: Prometheus) -> None:
    """Paused for longer than QueueHeadOld waits, with a message scheduled beside it."""
    later = g.api.post("/api/messages", {"to": "4915557005", "text": "later", "send_at": "2099-01-01T00:00:00Z"})["id"]
    g.api.post("/api/sessions/default/pause")
    id_ = g.send("paused", "4915557005")
    begun = time.monotonic()
    until("they wait", lambda: p.ask("whatsapp_gateway_queue_oldest_seconds")["whatsapp-gateway"] > 45, 60)
    assert time.monotonic() - begun > 40 and "QueueHeadOld" not in p.alerts()
    assert p.ask("whatsapp_gateway_queue_due_seconds")["whatsapp-gateway"] == 0
    g.api.post("/api/sessions/default/resume")
    g.sent(id_)
    g.api.post(f"/api/messages/{later}/cancel")


@pytest.mark.timeout(1800)
def test_each_alert_fires_for_its_fault_and_is_resolved() -> None:
    gateway = Gateway(GATEWAY_SEND_TIMEOUT=str(SEND_TIMEOUT))
    with small_disk(gateway.data, SIZE), gateway, Prometheus(gateway.api.base) as p:
        gateway.link()
        gateway.sent(gateway.send("hello"))
        with killed_again_and_again(gateway):
            p.firing("RecoveryLoop")
        looped = time.monotonic()
        what_waits_by_somebodys_will_is_no_alert(gateway, p)
        for alert, fault in FAULTS:
            until("what the last fault caused besides is resolved", lambda: p.alerts().keys() <= {"RecoveryLoop"})
            begun = time.monotonic()
            with fault(gateway):
                p.firing(alert, 90)
                fired = time.monotonic()
            p.resolved(alert, 90)
            print(f"{alert:<18} fired after {fired - begun:5.1f} s, resolved {time.monotonic() - fired:5.1f} s later")
            gateway.healthy()
        p.resolved("RecoveryLoop", WINDOW)
        print(f"{'RecoveryLoop':<18} resolved {time.monotonic() - looped:5.1f} s after the last recovery")
        until("no alert is left", lambda: p.alerts() == {}, 30)
