"""Many rows by few statements.

Each step of a statement hands the interpreter over to the main loop's thread and has to get it back,
for which it may wait until that thread has nothing to do; `executemany` pays that for each row.
"""

# ruff: noqa: S608 (what is put into SQL here is the caller's constant and question marks, never a value)

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain

#: Rows of one statement: beyond it a row costs no less, and each number of rows is a statement that stays prepared.
LARGEST = 64


def insert(conn: sqlite3.Connection, into: str, rows: Sequence[Sequence[object]]) -> int:
    """Insert the rows, in their order; `into` is the table with its columns. Returns the rowid of the last one.

    Where the table numbers its rows and nothing was deleted at its end, the others are the numbers before it.
    """
    last = 0
    for at in range(0, len(rows), LARGEST):
        part = rows[at : at + LARGEST]
        cursor = conn.execute(_statement(into, len(part[0]), len(part)), tuple(chain.from_iterable(part)))
        assert cursor.lastrowid is not None
        last = cursor.lastrowid
    return last


@lru_cache(maxsize=512)
def _statement(into: str, columns: int, count: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"INSERT INTO {into} VALUES {', '.join([row] * count)}"
