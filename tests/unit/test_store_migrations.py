"""A database that an older program wrote, opened by this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from store_rig import Rig

from gateway.message import State as M
from gateway.store import database, intake, outbox
from gateway.store.migrations import STEPS
from gateway.store.model import Draft

#: The oldest schema that today's statements can still write, so that these tests can fill it.
OLDEST = 3


@pytest.mark.parametrize("before", range(OLDEST, len(STEPS)))
def test_what_waited_and_what_was_in_flight_goes_on_after_the_upgrade(tmp_path: Path, monkeypatch: Any, before: int) -> None:
    with monkeypatch.context() as older:
        older.setattr(database, "STEPS", STEPS[:before])
        rig = Rig(tmp_path)
        first, second, other = rig.accept("491@c.us", "491@c.us", "492@c.us")
        rig.resolve()
        assert rig.claimed().message == first
        rig.conn.close()
    rig.conn = database.open_database(rig.path)
    assert database.version(rig.conn) == len(STEPS)
    rig.check()
    assert [m.id for m in outbox.list_(rig.conn, recipient="491@c.us").messages] == [second, first]
    assert rig.claimed().message == other, "the first message's chat is still busy"
    assert rig.claim() is None
    rig.ack(rig.get(first).wa_id.split("_")[2])
    assert rig.get(first).state is M.SENT and rig.claimed().message == second
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
