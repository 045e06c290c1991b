"""Signs of life of this gateway's processes, as their beat files and /proc show them. Needs neither the database nor the API.

The API answers health from it, and the monitor falls back on it while the API is what is down.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gateway import beat
from gateway.beat import SILENT, Beat, boot_time
from gateway.session import FRESH, Evidence
from gateway.settings import Settings
from gateway.slot import Launch, alive, read_launch, started_at

_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Vitals:
    """One process. running: a beat not older than SILENT; silent: an older one; gone: it has ended; unknown: never a sign of life.

    Of Chromium, which writes no beat, its host's round trips speak. Ages are seconds, memory bytes.
    """

    name: str
    state: Literal["running", "silent", "gone", "unknown"] = "unknown"
    pid: int | None = None
    beat_age: float | None = None
    memory: int | None = None
    uptime: float | None = None


def processes(settings: Settings, sessions: list[str]) -> list[Vitals]:
    """Every process that this gateway should have."""
    now = boot_time()
    names = ["api", "watchdog", *(f"browser-{s}" for s in sessions)]
    found = [_python(name, beat.read(settings.beat(name)), now) for name in names]
    return found + [_chromium(f"chromium-{s}", evidence_of(settings, s), read_launch(settings.data.resolve(), s), now) for s in sessions]


def _python(name: str, found: Beat | None, now: float) -> Vitals:
    if found is None:
        return Vitals(name)
    memory, age = resident(found.pid), max(0.0, found.age(now))
    if memory is None:
        return Vitals(name, "gone", found.pid, age)
    return Vitals(name, "running" if age <= SILENT else "silent", found.pid, age, memory, uptime(found.pid, now))


def _chromium(name: str, evidence: Evidence | None, launch: Launch | None, now: float) -> Vitals:
    """Without a host that speaks for it (a session that was stopped), what its launcher recorded in this boot."""
    if evidence is None or evidence.chromium_pid is None:
        if launch is None:
            return Vitals(name)
        if launch.refused or not alive(launch):
            return Vitals(name, "gone", launch.pid)
        return Vitals(name, "silent", launch.pid, uptime=uptime(launch.pid, now))
    pid = evidence.chromium_pid
    age = None if evidence.answered_at is None else max(0.0, now - evidence.answered_at)
    if resident(pid) is None:
        return Vitals(name, "gone", pid, age)
    state: Literal["running", "silent"] = "running" if age is not None and age <= FRESH else "silent"
    return Vitals(name, state, pid, age, evidence.memory_bytes, uptime(pid, now))


def resident(pid: int) -> int | None:
    """Bytes of memory of a process; None if there is none (a zombie is none)."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * _PAGE_SIZE or None


def uptime(pid: int, now: float) -> float | None:
    """Seconds since a process began, `now` by the boot clock; None if there is none."""
    ticks = started_at(pid)
    return None if ticks is None else max(0.0, now - ticks / _TICKS)


def evidence_of(settings: Settings, session: str) -> Evidence | None:
    """The host's evidence, if its beat is no older than SILENT seconds."""
    found = beat.read(settings.beat(f"browser-{session}"))
    return None if found is None or found.age() > SILENT else evidence_in(found)


def evidence_in(found: Beat) -> Evidence | None:
    """What a host's beat carries, however old; None from a host of another version, or one that is still starting."""
    with suppress(KeyError, TypeError, ValueError, AttributeError):
        return Evidence.from_dict(found.facts["evidence"])
    return None


def recovering(settings: Settings) -> dict[str, dict[str, Any]]:
    """Recoveries under way as the watchdog's beat tells them (session → cause, rung): it knows also while the database is stuck."""
    found = beat.read(settings.beat("watchdog"))
    watched = found.facts.get("sessions") if found is not None and found.age() <= SILENT else None
    if not isinstance(watched, dict):
        return {}
    return {name: said for name, said in watched.items() if isinstance(said, dict) and "cause" in said}
