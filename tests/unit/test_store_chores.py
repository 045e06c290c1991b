"""What a host at rest asks once a second: each chore is named while it waits, and no longer."""

from __future__ import annotations

import pytest
from store_rig import Rig

from gateway.message import Rejected
from gateway.store import chores, commands, outbox, sessions
from gateway.store.errors import Fenced


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


def look(rig, **more):
    return chores.look(rig.conn, rig.fence, now=rig.now, **{"new_chats": True, **more})


def waiting(seen):
    return seen.due is not None, seen.unresolved, seen.doubtful, seen.asked


def test_an_empty_store_asks_for_nothing(rig):
    seen = look(rig)
    assert waiting(seen) == (False, False, False, False)
    assert seen.session == sessions.get(rig.conn, "default")
    assert seen.unacked.count == 0


def test_a_message_is_looked_up_then_due_then_doubtful_then_nothing(rig):
    rig.accept("4915550001@c.us")
    assert waiting(look(rig)) == (False, True, False, False)
    rig.resolve()
    seen = look(rig)
    assert waiting(seen) == (True, False, False, False)
    assert seen.due <= rig.now
    claim = rig.claimed()
    seen = look(rig)
    assert waiting(seen) == (False, False, True, False)
    assert seen.unacked.count == 1
    rig.ack(claim.key.hex)
    assert waiting(look(rig)) == (False, False, False, False)


def test_a_scheduled_message_is_named_with_its_time_and_a_rejected_one_not_at_all(rig):
    rig.accept("4915550001@c.us", send_at=rig.now + 100)
    rig.resolve()
    rig.send_one("4915550002@c.us")
    assert look(rig).due == pytest.approx(rig.now + 100, abs=10)
    rig.accept("4915550002@c.us")
    rig.sent_not(rig.claimed(), Rejected("no", "no"))
    assert look(rig).due == pytest.approx(rig.now + 100, abs=10)


def test_a_paused_session_has_nothing_due_until_it_is_resumed(rig):
    rig.accept("4915550001@c.us")
    rig.resolve()
    rig.do(sessions.pause, name="default", now=rig.now)
    assert look(rig).due is None
    assert rig.claim() is None
    rig.do(sessions.resume, name="default", now=rig.now)
    assert look(rig).due is not None


def test_a_new_chat_that_its_cap_holds_back_is_not_due(rig):
    rig.accept("4915550001@c.us")
    rig.resolve()
    assert look(rig, new_chats=False).due is None


def test_a_held_message_is_doubtful_once_its_release_was_asked_for(rig):
    rig.accept("4915550001@c.us")
    rig.do(outbox.hold_restored, now=rig.now)
    assert not look(rig).doubtful
    rig.conn.execute("UPDATE outbox SET asked = 1")
    assert look(rig).doubtful == bool(rig.pending())


def test_a_command_is_named_until_it_is_taken_and_only_to_its_own_host(rig):
    asked = {"session": "default", "kind": "qr", "args": {}, "now": rig.now, "deadline": rig.now + 5}
    rig.do(commands.ask, target="watchdog", **asked)
    assert not look(rig).asked
    rig.do(commands.ask, target="browser", **asked)
    assert look(rig).asked
    rig.do(commands.take, target="browser", session="default", now=rig.now)
    assert not look(rig).asked


def test_a_host_with_a_successor_is_told_by_its_look(rig):
    old = rig.fence
    rig.new_host()
    with pytest.raises(Fenced):
        chores.look(rig.conn, old, now=rig.now, new_chats=True)
