"""The clock of what is stored: wall-clock seconds that, for each session, never step back.

A stamp says when something happened: accepted, claimed, acked, changed. Stamps are compared with each other, so one that is written
later may not be smaller, although the wall clock was set back in between. What is yet to come (back-offs, `send_at`, ttl) is
measured against the wall clock itself.

After a clock that was ahead was set right, the last stamp lies in the future: until then all stamps would be that one. So whoever
finds it ahead brings all stamps back (timekeeping.py).
"""

from __future__ import annotations

import sqlite3

#: Seconds by which a stamp may lie ahead of the wall clock: set back by so little, it is simply waited for.
STEP = 5.0
#: 2026-01-01. A wall clock before it is wrong itself (a machine whose clock has no battery, before it is synchronised): no stamp
#: is brought back to it, since retention would delete all of them once the clock is right.
PLAUSIBLE = 1_767_225_600.0


def now(conn: sqlite3.Connection, session: str, wall: float) -> float:
    """The stamp for what happens now in the session: the wall clock, or the last stamp where that is later."""
    row = conn.execute("SELECT max(last_accepted, ?) FROM session WHERE name = ?", (wall, session)).fetchone()
    return wall if row is None else float(row[0])


def stamped(conn: sqlite3.Connection, session: str | None, at: float) -> None:
    """A stamp was written: none before it from now on. `events.append` calls it, and so every change of a state."""
    conn.execute("UPDATE session SET last_accepted = ? WHERE name = ? AND last_accepted < ?", (at, session, at))


def ahead(at: float | None, wall: float) -> bool:
    """Whether the stamp lies in the future: it was written while the clock was ahead."""
    return at is not None and at > wall + STEP
