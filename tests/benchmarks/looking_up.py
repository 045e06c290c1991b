"""Looking up: whether new recipients wait for the slow look-ups of others.

Six look-ups that WhatsApp answers after 5 s are under way, more than may begin at once; then ten messages go to further new
recipients. What is divided by the 5 s is the time until the last of the ten has arrived: above 1 they have waited for the slow ones.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from arrivals import Arrivals
from gateway_rig import Gateway
from report import Limit, Row
from scale import Scale

LIMIT = Limit(0.6, 0.4, most=True)
SLOW, SECONDS, QUICK = 6, 5.0, 10


def measure(scale: Scale, gateway: Gateway) -> Iterator[Row]:
    gateway.sandbox.post("/control/faults", {"kind": "slow_lookup", "match": "49155581", "seconds_delay": SECONDS, "seconds": SECONDS})
    arrivals = Arrivals(gateway)
    _send(gateway, [f"49155581{n:02d}" for n in range(SLOW)])
    begun = time.time()
    quick = _send(gateway, [f"49155582{n:02d}" for n in range(QUICK)])
    at = arrivals.until("what goes to the quick ones arrives", lambda at: quick <= at.keys(), 60.0)
    took = max(at[body] for body in quick) - begun
    detail = f"{took:.2f} s for {QUICK} new recipients beside {SLOW} look-ups of {SECONDS:g} s"
    yield Row("new recipients beside slow look-ups / a slow look-up", took / SECONDS, "×", detail, LIMIT)
    arrivals.count(SLOW + QUICK, 60.0)  # what is measured next has the gateway for itself


def _send(gateway: Gateway, recipients: list[str]) -> set[str]:
    """Send one message to each. Returns their bodies."""
    texts = [f"look-up {to}" for to in recipients]
    gateway.api.post("/api/messages/batch", {"messages": [{"to": to, "text": text} for to, text in zip(recipients, texts, strict=True)]})
    return set(texts)
