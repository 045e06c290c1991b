"""Many rows by few statements."""

from __future__ import annotations

import sqlite3

import pytest

from gateway.message import new_id
from gateway.store import bulk


@pytest.mark.parametrize("count", [1, 2, 3, 63, 64, 65, 127, 200])
def test_rows_come_in_their_order_and_the_last_number_is_told(count: int) -> None:
    conn = sqlite3.connect(":memory:", isolation_level=None)
    conn.execute("CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a, b)")
    steps: list[str] = []
    conn.set_trace_callback(steps.append)
    assert bulk.insert(conn, "t(a, b)", [(n, str(n)) for n in range(count)]) == count
    assert conn.execute("SELECT id, a, b FROM t ORDER BY id").fetchall() == [(n + 1, n, str(n)) for n in range(count)]
    assert sum(step.startswith("INSERT") for step in steps) == -(-count // bulk.LARGEST)


def test_ids_grow_with_time_and_differ_at_the_same_time() -> None:
    assert new_id(1_000.0) < new_id(1_000.001) < new_id(1_800_000_000.0)
    assert len({new_id(5.0) for _ in range(1000)}) == 1000 and {len(new_id(t)) for t in (0.0, 5.0, 4e9)} == {28}
