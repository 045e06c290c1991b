"""Starting: from `gateway up` with a login kept until the first message reaches WhatsApp's server.

The gateway is stopped and started again; a client posts a message until it is accepted. By the sandbox's clock.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from arrivals import Arrivals
from gateway_rig import Gateway, until
from report import Limit, Row
from scale import Scale

from gateway.client import Refused, Unreachable

#: A bare script with wppconnect takes 2.5 s on the machine of the page, wppconnect-server 4.2 s.
LIMIT = Limit(4.0, 3.0, most=True)


def measure(scale: Scale, gateway: Gateway) -> Iterator[Row]:
    until("nothing waits", lambda: gateway.api.get("/api/health")["message_queue_length"] == 0, 120)
    took = [_start(gateway, n) for n in range(scale.pick(10, 1))]
    detail = f"with a login kept; median of {len(took)}, {min(took):.2f} to {max(took):.2f} s"
    yield Row("`gateway up` → first message at the server", statistics.median(took), "s", detail, LIMIT)
    gateway.healthy()


def _start(gateway: Gateway, n: int) -> float:
    """Seconds from the command to the first message's arrival."""
    gateway.stop()
    arrivals = Arrivals(gateway)
    message, begun = {"to": "4915550001", "text": f"start {n}"}, time.time()
    gateway.launch()

    def accepted() -> bool:
        try:
            return bool(gateway.api.post("/api/messages", message, {"Idempotency-Key": f"start-{n}-{begun}"}))
        except (Unreachable, Refused):
            return False

    until("the first message is accepted", accepted)
    return arrivals.until("the first message arrives", lambda found: message["text"] in found)[message["text"]] - begun
