"""A database that an older program wrote, opened by this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from store_rig import Rig

from gateway.message import NotSent
from gateway.message import State as M
from gateway.store import database, intake, maintenance, outbox
from gateway.store.errors import IdempotencyConflict
from gateway.store.migrations import ONE_SCOPE, STEPS
from gateway.store.model import Draft


def as_an_older_program_left_it(path: Path, before: int, monkeypatch: Any) -> None:
    """Take the database back to that schema: its tables and columns, with what today's rows have of them."""
    today = path.rename(path.with_name("today.db"))
    with monkeypatch.context() as older:
        older.setattr(database, "STEPS", STEPS[:before])
        conn = database.open_database(path)
    conn.execute("PRAGMA foreign_keys = OFF")
    conn.execute("ATTACH ? AS today", (str(today),))
    names = [r[0] for r in conn.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\'")]
    for table in names:
        columns = [f'"{r["name"]}"' for r in conn.execute(f"PRAGMA main.table_info({table})")]
        conn.execute(f"DELETE FROM main.{table}")
        conn.execute(f"INSERT INTO main.{table} SELECT {', '.join(columns)} FROM today.{table}")
    conn.close()


@pytest.mark.parametrize("before", range(1, len(STEPS)))
def test_what_waited_and_what_was_in_flight_goes_on_after_the_upgrade(tmp_path: Path, monkeypatch: Any, before: int) -> None:
    rig = Rig(tmp_path)
    gone, first, second = rig.accept("490@c.us", "491@c.us", "491@c.us")
    rig.do(outbox.cancel, id=gone, now=rig.now)
    rig.resolve()
    claim = rig.claimed()
    assert claim.message == first
    rig.nack(claim.key.hex, NotSent("nack_500"), delay=0)
    assert rig.claimed().message == first
    other, last = rig.accept("492@c.us", "499@c.us")
    rig.resolve()
    rig.do(outbox.cancel, id=last, now=rig.now)
    rig.do(maintenance.prune, now=rig.now + 40 * 86_400)
    rig.conn.close()
    as_an_older_program_left_it(rig.path, before, monkeypatch)
    rig.conn = database.open_database(rig.path)
    assert database.version(rig.conn) == len(STEPS)
    assert rig.conn.execute("PRAGMA foreign_key_check").fetchall() == [] and rig.conn.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    assert [m.id for m in outbox.list_(rig.conn, recipient="491@c.us").messages] == [second, first]
    assert rig.claimed().message == other, "the first message's chat is still busy"
    assert rig.claim() is None
    assert [a.number for a in rig.get(first).attempts] == [1, 2]
    rig.ack(claim.key.hex)  # the id that it had first: the nack was wrong
    assert rig.get(first).state is M.SENT and rig.claimed().message == second
    assert rig.conn.execute("SELECT max(id) FROM outbox").fetchone()[0] == 4
    assert rig.get(*rig.accept("493@c.us")).rowid == 6, "a number that was given once is never given again"
    assert rig.conn.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_a_chats_head_and_what_is_busy_in_it_are_one_seek(tmp_path: Path) -> None:
    """By the plans: however many rows a chat has had, and however many of them are held."""
    rig = Rig(tmp_path)
    rig.accept("491@c.us")
    rig.resolve()
    asked: list[str] = []
    rig.conn.set_trace_callback(asked.append)
    rig.accept("491@c.us", "492@c.us")
    drafts = [Draft("default", "493@c.us", "text", {"body": "x"})]
    rig.do(intake.accept_all, requests=[intake.Request(drafts, "s", None, b"")], now=rig.now, queue_limit=9)
    rig.claimed()
    rig.conn.set_trace_callback(None)
    asked = [query for query in asked if "INTO lane" in query]
    assert any("json_each" in query for query in asked) and not all("json_each" in query for query in asked)
    for query in asked:
        plan = [row["detail"] for row in rig.conn.execute(f"EXPLAIN QUERY PLAN {query}")]
        assert any("outbox_chat (recipient=? AND state=? AND hold=?" in step for step in plan), plan
        assert not [step for step in plan if "TEMP B-TREE" in step or step.startswith("SCAN o")], plan


def test_idempotency_keys_of_former_scopes_are_still_recognised(tmp_path: Path, monkeypatch: Any) -> None:
    rig = Rig(tmp_path)

    def accepted(key: str, scope: str, text: str = "x") -> str:
        draft = Draft("default", "491@c.us", "text", {"body": text})
        taken = rig.do(outbox.accept, drafts=[draft], scope=scope, key=key, fingerprint=text.encode(), now=rig.now, queue_limit=99)
        return str(taken.ids[0])

    before_any_key, under_a_key = accepted("order-1", "local"), accepted("order-2", "key-0123456789abcdef")
    accepted("order-3", "local")
    under_both = accepted("order-3", "key-0123456789abcdef")
    accepted("order-4", "local", "first")
    other_body = accepted("order-4", "key-0123456789abcdef", "second")
    rig.conn.close()
    as_an_older_program_left_it(rig.path, STEPS.index(ONE_SCOPE), monkeypatch)
    rig.conn = database.open_database(rig.path)
    for key, text, id in (
        ("order-1", "x", before_any_key), ("order-2", "x", under_a_key), ("order-3", "x", under_both), ("order-4", "second", other_body)
    ):  # fmt: skip
        found = outbox.repeated(rig.conn, scope="gateway", key=key, fingerprint=text.encode())
        assert found is not None and found.ids == [id], key
    with pytest.raises(IdempotencyConflict):
        outbox.repeated(rig.conn, scope="gateway", key="order-4", fingerprint=b"first")
    assert rig.conn.execute("PRAGMA foreign_key_check").fetchall() == []
