"""What needs all of the gateway: one is started, linked to a sandbox, and measured by each of these in turn."""

from __future__ import annotations

from collections.abc import Iterator

import handing_over
import looking_up
import recovering
import resting
import sending
import starting
from gateway_rig import Gateway
from report import Row
from scale import Scale


def measure(scale: Scale) -> Iterator[Row]:
    with Gateway() as gateway:
        gateway.link()
        yield from resting.measure(scale, gateway)
        yield from handing_over.measure(scale, gateway)
        yield from looking_up.measure(scale, gateway)
        yield from sending.measure(scale, gateway)
        yield from recovering.measure(scale, gateway)
        yield from starting.measure(scale, gateway)
