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

#: Rows of the largest statement: beyond it one costs no less by the row, and its parameters near SQLite's limit.
LARGEST = 64


def insert(conn: sqlite3.Connection, into: str, rows: Sequence[Sequence[object]]) -> int:
    """Insert the rows, in their order; `into` is the table with its columns. Returns the rowid of the last one.

    Where the table numbers its rows and nothing was deleted at its end, the others are the numbers before it.
    """
    at = 0
    while at < len(rows):
        count = min(LARGEST, 1 << (len(rows) - at).bit_length() - 1)  # few sizes, so that each stays prepared
        part = rows[at : at + count]
        conn.execute(_statement(into, len(part[0]), count), tuple(chain.from_iterable(part)))
        at += count
    return int(conn.execute("SELECT last_insert_rowid()").fetchone()[0])


@lru_cache(maxsize=128)
def _statement(into: str, columns: int, count: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"INSERT INTO {into} VALUES {', '.join([row] * count)}"
