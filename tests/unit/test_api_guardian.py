"""When the API kills the watchdog."""

import os
from pathlib import Path
from typing import Any

import pytest

from gateway import beat
from gateway.api import guardian
from gateway.api.guardian import SILENCE, Guardian, must_die
from gateway.beat import Beat
from gateway.settings import Settings
from gateway.supervision import Program, ProgramState

NOW = 1000.0


def program(pid: int | None = 7, age: float = 100.0) -> Program:
    return Program("watchdog", ProgramState.RUNNING if pid else ProgramState.STOPPED, pid, NOW - age if pid else None)


@pytest.mark.parametrize(
    ("beat", "of", "dies"),
    [
        (Beat(7, NOW - 1, {}), program(), False),
        (Beat(7, NOW - SILENCE, {}), program(), False),
        (Beat(7, NOW - SILENCE - 0.1, {}), program(), True),
        (None, program(), True),
        (Beat(6, NOW - 1, {}), program(), True),  # its predecessor's beat: it never beat itself
        (Beat(6, NOW - 60, {}), program(age=5), False),  # it has just been started
        (None, program(age=SILENCE), False),
        (Beat(7, NOW - 60, {}), program(pid=None), False),  # stopped: the operator's will
    ],
)
def test_silent_for_15_seconds_and_no_sooner(beat: Beat | None, of: Program, dies: bool) -> None:
    assert must_die(beat, of, NOW) is dies


class Scene:
    """A guardian with a clock of its own, and a supervisord whose answer takes `takes` seconds."""

    def __init__(self, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.takes = 1000.0, 0.0
        self.killed: list[int] = []
        self.settings = Settings(data=data)
        self.settings.make_directories()
        for module in (guardian, beat):
            monkeypatch.setattr(module, "boot_time", lambda: self.now)
        self.heart = beat.Heart(self.settings.beat("watchdog"))
        self.guardian = Guardian(self.settings, self)  # type: ignore[arg-type]

    async def program(self, name: str) -> Program:
        self.now += self.takes
        return Program(name, ProgramState.RUNNING, os.getpid(), 0.0)

    async def kill(self, name: str, pid: int) -> bool:
        self.killed.append(pid)
        return True

    async def look(self, seconds: float, *, beats: bool = True, gap: float = 0.0) -> None:
        """Look each second for as long, after `gap` seconds of standing still."""
        self.now += gap
        for _ in range(int(seconds)):
            if beats:
                self.heart.beat()
            await self.guardian.look()
            self.now += 1.0


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    one = Scene(tmp_path, monkeypatch)
    yield one
    one.heart.close()


async def test_a_watchdog_that_is_silent_while_we_run_is_killed(scene: Scene) -> None:
    await scene.look(5)
    await scene.look(SILENCE + 2, beats=False)
    assert scene.killed[:1] == [os.getpid()]


async def test_after_a_stop_of_all_nobody_is_killed_and_the_watchdog_has_its_time_anew(scene: Scene) -> None:
    await scene.look(5)
    await scene.look(SILENCE, beats=False, gap=3600)  # a machine that is slow to wake
    assert scene.killed == []
    await scene.look(20)
    assert scene.killed == []
    await scene.look(2, beats=False, gap=3600)
    await scene.look(SILENCE + 2, beats=False)
    assert scene.killed, "one that never beats again is killed all the same"


async def test_a_stop_while_supervisord_is_asked_makes_nobody_silent(scene: Scene) -> None:
    await scene.look(5)
    await scene.look(SILENCE, beats=False)
    scene.takes = 3600.0  # suspended between the question and its answer
    await scene.look(1, beats=False)
    assert scene.killed == []
    scene.takes = 0.0
    await scene.look(20)
    assert scene.killed == []
