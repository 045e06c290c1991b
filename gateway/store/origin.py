"""Notices that this database came here by a copy or from a backup, and holds what may have gone out elsewhere since."""

from __future__ import annotations

import sqlite3

from gateway.store import holds


def settle(conn: sqlite3.Connection, *, place: str, now: float) -> int:
    """Compare with the place recorded (gateway.origin.place), hold every open row if it is another one, and record ours.

    Called by everybody who may accept or claim, before they do; the first one acts. Returns how many rows are held now.
    """
    row = conn.execute("SELECT place FROM origin").fetchone()
    if row is not None and row["place"] == place:
        return 0
    held = holds.hold_restored(conn, now=now) if row is not None else 0
    conn.execute("DELETE FROM origin")
    conn.execute("INSERT INTO origin(place) VALUES (?)", (place,))
    return held
