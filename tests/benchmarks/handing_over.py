"""Handing over: from the moment a client sends its POST until the page has confirmed that it took the message.

At rest, one at a time, pacing 0, to somebody who is known. The limit is what a person does not notice.
"""

from __future__ import annotations

import datetime
import random
import statistics
import time
from collections.abc import Iterator

from arrivals import Arrivals
from gateway_rig import Gateway
from report import Limit, Row
from scale import Scale

LIMIT = Limit(10.0, most=True)


def measure(scale: Scale, gateway: Gateway) -> Iterator[Row]:
    for n in range(3):  # known, with history
        gateway.sent(gateway.send(f"warm {n}"))
    placed, arrived, arrivals = [], [], Arrivals(gateway)
    for n in range(scale.pick(100, 5)):
        time.sleep(random.uniform(0.05, 0.15))  # nothing of us runs in step with it
        body, begun = f"one at a time {n}", time.time()
        id_ = gateway.send(body)
        time.sleep(0.1)  # not asked while it happens
        attempt = gateway.sent(id_)["attempts"][0]
        placed.append(datetime.datetime.fromisoformat(attempt["placed_at"]).timestamp() - begun)
        arrived.append(arrivals.until(body, lambda at, body=body: body in at)[body] - begun)
    p50, p90 = (statistics.quantiles(placed, n=10)[i] * 1e3 for i in (4, 8))
    detail = f"p90 {p90:.1f} ms; at WhatsApp's server (the sandbox) after {statistics.median(arrived) * 1e3:.1f} ms; {len(placed)} messages"
    yield Row("accept → handed over, p50", p50, "ms", detail, LIMIT)
