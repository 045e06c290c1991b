"""Scraping: GET /metrics on an API with 1,000,000 messages in its store, half of them waiting in 10,000 chats, half finished.

The peer is another API with 10, asked in turns.
"""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from filling import add, open_store
from report import Limit, Row, grouped, ratio
from scale import Scale
from servers import api, directory

from gateway.message import State

LIMIT = Limit(1.5, most=True)


def measure(scale: Scale) -> Iterator[Row]:
    many, few = scale.pick(1_000_000, 2000), 10
    with directory() as large, directory() as small:
        _fill(large, many, scale.pick(10_000, 100))
        _fill(small, few, 5)
        with api(large) as ours, api(small) as peer:
            took = _in_turns([ours.port, peer.port], scale.pick(200, 5))
    ours, theirs = (statistics.median(seen) * 1e3 for seen in took)
    detail = f"{ours:.1f} ms with {many:,} messages against {theirs:.1f} ms with {few}"
    yield ratio(f"a scrape of /metrics with {many:,} messages", grouped(took[0]), grouped(took[1]), detail, LIMIT)


def _fill(data: Path, messages: int, chats: int) -> None:
    rig = open_store(data)
    add(rig, messages // 2, chats=chats)
    add(rig, messages // 2, chats=chats, state=State.READ)
    rig.conn.close()


def _in_turns(ports: list[int], turns: int) -> list[list[float]]:
    """Seconds of each scrape, for each port."""
    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=30) for port in ports]
    took: list[list[float]] = [[] for _ in ports]
    for turn in range(turns + 3):
        for connection, seen in zip(connections, took, strict=True):
            begun = time.perf_counter()
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200 or b"whatsapp_gateway_queue_length" not in text:
                raise RuntimeError(f"no metrics: {answer.status}")
            if turn >= 3:
                seen.append(time.perf_counter() - begun)
    return took
