"""After a stop of its own (docker pause, a suspend) neither host nor launcher takes the time that passed for somebody's fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway import beat, slot
from gateway.browser import attendant, lookout, standing
from gateway.browser.attendant import Attendant
from gateway.browser.lookout import Lookout
from gateway.browser.page import Late
from gateway.browser.standing import Standing
from gateway.pacing import Pacer
from gateway.session import ROUND_TRIP, ill
from gateway.settings import Settings
from gateway.store.model import Unacked

SEND_TIMEOUT = 120.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    for module in (beat, slot, attendant, lookout, standing):
        if hasattr(module, "boot_time"):
            monkeypatch.setattr(module, "boot_time", lambda: now[0])
    return now


def a_host() -> Standing:
    return Standing(session="default", epoch=1, since=900.0, pacer=Pacer(0.0))


class Mute:
    """A page that does not answer while the clock goes on by `seconds`."""

    def __init__(self, clock: list[float], seconds: float) -> None:
        self._clock, self.seconds = clock, seconds

    async def probe(self) -> Any:
        self._clock[0] += self.seconds
        raise Late("no answer")


async def test_a_round_trip_is_not_missed_by_a_page_that_stood_still_with_us(tmp_path: Path, clock: list[float]) -> None:
    host = a_host()
    one, page = Attendant(Settings(data=tmp_path), host, None), Mute(clock, 3600.0)  # type: ignore[arg-type]
    assert await one._round(page) is True, "it is asked again at once"  # type: ignore[arg-type]
    assert host.missed == 0
    page.seconds = ROUND_TRIP
    await one._round(page)  # type: ignore[arg-type]
    assert host.missed == 1


class Store:
    """Notes how often it was asked for overdue hand-overs."""

    def __init__(self) -> None:
        self.asked = 0
        self.fence = None

    async def once(self, operation: Any) -> None:
        self.asked += 1


async def test_a_hand_over_has_its_time_anew(tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    host, store = a_host(), Store()
    one = Lookout(Settings(data=tmp_path, send_timeout=SEND_TIMEOUT), host, store, None)  # type: ignore[arg-type]
    handed_over = clock[0] - 10

    async def look(seconds: float) -> bool:
        """Whether overdue hand-overs are asked for, and the session is ill, `seconds` later."""
        clock[0] += seconds
        before = store.asked
        await one._overdue(Unacked(1, handed_over, None, False), clock[0])
        evidence = host.evidence()
        assert ill(evidence, clock[0], SEND_TIMEOUT) is (store.asked == before + 1 and clock[0] - handed_over > SEND_TIMEOUT)
        return store.asked > before

    assert await look(1.0)
    assert not await look(3600.0)
    for _ in range(int(SEND_TIMEOUT)):
        assert not await look(1.0)
    assert await look(1.0), "no ack came in its time: now it is judged"


def test_a_sweep_in_the_middle_of_a_suspend_is_no_sweep_that_failed(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = [[4711], [4711], []]

    def processes(*_: Any) -> list[int]:
        clock[0] += 3600.0
        return seen.pop(0)

    monkeypatch.setattr(slot, "chromium_processes", processes)
    monkeypatch.setattr(slot, "_kill", lambda pids: [])
    assert slot.sweep(tmp_path, "default") == 1
