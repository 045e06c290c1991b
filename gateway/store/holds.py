"""Holds: messages that wait for a decision of people, because another account was linked or a backup was restored.

Held rows are queued and have no lane, so nothing claims them.
"""

# ruff: noqa: S608 (what is put into SQL here are constants of this module, never a value)

from __future__ import annotations

import json
import sqlite3
from typing import Literal

from gateway.message import State
from gateway.store import clock, events, lanes, transitions
from gateway.store.model import Released
from gateway.store.queue import queued_after

Hold = Literal["restored", "other_account"]
#: Rows that one transaction of `release` or `sort_queue` changes: 300,000 in one kept others from the lock for 22 s.
BATCH = 250


def sort_queue(conn: sqlite3.Connection, *, session: str, limit: int = BATCH, now: float) -> bool:
    """Go on holding what belongs to another account than the one linked now (or last), and letting go what belongs to it.

    Looks at `limit` queued rows at most, and keeps how far it came in the session's row: any process goes on from there,
    after a crash too. Returns whether the queue is sorted; until then `claims.claim` gives nothing out. What is accepted or
    requeued meanwhile is bound to the right account from the start.
    """
    row = conn.execute(
        "SELECT ifnull(account, last_account) AS account, first_account, queue_sorted_for, queue_sorted_to FROM session WHERE name = ?",
        (session,),
    ).fetchone()
    if row is None or row["account"] is None or row["account"] == row["queue_sorted_for"]:
        return True
    place = (session, *json.loads(row["queue_sorted_to"] or "[-1, 0.0, 0]"))
    seen = queued_after(conn, "id, recipient, scheduled, ord, hold, account", place, limit)
    unbound = [r["id"] for r in seen if r["account"] is None]
    conn.execute(f"UPDATE outbox SET account = ? WHERE {_AMONG}", (row["first_account"], json.dumps(unbound)))
    stamp = clock.now(conn, session, now)
    mine = {r["id"]: (r["account"] or row["first_account"]) == row["account"] for r in seen}
    held = [r for r in seen if r["hold"] is None and not mine[r["id"]]]
    freed = [r for r in seen if r["hold"] == "other_account" and mine[r["id"]]]
    for kind, hold, changed in (("message.held", "other_account", held), ("message.released", None, freed)):
        ids = [r["id"] for r in changed]
        conn.execute(f"UPDATE outbox SET hold = ? WHERE {_AMONG}", (hold, json.dumps(ids)))
        events.append_many(conn, kind=kind, rows=[(session, id) for id in ids], data={"hold": "other_account"}, now=stamp)
    lanes.recompute_many(conn, [(session, r["recipient"]) for r in held + freed])
    done = len(seen) < limit
    to = None if done else json.dumps([seen[-1]["scheduled"], seen[-1]["ord"], seen[-1]["id"]])
    conn.execute(
        "UPDATE session SET queue_sorted_to = ?, queue_sorted_for = ? WHERE name = ?", (to, row["account"] if done else None, session)
    )
    return done


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
        now=clock.now(conn, session, now),
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
