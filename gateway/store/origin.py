"""Notices that this database came here by a copy or from a backup, and holds what may have gone out elsewhere since."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from gateway.origin import place, same
from gateway.store import events, highwater, holds


def settle(conn: sqlite3.Connection, *, database: Path, now: float) -> int:
    """Hold every open row if the database was put back or its directory is a copy, and record where and how far it is now.

    Each writer asks before it writes anything else; the first one acts. Returns how many rows are held now.
    """
    here, reached = place(database.parent), highwater.read(database)
    row = conn.execute("SELECT place FROM origin").fetchone()
    rolled_back = events.last(conn) < reached
    if row is not None and row["place"] == here and not rolled_back:
        return 0
    held = holds.hold_restored(conn, now=now) if rolled_back or (row is not None and not same(row["place"], here)) else 0
    events.continue_after(conn, reached)
    conn.execute("DELETE FROM origin")
    conn.execute("INSERT INTO origin(place) VALUES (?)", (here,))
    return held
