"""Sessions, commands, recoveries and counters."""

from __future__ import annotations

import pytest
from store_rig import ME, Rig
from structlog.testing import capture_logs

from gateway.session import State as S
from gateway.store import commands, counters, events, recoveries, sessions
from gateway.store.errors import AlreadyRunning, Fenced, NotFound


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


def kinds(rig, family):
    return [e.kind for e in events.after(rig.conn, 0, 999, kinds=[family])]


def test_each_host_raises_the_epoch_and_fences_its_predecessor_off(rig):
    old = rig.fence
    new = rig.do(sessions.attach_host, name="default", now=rig.now)
    assert new.epoch == old.epoch + 1
    sessions.check(rig.conn, new)
    with pytest.raises(Fenced):
        sessions.check(rig.conn, old)
    with pytest.raises(Fenced):
        sessions.check(rig.conn, sessions.Fence("nowhere", 1))


def test_a_state_that_may_not_follow_is_refused_and_one_that_is_there_already_is_no_event(rig):
    rig.do(sessions.force_state, name="default", state=S.STOPPED, now=rig.now)
    before = kinds(rig, "session")
    with capture_logs() as logs:
        assert not rig.do(sessions.set_state, rig.fence, state=S.READY, now=rig.now)
    assert kinds(rig, "session") == before
    assert [(one["log_level"], one["old"], one["refused"]) for one in logs] == [("error", "stopped", "ready")]
    labels = {"session": "default", "from": "stopped", "to": "ready"}
    assert counters.value(rig.conn, "session_transitions_refused_total", labels) == 1
    for state in (S.STARTING, S.READY):
        rig.do(sessions.set_state, rig.fence, state=state, now=rig.now)
    before = kinds(rig, "session")
    assert not rig.do(sessions.set_state, rig.fence, state=S.READY, detail="still", now=rig.now)
    assert kinds(rig, "session") == before
    assert sessions.get(rig.conn, "default").detail == "still"
    assert rig.do(sessions.force_state, name="default", state=S.RECOVERING, now=rig.now)
    assert kinds(rig, "session")[-1] == "session.recovering"
    with pytest.raises(NotFound):
        rig.do(sessions.force_state, name="nowhere", state=S.STOPPED, now=rig.now)


def test_a_session_remembers_who_was_linked_last(rig):
    rig.do(sessions.unlinked, rig.fence, now=rig.now)
    rig.do(sessions.unlinked, rig.fence, now=rig.now)
    session = sessions.get(rig.conn, "default")
    assert (session.account, session.last_account) == (None, ME)
    assert kinds(rig, "session").count("session.unlinked") == 1


def test_the_operators_will_is_kept_and_said_once(rig):
    for _ in range(2):
        rig.do(sessions.pause, "default", rig.now)
        rig.do(sessions.set_desired, "default", "stopped", rig.now)
    session = sessions.get(rig.conn, "default")
    assert session.paused and session.desired == "stopped"
    assert kinds(rig, "session")[-2:] == ["session.paused", "session.desired_stopped"]
    with pytest.raises(NotFound):
        rig.do(sessions.pause, "nowhere", rig.now)
    rig.do(sessions.ensure, name="another", now=rig.now)
    assert [s.name for s in sessions.all_(rig.conn)] == ["another", "default"]


def test_healthy_seconds_are_counted_from_one_check_to_the_next(rig):
    def check(healthy, later):
        rig.now += later
        return rig.do(sessions.record_health, session="default", healthy=healthy, complaints=[] if healthy else ["x"], now=rig.now)

    assert check(True, 0)
    assert not check(True, 30)
    assert check(False, 30)
    assert check(True, 30)
    check(True, 10_000)  # nobody looked in between: unknown
    assert counters.value(rig.conn, "session_seconds_total", {"session": "default"}) == 90
    assert counters.value(rig.conn, "session_healthy_seconds_total", {"session": "default"}) == 60
    assert kinds(rig, "session")[-3:] == ["session.healthy", "session.unhealthy", "session.healthy"]
    assert sessions.get(rig.conn, "default").last_health_at == rig.now


def test_a_command_is_taken_once_and_answered_once(rig):
    ask = {"session": "default", "target": "browser", "kind": "qr", "now": rig.now}
    one = rig.do(commands.ask, **ask, args={}, deadline=rig.now + 10)
    two = rig.do(commands.ask, **{**ask, "target": "watchdog", "kind": "recover"}, args={"recovery": 1}, deadline=rig.now + 10)
    assert rig.do(commands.take, target="browser", session="other", now=rig.now) == []
    (taken,) = rig.do(commands.take, target="browser", session="default", now=rig.now)
    assert (taken.id, taken.kind, taken.args) == (one, "qr", {})
    assert rig.do(commands.take, target="browser", session="default", now=rig.now) == []
    assert [c.args for c in rig.do(commands.take, target="watchdog", now=rig.now)] == [{"recovery": 1}]
    assert rig.do(commands.answer, id=one, result={"qr": "2@x"}, now=rig.now)
    assert not rig.do(commands.answer, id=one, error="late", now=rig.now)
    assert commands.get(rig.conn, one).result == {"qr": "2@x"}
    assert commands.get(rig.conn, two).answered_at is None
    assert commands.get(rig.conn, 99) is None


def test_a_command_past_its_deadline_is_not_carried_out(rig):
    id_ = rig.do(commands.ask, session="default", target="browser", kind="logout", args={}, now=rig.now, deadline=rig.now + 1)
    assert rig.do(commands.take, target="browser", session="default", now=rig.now + 2) == []
    assert commands.get(rig.conn, id_).error == "deadline"


def test_a_host_with_a_successor_takes_and_answers_no_command(rig):
    old = rig.fence
    one, two = (
        rig.do(commands.ask, session="default", target="browser", kind="qr", args={}, now=rig.now, deadline=rig.now + 9) for _ in "ab"
    )
    assert len(rig.do(commands.take, target="browser", session="default", fence=old, now=rig.now, limit=1)) == 1
    rig.new_host()
    with pytest.raises(Fenced):
        rig.do(commands.take, target="browser", session="default", fence=old, now=rig.now)
    with pytest.raises(Fenced):
        rig.do(commands.answer, id=one, result={"code": "of a page that is gone"}, fence=old, now=rig.now)
    assert commands.get(rig.conn, one).answered_at is None and commands.get(rig.conn, two).taken_at is None
    (taken,) = rig.do(commands.take, target="browser", session="default", fence=rig.fence, now=rig.now)
    assert taken.id == two and rig.do(commands.answer, id=two, result={}, fence=rig.fence, now=rig.now)


def test_one_recovery_runs_at_a_time_for_each_session(rig):
    start = {"session": "default", "cause": "hung", "strategy": None, "by": "watchdog"}
    id_ = rig.do(recoveries.open_, **start, now=rig.now)
    with pytest.raises(AlreadyRunning) as error:
        rig.do(recoveries.open_, **start, now=rig.now)
    assert error.value.recovery == id_
    rig.do(recoveries.open_, **{**start, "session": "second"}, now=rig.now)
    for rung in ("nudge", "relaunch_chromium"):
        assert rig.do(recoveries.rung, id=id_, rung=rung, now=rig.now)
    assert rig.do(recoveries.close, id=id_, status="succeeded", detail=None, now=rig.now + 2)
    assert not rig.do(recoveries.close, id=id_, status="failed", detail=None, now=rig.now + 3)
    assert not rig.do(recoveries.rung, id=id_, rung="late", now=rig.now)
    found = recoveries.get(rig.conn, id_)
    assert ([r.name for r in found.rungs], found.status) == (["nudge", "relaunch_chromium"], "succeeded")
    labels = {"session": "default", "cause": "hung", "rung": "relaunch_chromium", "result": "succeeded"}
    assert counters.value(rig.conn, "recoveries_total", labels) == 1
    assert recoveries.running(rig.conn, "default") is None
    assert recoveries.running(rig.conn, "second") is not None


def requested(rig, **given):
    """A recovery as the API opens it, with its command; (recovery, command)."""
    id_ = rig.do(recoveries.open_, session="default", cause="requested", strategy=None, by="api", now=rig.now)
    ask = {"session": "default", "target": "watchdog", "kind": "recover", "now": rig.now, "deadline": rig.now + 30} | given
    return id_, rig.do(commands.ask, **ask, args={"recovery": id_, "strategy": None})


def test_whoever_answers_a_recover_command_with_an_error_closes_its_recovery(rig):
    refused, command = requested(rig)
    assert rig.do(commands.answer, id=command, error="no such session", now=rig.now)
    assert (recoveries.get(rig.conn, refused).status, recoveries.get(rig.conn, refused).detail) == ("failed", "not begun: no such session")
    late, command = requested(rig)
    assert rig.do(commands.take, target="watchdog", now=rig.now + 31) == []
    assert "in time" in recoveries.get(rig.conn, late).detail
    alone, command = requested(rig)
    assert rig.do(commands.expire, now=rig.now + 29) == 0
    assert rig.do(commands.expire, now=rig.now + 31) == 1, "no watchdog was there to take it"
    assert (recoveries.get(rig.conn, alone).status, commands.get(rig.conn, command).error) == ("failed", "deadline")
    begun, command = requested(rig)
    assert rig.do(commands.answer, id=command, result={}, now=rig.now)
    assert recoveries.get(rig.conn, begun).status == "running"


def test_a_new_watchdog_closes_what_the_last_one_ran_and_takes_what_still_waits(rig):
    taken, command = requested(rig)
    rig.do(commands.take, target="watchdog", now=rig.now)
    assert rig.do(commands.interrupt, target="watchdog", now=rig.now) == 1
    assert recoveries.get(rig.conn, taken).status == "failed" and commands.get(rig.conn, command).error.startswith("interrupted: ")
    own = rig.do(recoveries.open_, session="other", cause="host_silent", strategy=None, by="watchdog", now=rig.now)
    waits, _ = requested(rig)
    assert rig.do(commands.close_unrun_recoveries, run={own}, detail="x", now=rig.now) == []
    assert rig.do(commands.close_unrun_recoveries, run=(), detail="the watchdog was restarted meanwhile", now=rig.now) == [own]
    assert (recoveries.get(rig.conn, own).status, recoveries.get(rig.conn, waits).status) == ("interrupted", "running")
    assert kinds(rig, "recovery")[-1] == "recovery.interrupted"
    assert [r.id for r in recoveries.list_(rig.conn, session="default")] == [waits, taken]
    assert [r.id for r in recoveries.list_(rig.conn, session="default", before=waits)] == [taken]
