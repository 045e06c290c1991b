"""Holds: messages that wait for a decision of people, because another account was linked or a backup was restored.

Held rows are queued and have no lane, so nothing claims them.
"""

# ruff: noqa: S608 (what is put into SQL here are constants of this module, never a value)

from __future__ import annotations

import sqlite3
from typing import Literal

from gateway.message import State
from gateway.store import events, lanes, transitions
from gateway.store.model import Released

Hold = Literal["restored", "other_account"]


def account_changed(conn: sqlite3.Connection, *, session: str, account: str, now: float) -> None:
    """`account` was linked instead of another one (or as the first). `sessions.linked` calls it."""
    queued = "session = ? AND state = 0"
    conn.execute(f"UPDATE outbox SET account = ? WHERE {queued} AND account IS NULL", (account, session))
    changed = []
    for text, hold, which in (
        ("message.held", "other_account", f"{queued} AND hold IS NULL AND account <> ?"),
        ("message.released", None, f"{queued} AND hold = 'other_account' AND account = ?"),
    ):
        rows = conn.execute(
            f"UPDATE outbox SET hold = ? WHERE {which} RETURNING id, session, recipient",
            (hold, session, account),
        ).fetchall()
        events.append_many(conn, kind=text, rows=[(r["session"], r["id"]) for r in rows], data={"hold": "other_account"}, now=now)
        changed += rows
    lanes.recompute_many(conn, [(r["session"], r["recipient"]) for r in changed])


def hold_restored(conn: sqlite3.Connection, *, now: float) -> int:
    """The database comes from a backup, or runs in a copied data directory: hold every open row. Returns how many.

    What had been handed over becomes queued and held with its outcome marked as unknown; what was
    queued may have gone out since the backup. Only `release` lets them go.
    """
    held = 0
    for state in (State.SENDING, State.UNCONFIRMED):
        rows = conn.execute("SELECT id, session, state FROM outbox WHERE state IN (1, 2) AND state = ?", (int(state),)).fetchall()
        transitions.move_many(
            conn, rows, State.QUEUED, now=now, values={"hold": "restored", "uncertain": 1, "due": now}, data={"hold": "restored"}
        )
        held += len(rows)
    rows = conn.execute("UPDATE outbox SET hold = 'restored' WHERE state = 0 AND hold IS NOT 'restored' RETURNING id, session").fetchall()
    events.append_many(conn, kind="message.held", rows=[(r["session"], r["id"]) for r in rows], data={"hold": "restored"}, now=now)
    conn.execute("DELETE FROM lane")
    return held + len(rows)


def release(
    conn: sqlite3.Connection, *, session: str | None = None, hold: Hold, accept_duplicate: bool = False, dry_run: bool = False, now: float
) -> Released:
    """Let go what is held; session None means all.

    `other_account`: the rows now belong to the account that is linked (or was last). `restored`:
    the host shall ask WhatsApp for each (`claims.to_reconcile` gives them out): found → its state
    there, else it stays held. With `accept_duplicate` they all go out, each asked for by its id first.
    Rows of unknown outcome go by the same rule under either hold.
    """
    where = "state = 0 AND hold IS NOT NULL AND hold = ? AND (? IS NULL OR session = ?)"
    free = "1" if accept_duplicate else "0" if hold == "restored" else "uncertain = 0"
    arguments = (hold, session, session)
    total = _count(conn, where, arguments)
    freed = _count(conn, f"{where} AND {free}", arguments)
    if dry_run:
        return Released(released=freed, asked=total - freed, held=total - freed)
    rows = conn.execute(
        f"UPDATE outbox SET hold = NULL, asked = 0, due = min(due, max(?, ifnull(send_at, 0))), resend = max(resend, ?), "
        "uncertain = max(uncertain, hold = 'restored'), "
        "account = CASE WHEN hold = 'other_account' THEN (SELECT ifnull(s.account, s.last_account) FROM session s WHERE s.name = session) "
        f"ELSE account END WHERE {where} AND {free} RETURNING id, session, recipient",
        (now, int(accept_duplicate), *arguments),
    ).fetchall()
    events.append_many(
        conn,
        kind="message.released",
        rows=[(r["session"], r["id"]) for r in rows],
        data={"hold": hold, "accept_duplicate": accept_duplicate},
        now=now,
    )
    conn.execute(f"UPDATE outbox SET asked = 1 WHERE {where}", arguments)
    lanes.recompute_many(conn, [(r["session"], r["recipient"]) for r in rows])
    if hold == "restored":
        _hold_strangers(conn, now)
    return Released(released=len(rows), asked=total - len(rows), held=total - len(rows))


def _hold_strangers(conn: sqlite3.Connection, now: float) -> None:
    """What was restored may belong to another account than the one linked today: it goes from one hold to the other."""
    rows = conn.execute(
        "UPDATE outbox SET hold = 'other_account' WHERE state = 0 AND hold IS NULL AND account <> "
        "(SELECT ifnull(s.account, s.last_account) FROM session s WHERE s.name = session) RETURNING id, session, recipient"
    ).fetchall()
    events.append_many(conn, kind="message.held", rows=[(r["session"], r["id"]) for r in rows], data={"hold": "other_account"}, now=now)
    lanes.recompute_many(conn, [(r["session"], r["recipient"]) for r in rows])


def _count(conn: sqlite3.Connection, where: str, arguments: tuple[object, ...]) -> int:
    return int(conn.execute(f"SELECT count(*) FROM outbox WHERE {where}", arguments).fetchone()[0])
