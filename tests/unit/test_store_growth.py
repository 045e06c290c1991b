"""What is asked often, or inside a transaction that others wait for, costs the same however much lies in the store.

Counted are SQLite's own steps, which no other load on the machine changes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from store_rig import Rig

from gateway.message import State as M
from gateway.message import Unconfirmed
from gateway.store import chores, database, lanes, maintenance, outbox, transitions
from gateway.store.outbox import Draft

SMALL, LARGE = 50, 5000
#: Steps between two counts, and how much dearer the large store may be: a page or two more of each index.
GRAIN, MOST = 20, 1.5


def steps(conn: sqlite3.Connection, operation: Callable[[sqlite3.Connection], Any]) -> int:
    """SQLite's steps for the operation, which is rolled back."""
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    with database.transaction(conn, float("inf")):
        conn.set_progress_handler(tick, GRAIN)
        try:
            operation(conn)
        finally:
            conn.set_progress_handler(None, 0)
            conn.rollback()
            conn.execute("BEGIN")
    return max(count, 10)


def fill(rig: Rig, rows: int, **columns: Any) -> None:
    """So many more messages to one chat, with these columns."""
    (model,) = rig.accept("49000@c.us")
    rig.resolve()
    names = [r["name"] for r in rig.conn.execute("PRAGMA table_info(outbox)")]
    highest = rig.conn.execute("SELECT max(id) FROM outbox").fetchone()[0]
    number = f"{highest} + n.i"
    given = {"id": number, "public": f"printf('msg_%024x', {number})", "hex": f"printf('3EB0%018X', {number})"}
    given |= {name: repr(value) if value is not None else "NULL" for name, value in columns.items()}
    with database.transaction(rig.conn, float("inf")):
        rig.conn.execute(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) INSERT INTO outbox({', '.join(names)}) "
            f"SELECT {', '.join(given.get(name, f'm.{name}') for name in names)} FROM n, (SELECT * FROM outbox WHERE public = ?) m",
            (model,),
        )
        transitions.count(rig.conn, "default", None, M(columns.get("state", 0)), rows)
        lanes.rebuild(rig.conn)
    rig.do(outbox.cancel, id=model, now=rig.now)


def look(rig: Rig) -> Callable[[sqlite3.Connection], Any]:
    return lambda conn: chores.look(conn, rig.fence, now=rig.now, new_chats=True)


def attach(rig: Rig) -> Callable[[sqlite3.Connection], Any]:
    return lambda conn: outbox.to_reconcile(conn, session="default", now=rig.now)


def expiry(rig: Rig) -> Callable[[sqlite3.Connection], Any]:
    return lambda conn: outbox.expire(conn, now=rig.now)


def retention(rig: Rig) -> Callable[[sqlite3.Connection], Any]:
    return lambda conn: maintenance.prune(conn, now=rig.now + 50 * 86_400)


def half(rig: Rig) -> tuple[str, int, float, int]:
    """A place in the middle of the queue; all of it has the same `ord`."""
    row = rig.conn.execute("SELECT scheduled, ord, max(id) / 2 FROM outbox WHERE state = 0").fetchone()
    return "default", *row


def clearing(rig: Rig) -> Callable[[sqlite3.Connection], Any]:
    after = half(rig)
    return lambda conn: outbox.clear(conn, session="default", after=after, limit=20, now=rig.now)


def linking(rig: Rig) -> Callable[[sqlite3.Connection], Any]:
    to = json.dumps(half(rig)[1:])
    rig.conn.execute("UPDATE session SET account = '4911@c.us', queue_sorted_for = NULL, queue_sorted_to = ?", (to,))
    return lambda conn: outbox.sort_queue(conn, session="default", limit=20, now=rig.now)


def releasing(rig: Rig) -> Callable[[sqlite3.Connection], Any]:
    return lambda conn: outbox.release(conn, hold="restored", accept_duplicate=True, limit=20, now=rig.now)


def minute(rig: Rig) -> Callable[[sqlite3.Connection], Any]:
    return lambda conn: outbox.set_right(conn, "default", now=rig.now)


NOW = 1_000_000.0
CASES: dict[str, tuple[Callable[[Rig], Any], dict[str, Any]]] = {
    "a host's look, much was cleared": (look, {"state": 21, "state_since": NOW + 50}),
    "a host's look, much failed": (look, {"state": 20, "state_since": NOW + 50, "reason": "rejected"}),
    "a host's look, much is held": (look, {"hold": "restored", "uncertain": 1}),
    "an attach, much was cleared": (attach, {"state": 21, "state_since": NOW + 50}),
    "an attach, much was read": (attach, {"state": 12, "state_since": NOW + 50}),
    "an attach, much failed": (attach, {"state": 20, "state_since": NOW + 50, "reason": "rejected"}),
    "expiry, much that is restored has outlived its ttl": (expiry, {"hold": "restored", "expires_at": NOW + 1}),
    "expiry, much of unknown outcome has outlived its ttl": (expiry, {"uncertain": 1, "expires_at": NOW + 1}),
    "a batch of clearing the queue": (clearing, {}),
    "a batch of linking another number": (linking, {}),
    "a batch of a release": (releasing, {"hold": "restored"}),
    "looking each minute for what lies in the future": (minute, {"state": 21, "state_since": NOW + 50}),
    "retention, many dead letters are old": (retention, {"state": 20, "state_since": NOW + 2, "reason": "rejected"}),
}


@pytest.mark.parametrize("case", CASES)
def test_it_costs_the_same_whatever_lies_in_the_store(tmp_path: Path, case: str) -> None:
    ask, columns = CASES[case]
    found = []
    for rows in (SMALL, LARGE):
        (tmp_path / str(rows)).mkdir()
        rig = Rig(tmp_path / str(rows))
        rig.send_one("492@c.us")
        fill(rig, rows, **columns)
        rig.now = NOW + 100
        found.append(steps(rig.conn, ask(rig)))
    assert found[1] <= MOST * found[0], f"{found[0]} with {SMALL} rows, {found[1]} with {LARGE}"


def test_an_unknown_outcome_is_asked_for_however_many_were_delivered_since(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.accept("491@c.us")
    rig.resolve()
    claim = rig.claimed()
    rig.sent_not(claim, Unconfirmed("deadline"))
    rig.reconciled(claim, "lost")
    fill(rig, 1500, state=11, state_since=rig.now + 100)
    rig.now += 1000
    pending = rig.pending()
    assert pending[0].message == claim.message
    assert [p.state for p in pending[1:]] == [M.DELIVERED] * 1000


def test_a_message_that_was_given_up_since_the_last_ack_is_known(tmp_path: Path) -> None:
    """By its own index, with much beside it that failed otherwise."""
    rig = Rig(tmp_path)
    fill(rig, 100, state=20, reason="rejected")
    assert not outbox.unacked(rig.conn, session="default").given_up
    rig.do(
        outbox.accept, drafts=[Draft("default", "491@c.us", "text", {})], scope="s", key=None, fingerprint=b"", now=rig.now, queue_limit=9
    )
    rig.resolve()
    rig.claimed()
    for generation in ("g1", "g2"):
        rig.now += 200
        rig.do(outbox.overdue, rig.fence, now=rig.now, send_timeout=120, generation=generation, synced_at=0.0)
    assert outbox.unacked(rig.conn, session="default").given_up
    rig.send_one("492@c.us")
    assert not outbox.unacked(rig.conn, session="default").given_up
