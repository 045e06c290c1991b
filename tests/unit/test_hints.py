"""What is said, with the command, while the API does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.monitor.hints import about, hint_by, hint_by_program
from gateway.settings import Settings
from gateway.supervision import Program, ProgramState, supervisorctl


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = Settings(data=tmp_path / "a b" / "data")
    found.make_directories()
    return found


def test_the_command_names_the_file_that_this_supervisord_runs_by(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = settings.data.parent
    assert supervisorctl(settings, "status") == f"supervisorctl -c '{settings.data}/supervisor.conf' status"
    (checkout / "supervisor.conf").touch()
    assert supervisorctl(settings, "start", "api") == f"supervisorctl -c '{checkout}/supervisor.conf' start api"
    monkeypatch.chdir(checkout)
    assert supervisorctl(settings, "status") == "supervisorctl -c supervisor.conf status"
    other = Settings(data=checkout / "other")
    assert supervisorctl(other, "status") == "supervisorctl -c other/supervisor.conf status", "the checkout's file is for its `data` alone"


@pytest.mark.parametrize(
    "state, problem, addresses, said",
    [
        (ProgramState.STOPPED, "", [], "start api`"),
        (ProgramState.BACKOFF, "can't find command '/x y/gateway'", [], "supervisord cannot start it: can't find command '/x y/gateway'"),
        (ProgramState.FATAL, "", [], "`gateway logs api` says why"),
        (ProgramState.RUNNING, "", ["127.0.0.1:4000"], "it listens at 127.0.0.1:4000: set GATEWAY_LISTEN to that"),
        (ProgramState.RUNNING, "", ["127.0.0.1:3000", "[::1]:3000"], ""),
        (ProgramState.STARTING, "", [], ""),
    ],
)
def test_by_what_supervisord_says(settings: Settings, state: ProgramState, problem: str, addresses: list[str], said: str) -> None:
    found = hint_by_program(settings, Program("api", state, None, problem=problem), addresses)
    assert said in found and bool(said) == bool(found)


def test_without_supervisord(settings: Settings) -> None:
    assert "supervisord does not answer either. Start it: `gateway up`" in hint_by(settings, None)
    (settings.data.parent / "supervisor.conf").touch()
    assert f"or `supervisord -c '{settings.data.parent}/supervisor.conf'`" in hint_by(settings, None)
    assert "there is no data directory" in hint_by(Settings(data=settings.data / "none"), None)


def test_supervisords_own_lines_about_a_program(tmp_path: Path) -> None:
    log = tmp_path / "supervisord.log"
    assert about(["api"], log, 5) == []
    log.write_text("INFO spawned: 'watchdog'\nINFO spawnerr: can't find command\nINFO gave up: api entered FATAL state\n")
    assert about(["api"], log, 5) == ["INFO spawnerr: can't find command", "INFO gave up: api entered FATAL state"]
    assert about(["api"], log, 1) == ["INFO gave up: api entered FATAL state"]
