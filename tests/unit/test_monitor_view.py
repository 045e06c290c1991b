"""The monitor's picture and lines, from snapshots: at 80×24, without colours, and whatever is broken."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from gateway.monitor import plain, words
from gateway.monitor.look import process
from gateway.monitor.snapshot import Snapshot
from gateway.monitor.view import about, view
from gateway.supervision import Program, ProgramState
from gateway.times import rfc3339
from gateway.vitals import Vitals

NOW = 1_800_000_000.0
COMPLAINT = "the page has not answered a round trip within 5 s"


def recovery(id: int = 1, **change: Any) -> dict[str, Any]:
    tried = [{"name": "reload_page", "at": rfc3339(NOW)}] * 2
    whole = {"id": id, "session": "default", "status": "succeeded", "cause": "page_hung", "rungs": tried, "detail": None}
    return whole | {"started_at": rfc3339(NOW - 3.5), "ended_at": rfc3339(NOW - 1)} | change


def snapshot(
    *, healthy: bool = True, state: str = "ready", complaints: list[str] | None = None, running: list[Any] | None = None, **change: Any
) -> Snapshot:
    processes = [
        {"name": name, "state": "running", "pid": 4711, "uptime_seconds": 7_600.0, "memory_bytes": 66_000_000, "beat_age_seconds": 0.2}
        for name in ("api", "watchdog", "browser-default", "chromium-default")
    ]
    health = {
        "status": "healthy" if healthy else "unhealthy", "session_health": healthy, "version": "1.2.3", "uptime_seconds": 90_061.0,
        "accepting": True, "not_accepting_because": None, "recovery": {"running": running or []}, "processes": processes,
        "sessions": [{
            "name": "default", "state": state, "since": rfc3339(NOW - 60), "healthy": healthy, "complaints": complaints or [],
            "account": "491700000001@c.us", "detail": None, "paused": False, "restricted_until": None,
        }],
    }  # fmt: skip
    queue = {
        "message_queue_length": 3, "in_flight": 1, "unconfirmed": 0, "held": {"restored": 2}, "oldest_age_seconds": 65.0,
        "counts": {"sent": 4, "failed": 1}, "rate_per_second": 0.5, "estimated_drain_seconds": 6.0, "last_sent_at": rfc3339(NOW - 2),
        "head_of_line": {"id": "msg_1", "reason": "retry_backoff", "until": rfc3339(NOW + 5)},
    }  # fmt: skip
    event = {"at": rfc3339(NOW), "type": "session.awaiting_passkey", "session": "default", "message": None, "data": {"cause": "some_cause"}}
    events = [{"id": n, **event} for n in range(20)]
    whole: dict[str, Any] = {
        "at": NOW, "address": "http://127.0.0.1:3000", "health": health, "queue": queue, "known_at": NOW,
        "recoveries": [recovery(9 - n) for n in range(5)], "events": events,
    }  # fmt: skip
    return Snapshot(**whole | change)


def drawn(s: Snapshot, width: int = 80, height: int | None = 24) -> list[str]:
    console = Console(width=width, file=io.StringIO(), highlight=False)
    console.print(view(s, width, height))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width, height", [(80, 24), (112, 24), (120, 30), (200, 50), (60, 24)])
@pytest.mark.parametrize("ill", [False, True])
def test_it_fits_the_terminal(width: int, height: int, ill: bool) -> None:
    s = snapshot(healthy=False, complaints=[COMPLAINT * 3] * 9) if ill else snapshot()
    shown = drawn(s, width, height)
    assert len(shown) <= height
    assert all(len(line) <= width for line in shown)
    assert "Events" in "".join(shown)


def test_what_it_shows_when_all_is_well() -> None:
    shown = "\n".join(drawn(snapshot(), height=None))
    for text in (
        "HEALTHY", "ready for 1 min as 491700000001", "3 waiting (2 held)", "oldest waits for 1 min 5 s",
        f"it was not sent: tried again at {words.clock(NOW + 5)}", "0.50/s, last sent 2.0 s ago", "in about 6.0 s", "1 failed",
        "2 h 6 min", "66 MB", "page hung → reload page ×2", "2.5 s", "9 in all",
    ):  # fmt: skip
        assert text in shown


def test_side_by_side_cuts_nothing_of_the_queue() -> None:
    assert "…" not in "\n".join(drawn(snapshot(), 120, 30))


def test_why_it_is_not_healthy_is_a_sentence_under_the_session() -> None:
    shown = drawn(snapshot(healthy=False, state="degraded", complaints=[COMPLAINT]))
    assert any("NOT HEALTHY" in line for line in shown)
    assert any(COMPLAINT in line for line in shown)


def test_a_long_sentence_is_wrapped_and_not_cut() -> None:
    told = "no phone is linked yet: scan the code that a very long sentence like this one, longer than the terminal is wide, tells to scan"
    shown = drawn(snapshot(healthy=False, state="awaiting_scan", complaints=[told]))
    assert told in " ".join(" ".join(shown).split())


def test_a_recovery_under_way_is_the_first_thing_to_see() -> None:
    s = snapshot(healthy=False, running=[recovery(status="running", ended_at=None)])
    assert "RECOVERING" in drawn(s)[1] and "page hung → reload page ×2, for 3.5 s" in drawn(s)[1]
    assert plain.lines(s)[0] == "Recovering: default: page hung → reload page ×2, for 3.5 s"


def test_an_api_that_cannot_be_asked_is_said_and_old_facts_carry_their_time() -> None:
    s = snapshot(healthy=False, problem="nobody answers at http://127.0.0.1:3000", known_at=NOW - 30)
    shown = "\n".join(drawn(s, height=None))
    assert "THE API CANNOT BE ASKED" in shown and "nobody answers" in shown
    assert f"as of {words.clock(NOW - 30)}" in shown
    assert "(as of" in "\n".join(plain.lines(s))
    never = snapshot(healthy=False, problem="nobody answers", known_at=None, queue=None, recoveries=[], events=[])
    assert "none so far" not in "\n".join(drawn(never)) and "unknown" in "\n".join(drawn(never))


def test_exit_statuses() -> None:
    assert snapshot().exit_status == 0
    assert snapshot(healthy=False).exit_status == 1
    assert snapshot(problem="nobody answers").exit_status == 2
    assert snapshot(problem="nobody answers").as_dict()["reachable"] is False


def test_a_line_is_the_same_while_nothing_happens() -> None:
    assert plain.line(snapshot()) == plain.line(snapshot(at=NOW + 1, known_at=NOW + 1))
    assert plain.line(snapshot()) != plain.line(snapshot(healthy=False, complaints=[COMPLAINT]))


def test_an_event_tells_neither_recipient_nor_text() -> None:
    event = {"message": "msg_1", "session": "default", "data": {"reason": "outcome_unknown", "to": "491701234567", "body": "a secret"}}
    assert about(event) == "msg_1  outcome unknown"


@pytest.mark.parametrize(
    "value, text",
    [(None, "–"), (0.04, "0.0 s"), (9.94, "9.9 s"), (59.9, "59 s"), (60, "1 min"), (185, "3 min 5 s"), (90_061, "1 d 1 h")],
)
def test_durations(value: float | None, text: str) -> None:
    assert words.duration(value) == text


def test_supervisord_knows_best_who_is_down() -> None:
    seen = Vitals("api", "silent", 12, 30.0, 1_000, 50.0)
    assert process("api", seen, None)["state"] == "silent"
    assert process("api", seen, Program("api", ProgramState.RUNNING, 12, 0.0))["state"] == "silent"
    down = process("api", seen, Program("api", ProgramState.STOPPED, None))
    assert (down["state"], down["pid"], down["memory_bytes"]) == ("stopped", None, None)


@pytest.mark.parametrize("state, said", [("stopped", "stopped"), ("starting", "never seen")])
def test_the_chromium_of_a_stopped_session_is_stopped(state: str, said: str) -> None:
    s = snapshot(healthy=False, state=state)
    s.health["processes"][-1] |= {"state": "unknown", "pid": None, "uptime_seconds": None, "memory_bytes": None}
    assert f"process chromium-default: {said}" in plain.lines(s)
    assert any(line.startswith("chromium-default") and said in line for line in drawn(s))
