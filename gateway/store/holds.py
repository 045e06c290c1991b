"""Holds: messages that wait for a decision of people, because another account was linked or a backup was restored.

Held rows are queued and have no lane, so nothing claims them.
"""

# ruff: noqa: S608 (what is put into SQL here are constants of this module, never a value)

from __future__ import annotations

import json
import sqlite3
from typing import Literal

from gateway.message import State
from gateway.store import events, lanes, transitions
from gateway.store.model import Released

Hold = Literal["restored", "other_account"]
#: Rows that one transaction of `release` changes: 300,000 in one kept others from the lock for 22 s.
BATCH = 250


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
    conn.execute("UPDATE outbox SET exposed = 1 WHERE exposed = 0")  # also what had ended: it may have been requeued since
    conn.execute("DELETE FROM lane")
    return held + len(rows)


def would_hold(conn: sqlite3.Connection) -> int:
    """How many rows are open, which `hold_restored` holds; only looks."""
    return int(conn.execute("SELECT count(*) FROM outbox WHERE state < 10").fetchone()[0])


def release(
    conn: sqlite3.Connection,
    *,
    session: str = "default",
    hold: Hold,
    accept_duplicate: bool = False,
    after: int = 0,
    limit: int = BATCH,
    now: float,
) -> Released:
    """Let go what is held in a session: `limit` rows at most, from the row `after` on.

    `other_account`: the rows now belong to the account that is linked (or was last). `restored`:
    the host shall ask WhatsApp for each (`claims.to_reconcile` gives them out): found → its state
    there, else it stays held. With `accept_duplicate` they all go out, each asked for by its id first.
    Rows of unknown outcome go by the same rule under either hold.
    """
    query = f"SELECT id, ({_free(hold, accept_duplicate)}) AS free FROM outbox WHERE session = ? AND {_HELD} AND id > ? ORDER BY id LIMIT ?"
    seen = conn.execute(query, (session, hold, after, limit)).fetchall()
    free = [row["id"] for row in seen if row["free"]]
    asked = [row["id"] for row in seen if not row["free"]]
    rows = conn.execute(
        "UPDATE outbox SET hold = NULL, asked = 0, due = min(due, max(?, ifnull(send_at, 0))), resend = max(resend, ?), "
        "uncertain = max(uncertain, hold = 'restored'), "
        "account = CASE WHEN hold = 'other_account' THEN (SELECT ifnull(s.account, s.last_account) FROM session s WHERE s.name = session) "
        f"ELSE account END WHERE {_AMONG} RETURNING id, session, recipient",
        (now, int(accept_duplicate), json.dumps(free)),
    ).fetchall()
    events.append_many(
        conn,
        kind="message.released",
        rows=[(r["session"], r["id"]) for r in rows],
        data={"hold": hold, "accept_duplicate": accept_duplicate},
        now=now,
    )
    conn.execute(f"UPDATE outbox SET asked = 1 WHERE {_AMONG}", (json.dumps(asked),))
    if hold == "restored":
        _hold_strangers(conn, free, now)
    lanes.recompute_many(conn, [(r["session"], r["recipient"]) for r in rows])
    return Released(released=len(free), asked=len(asked), held=len(asked), next=seen[-1]["id"] if len(seen) == limit else None)


def would_release(conn: sqlite3.Connection, *, session: str = "default", hold: Hold, accept_duplicate: bool = False) -> Released:
    """What releasing all that is held in the session would do; only looks."""
    query = f"SELECT count(*), count(*) FILTER (WHERE {_free(hold, accept_duplicate)}) FROM outbox WHERE session = ? AND {_HELD}"
    total, freed = conn.execute(query, (session, hold)).fetchone()
    return Released(released=freed, asked=total - freed, held=total - freed)


_HELD = "state = 0 AND hold IS NOT NULL AND hold = ?"
_AMONG = "id IN (SELECT value FROM json_each(?))"


def _free(hold: Hold, accept_duplicate: bool) -> str:
    """Which of the held rows go without a question to WhatsApp."""
    return "1" if accept_duplicate else "0" if hold == "restored" else "uncertain = 0"


def _hold_strangers(conn: sqlite3.Connection, released: list[int], now: float) -> None:
    """What was restored may belong to another account than the one linked today: it goes from one hold to the other."""
    rows = conn.execute(
        f"UPDATE outbox SET hold = 'other_account' WHERE {_AMONG} AND account <> "
        "(SELECT ifnull(s.account, s.last_account) FROM session s WHERE s.name = session) RETURNING id, session",
        (json.dumps(released),),
    ).fetchall()
    events.append_many(conn, kind="message.held", rows=[(r["session"], r["id"]) for r in rows], data={"hold": "other_account"}, now=now)
