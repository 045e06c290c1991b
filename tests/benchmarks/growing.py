"""Growing: what is asked often, or holds the write lock, with a large store against a small one, in turns.

Linking another number: how long one transaction of it holds the lock, and with it each request to send; how long all of it
takes, while nothing is claimed, stands beside it. Each second's look of a host: with a queue that was cleared since the last ack, and with
as many messages held. An attach: reading what the page is to be asked for, with as many read within the day, and an unknown outcome
behind them, which must be among it. Retention, with as many dead letters older than what is kept.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

from filling import add, filled
from report import Limit, Row, grouped, ratio
from scale import Scale
from servers import directory
from store_rig import Rig

from gateway.message import State, Unconfirmed
from gateway.store import chores, database, maintenance, outbox, sessions

LIMIT = Limit(1.5, most=True)
#: A batch of the large store touches as many chats as it has rows, one of the small store 100.
LINKING = Limit(3.0, most=True)
SMALL = 1000
OTHER = "4911@c.us"


def measure(scale: Scale) -> Iterator[Row]:
    with directory() as path:
        waiting = scale.pick(100_000, 3000)
        yield _linking(*(filled(path, _waiting, rows) for rows in (SMALL, waiting)), waiting)
    many = scale.pick(500_000, 3000)
    for name, (fill, ask) in QUESTIONS.items():
        with directory() as path:
            stores = [filled(path, fill, rows) for rows in (SMALL, many)]
            took = _in_turns(stores, ask, scale.pick(100, 10))
        ours, peer = (statistics.median(seen) * 1e3 for seen in (took[1], took[0]))
        detail = f"{ours:.2f} ms with {many:,} against {peer:.2f} ms with {SMALL:,}"
        yield ratio(name.format(many=f"{many:,}"), grouped(took[1]), grouped(took[0]), detail, LIMIT)


def _linking(small: Rig, large: Rig, many: int) -> Row:
    """Both are linked to another number and back, in turns, batch by batch."""
    medians: dict[Rig, list[float]] = {small: [], large: []}
    batches: list[float] = []
    for account in (OTHER, "4900@c.us") * 2:
        for rig, seen in medians.items():
            took = list(_link(rig, account))
            seen.append(statistics.median(took))
            batches += took if rig is large else []
    ours, peer = statistics.median(medians[large]) * 1e3, statistics.median(medians[small]) * 1e3
    longest, whole = statistics.quantiles(batches, n=100)[98] * 1e3, sum(batches) / 4
    detail = f"{ours:.1f} ms (p99 {longest:.0f} ms) with {many:,} against {peer:.1f} ms with {SMALL:,}; all of it in {whole:.1f} s"
    return ratio(f"a batch of linking another number, {many:,} messages waiting", medians[large], medians[small], detail, LINKING)


def _link(rig: Rig, account: str) -> Iterator[float]:
    """Seconds of each transaction."""

    def begin(conn):
        return sessions.linked(conn, rig.fence, account=account, lid=None, device=account, incarnation="i1", generation="g1", now=rig.now)

    operation, done = begin, False
    while not done:
        started = time.perf_counter()
        done = rig.do(operation)
        yield time.perf_counter() - started
        operation = _go_on(rig)


def _go_on(rig: Rig) -> Callable[..., bool]:
    return lambda conn: outbox.sort_queue(conn, session="default", now=rig.now)


def _cleared(rig: Rig, rows: int) -> None:
    add(rig, rows, chats=10, state=State.CANCELLED)


def _held(rig: Rig, rows: int) -> None:
    add(rig, rows, chats=10)
    with database.transaction(rig.conn, float("inf")):
        rig.conn.execute("UPDATE outbox SET hold = 'restored', uncertain = 1")
        rig.conn.execute("DELETE FROM lane")


def _unknown_behind(rig: Rig, rows: int) -> None:
    (lost,) = rig.accept("498@c.us")
    rig.resolve()
    claim = rig.claimed()
    rig.sent_not(claim, Unconfirmed("deadline"))
    rig.reconciled(claim, "lost")
    rig.now += 60
    add(rig, rows, chats=10, state=State.READ)
    add(rig, 1000, chats=10, state=State.DELIVERED)
    assert lost in [p.message for p in outbox.to_reconcile(rig.conn, session="default", now=rig.now)], "it is asked for again"


def _dead_letters(rig: Rig, rows: int) -> None:
    add(rig, rows, chats=10, state=State.FAILED)


def _look(rig: Rig) -> object:
    return chores.look(rig.conn, rig.fence, now=rig.now, new_chats=True)


def _attach(rig: Rig) -> object:
    return outbox.to_reconcile(rig.conn, session="default", now=rig.now)


def _retain(rig: Rig) -> object:
    with database.transaction(rig.conn, float("inf")):
        return maintenance.prune(rig.conn, now=rig.now + 8 * 86_400, keep=0.0)


#: name → how so many rows come to lie in the store, and what is asked then
QUESTIONS: dict[str, tuple[Callable[[Rig, int], None], Callable[[Rig], object]]] = {
    "a host's look each second, {many} messages cleared since the last ack": (_cleared, _look),
    "a host's look each second, {many} messages held": (_held, _look),
    "reading what an attach asks for, {many} messages read within the day": (_unknown_behind, _attach),
    "a pass of retention, {many} old dead letters": (_dead_letters, _retain),
}


def _waiting(rig: Rig, rows: int) -> None:
    add(rig, rows, chats=rows // 10)


def _in_turns(stores: list[Rig], ask: Callable[[Rig], object], turns: int) -> list[list[float]]:
    """Seconds of each question, for each store."""
    took: list[list[float]] = [[] for _ in stores]
    for turn in range(turns + 3):
        for rig, seen in zip(stores, took, strict=True):
            begun = time.perf_counter()
            ask(rig)
            if turn >= 3:  # the first ones fill caches
                seen.append(time.perf_counter() - begun)
    for rig in stores:
        rig.conn.close()
    return took
