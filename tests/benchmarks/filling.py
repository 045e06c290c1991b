"""A store with very many messages: one is accepted as every message is, and then copied by SQLite itself, a million in some seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from store_rig import Rig

from gateway.message import State
from gateway.store import database, lanes, transitions


def open_store(path: Path) -> Rig:
    """A store with one session, linked and ready; the clock of the rig stands."""
    return Rig(path)


def filled(path: Path, fill: Callable[[Rig, int], None], rows: int) -> Rig:
    """A store in a directory of its own below `path`, filled with so many rows, some seconds later."""
    directory = path / str(rows)
    directory.mkdir()
    rig = open_store(directory)
    fill(rig, rows)
    rig.now += 10
    return rig


def add(rig: Rig, count: int, *, chats: int, ahead: float = 0.0, state: State = State.QUEUED, priority: int = 0) -> None:
    """`count` more messages to so many more chats, whose recipients are known and have been written to before.

    `ahead`: seconds until they are due. `state`: other than queued they count as sent and read.
    """
    (model,) = rig.accept("499000000000@c.us", priority=priority, send_at=rig.now + 1 + ahead if ahead else None)
    rig.resolve()
    rig.conn.execute("PRAGMA foreign_keys = OFF")  # what is copied refers to what the model does
    at = {t: _last(rig, t) for t in ("outbox", "recipient")}
    people = {
        "id": f"{at['recipient']} + n.i", "remote": "printf('%d@c.us', 490000000000 + n.i)", "wa_id": "printf('%d', 490000000000 + n.i)",
        "pn": "printf('%d@c.us', 490000000000 + n.i)", "lid": "NULL", "history_at": "1.0",
    }  # fmt: skip
    number = f"{at['outbox']} + n.i"
    rows = {
        "id": number, "public": f"printf('msg_%024x', {number})", "hex": f"printf('3EB0%018X', {number})",
        "recipient": f"{at['recipient']} + 1 + n.i % {chats}", "state": str(int(state)), "key": "NULL",
        "number": str(int(state is not State.QUEUED)), "exposed": str(int(state is not State.QUEUED)),
    }  # fmt: skip
    with database.transaction(rig.conn, float("inf")):
        _copy(rig, "recipient", people, chats, "id = (SELECT recipient FROM outbox WHERE public = ?)", model)
        _copy(rig, "outbox", rows, count, "public = ?", model)
        transitions.count(rig.conn, "default", None, state, count)
        lanes.rebuild(rig.conn)
    rig.conn.execute("PRAGMA foreign_keys = ON")
    rig.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _last(rig: Rig, table: str) -> int:
    return int(rig.conn.execute(f"SELECT max(id) FROM {table}").fetchone()[0])


def _copy(rig: Rig, table: str, changed: dict[str, str], count: int, model: str, *values: str) -> None:
    names = [row["name"] for row in rig.conn.execute(f"PRAGMA table_info({table})")]
    wanted = ", ".join(changed.get(name, f"m.{name}") for name in names)
    rig.conn.execute(
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
        f"INSERT INTO {table}({', '.join(names)}) SELECT {wanted} FROM n, (SELECT * FROM {table} WHERE {model}) m",
        values,
    )
