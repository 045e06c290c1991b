"""What the killer remembers, and whom it spares."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from gateway import beat
from gateway.settings import Settings
from gateway.supervision import Program, ProgramState
from gateway.watchdog import killer as module
from gateway.watchdog.killer import AFTER_HOLDER, Killer


class Supervisord:
    """Kills nobody, and notes whom it was to kill."""

    def __init__(self) -> None:
        self.killed: list[str] = []

    async def kill(self, name: str, pid: int) -> bool:
        self.killed.append(name)
        return True


class Scene:
    def __init__(self, data: Path) -> None:
        self.settings = Settings(data=data)
        self.settings.make_directories()
        self.supervisord = Supervisord()
        self.killer = Killer(self.settings, self.supervisord)  # type: ignore[arg-type]

    def silent(self, name: str, since: float = 5.0) -> Program:
        """A program that never beat."""
        return Program(name, ProgramState.RUNNING, os.getpid(), since)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


async def test_a_number_that_was_given_away_again_is_another_process(scene: Scene) -> None:
    first, second = scene.silent("browser-default", 5.0), scene.silent("browser-default", 9.0)
    assert not scene.killer.has_killed(first)
    await scene.killer.kill(first)
    assert scene.killer.has_killed(first) and not scene.killer.has_killed(second)


async def test_it_remembers_one_process_of_each_program(scene: Scene) -> None:
    for since in range(1000):
        await scene.killer.kill(scene.silent("browser-default", float(since)))
    assert len(scene.killer._killed) == 1


async def test_after_a_stop_of_our_own_between_the_lock_holder_and_its_victim_the_victim_is_spared(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(module, "boot_time", lambda: now[0])
    monkeypatch.setattr(beat, "boot_time", lambda: now[0])
    monkeypatch.setattr(module, "write_lock_holder", lambda database: os.getpid())

    def slept(seconds: float) -> Any:
        now[0] += seconds + stopped
        return real(0)

    real = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", slept)
    scene.killer.programs = {"api": scene.silent("api")}
    stopped = 3600.0
    assert not await scene.killer.kill(scene.silent("browser-default"))
    assert scene.supervisord.killed == ["api"]
    stopped = 0.0
    assert await scene.killer.kill(scene.silent("browser-default"))
    assert scene.supervisord.killed == ["api", "api", "browser-default"]
    assert now[0] == 1000.0 + 2 * AFTER_HOLDER + 3600.0
