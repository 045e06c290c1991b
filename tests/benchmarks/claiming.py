"""Claiming: what it costs to find and take the next message, whatever else lies in the store.

The peer is the same store with 1,000 rows, asked in turns. Timed is the claim inside its transaction, without the sync,
which costs the same for both and would hide what differs. Between two claims the message is placed and acked.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

from filling import add, filled
from report import Curve, Limit, Row, grouped, ratio
from scale import Scale
from servers import directory
from store_rig import Rig

from gateway.message import State
from gateway.store import database, outbox

LIMIT = Limit(1.5, most=True)
DAY = 86_400.0
#: Messages due beside those that are not, so that there is something to claim at each turn.
DUE = 500


def _future(rig: Rig, rows: int) -> None:
    add(rig, DUE, chats=100)
    add(rig, rows, chats=rows, ahead=DAY, priority=9)


def _finished(rig: Rig, rows: int) -> None:
    add(rig, DUE, chats=100)
    add(rig, rows, chats=1000, state=State.READ)


#: name → how so many rows come to lie in the store
SITUATIONS: dict[str, Callable[[Rig, int], None]] = {
    "waiting in one chat": lambda rig, rows: add(rig, rows, chats=1),
    "waiting in as many chats": lambda rig, rows: add(rig, rows, chats=rows),
    "in the future, at a high priority": _future,
    "finished": _finished,
}
SMALL = 1000


def measure(scale: Scale) -> Iterator[Row | Curve]:
    sizes = scale.pick((SMALL, 10_000, 100_000, 1_000_000), (SMALL, 3000))
    for name, fill in SITUATIONS.items():
        with directory() as path:
            stores = [filled(path, fill, rows) for rows in sizes]
            took = _in_turns(stores, scale.pick(300, 20))
            for rig in stores:
                rig.conn.close()
        medians = [statistics.median(each) * 1e6 for each in took]
        detail = f"{medians[-1]:.0f} µs with {sizes[-1]:,} rows against {medians[0]:.0f} µs with {sizes[0]:,}"
        yield ratio(f"a claim with {sizes[-1]:,} rows {name}", grouped(took[-1]), grouped(took[0]), detail, LIMIT)
        yield Curve("claims", name, list(zip(sizes, medians, strict=True)))


def _in_turns(stores: list[Rig], turns: int) -> list[list[float]]:
    """Seconds of each claim, for each store."""
    took: list[list[float]] = [[] for _ in stores]
    for turn in range(turns + 10):
        for rig, seen in zip(stores, took, strict=True):
            seconds = _claim(rig)
            if turn >= 10:  # the first ones fill caches
                seen.append(seconds)
    return took


def _claim(rig: Rig) -> float:
    rig.now += 1
    with database.transaction(rig.conn, float("inf")):
        begun = time.perf_counter()
        claim = outbox.claim(rig.conn, rig.fence, generation="g1", incarnation="i1", now=rig.now)
        took = time.perf_counter() - begun
    assert claim is not None, "there is something to claim"
    with database.transaction(rig.conn, float("inf")):
        outbox.placed(rig.conn, rig.fence, rowid=claim.rowid, attempt=claim.attempt, now=rig.now)
        outbox.acked(rig.conn, rig.fence, hex=claim.key.hex, ack=1, at=rig.now, now=rig.now)
    return took
