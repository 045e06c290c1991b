"""Accepting: how many messages a second are answered 202, each synced to disk before, over HTTP on loopback.

The peer is aiohttp itself: a server whose handler does nothing at all, asked the same by the same client, in turns with ours.
Its rate is what no application on this server can exceed; ours also reads, validates, writes and syncs.
1,000 recipients, one API process, no key set; once with an Idempotency-Key on each request. Each line begins with an empty store, of
which it fills some 100,000 rows: the more rows, the more pages a commit touches. So the last line asks a store with a million waiting.

The client is bare sockets on purpose: with one that costs as much as the server, the empty handler looks slower than it is.
A message that is simply accepted goes around aiohttp's task, request, route and response for each request (gateway/api/express.py):
they cost more than checking it and writing it down. That way begins only where head and body arrive in one piece, as these do.
What the goals would take: the loop's thread and the writer's share the interpreter's lock, so that their times add up, although there
are two cores. An interpreter without that lock, or several API processes before one writer, would let them overlap.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from filling import add, open_store
from load import Load, messages, press
from report import Curve, Limit, Row, ratio
from scale import Scale
from servers import Server, api, directory, empty_handler

RECIPIENTS = 1000
LIMITS = {64: Limit(0.35, 0.5), 256: Limit(0.5, 0.7)}
CURVE = (1, 4, 16)
GROWN = 1_000_000


@dataclass(frozen=True)
class _Turns:
    """What was seen in turns; `cpu` are seconds of CPU for one request."""

    ours: list[Load]
    peer: list[Load]
    our_cpu: float
    peer_cpu: float

    @staticmethod
    def rates(loads: list[Load]) -> list[float]:
        return [load.rate for load in loads]


def measure(scale: Scale) -> Iterator[Row | Curve]:
    with empty_handler() as peer:
        found = {}
        for connections in (*scale.pick(CURVE, ()), *LIMITS):
            slices = scale.pick(8 if connections in LIMITS else 3, 1)
            turns = found[connections] = _measured(peer, scale, connections, slices)
            yield _row(f"accepts a second, {connections} connections", turns, LIMITS.get(connections))
        slices = scale.pick(4, 1)
        keyed = _measured(peer, scale, 64, slices, keyed=True)
        yield _row("accepts a second, 64 connections, each with an Idempotency-Key", keyed, None)
        waiting = scale.pick(GROWN, 1000)
        yield _row(f"accepts a second, 256 connections, {waiting:,} messages waiting", _measured(peer, scale, 256, slices, waiting), None)
        yield from _curves(found)


def _measured(peer: Server, scale: Scale, connections: int, slices: int, waiting: int = 0, *, keyed: bool = False) -> _Turns:
    """An API on a store of its own, in which so many messages wait, in turns with the peer."""
    with directory() as data:
        if waiting:
            rig = open_store(data)
            add(rig, waiting, chats=RECIPIENTS)
            rig.conn.close()
        with api(data) as ours:
            return asyncio.run(_turns(ours, peer, connections, slices, scale.pick(1.5, 0.3), keyed))


def _row(name: str, t: _Turns, limit: Limit | None) -> Row:
    middle = statistics.median
    p50, p99 = (middle(load.quantile(q) for load in t.ours) * 1e3 for q in (0.5, 0.99))
    detail = (
        f"{middle(t.rates(t.ours)):,.0f}/s (p50 {p50:.1f} ms, p99 {p99:.1f} ms) against {middle(t.rates(t.peer)):,.0f}/s of an empty "
        f"handler; CPU for each {t.our_cpu * 1e6:.0f} µs against {t.peer_cpu * 1e6:.0f} µs"
    )
    return ratio(name, t.rates(t.ours), t.rates(t.peer), detail, limit)


def _curves(found: dict[int, _Turns]) -> Iterator[Curve]:
    def line(loads: str, value: object) -> list[tuple[float, float]]:
        return [(c, statistics.median(value(load) for load in getattr(t, loads))) for c, t in found.items()]  # type: ignore[operator]

    yield Curve("accepts", "gateway, synced", line("ours", lambda load: load.rate))
    yield Curve("accepts", "aiohttp, empty handler", line("peer", lambda load: load.rate))
    p50, p99 = (line("ours", lambda load, q=q: load.quantile(q) * 1e3) for q in (0.5, 0.99))
    yield Curve("latency", "gateway p50, p99", p50, p99)


async def _turns(ours: Server, peer: Server, connections: int, slices: int, seconds: float, keyed: bool) -> _Turns:
    requests = {server.port: messages(server.port, recipients=RECIPIENTS, keyed=keyed) for server in (ours, peer)}

    async def slice_(server: Server, seconds: float) -> Load:
        return await press(server.port, connections=connections, seconds=seconds, request=requests[server.port])

    loads: dict[Server, list[Load]] = {ours: [], peer: []}
    cpu = {ours: 0.0, peer: 0.0}
    for server in loads:  # imports, caches, all recipients known
        await slice_(server, seconds / 2)
    for _ in range(slices):
        for server, seen in loads.items():
            before = server.cpu()
            seen.append(await slice_(server, seconds))
            cpu[server] += server.cpu() - before
    each = {server: cpu[server] / sum(len(load.latencies) for load in seen) for server, seen in loads.items()}
    return _Turns(loads[ours], loads[peer], each[ours], each[peer])
