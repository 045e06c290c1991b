"""What the beat files say about sessions and processes. Reads small files; judges by gateway.session alone."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from gateway import beat
from gateway.api.answers import ProcessOut, SessionOut
from gateway.beat import SILENT, Beat, boot_time
from gateway.pacing import Use
from gateway.session import FRESH, Evidence, complaints, remarks
from gateway.settings import Settings
from gateway.store.sessions import SessionRow

_PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


def evidence_of(settings: Settings, session: str) -> Evidence | None:
    """The host's evidence, if its beat is no older than SILENT seconds."""
    found = beat.read(settings.beat(f"browser-{session}"))
    return None if found is None or found.age() > SILENT else _evidence(found)


def _evidence(found: Beat) -> Evidence | None:
    try:
        return Evidence.from_dict(found.facts["evidence"])
    except (KeyError, TypeError, ValueError):  # a host of another version, or one that is still starting
        return None


def uses_of(settings: Settings, session: str) -> list[Use]:
    """How the caps of pacing stand, as the session's host says, in wall-clock time; none if it is silent."""
    found, off = evidence_of(settings, session), time.time() - boot_time()
    try:
        uses = [Use.from_dict(one) for one in found.pace] if found else []
    except TypeError:  # a host of another version
        return []
    return [use if use.until is None else replace(use, until=use.until + off) for use in uses]


def why_unhealthy(row: SessionRow, settings: Settings) -> list[str]:
    """Each reason why the session is not healthy now; empty means healthy."""
    if row.desired == "stopped":
        return ["the session is stopped, as its operator wants"]
    return complaints(evidence_of(settings, row.name), boot_time(), settings.send_timeout)


def session_out(row: SessionRow, settings: Settings) -> SessionOut:
    """A session as it is shown."""
    why = why_unhealthy(row, settings)
    return SessionOut(
        name=row.name,
        state=row.state.value,
        since=row.state_since,
        desired=row.desired,
        paused=row.paused,
        healthy=not why,
        complaints=why,
        remarks=[] if row.desired == "stopped" else remarks(evidence_of(settings, row.name), boot_time()),
        account=row.account,
        restricted_until=row.restricted_until,
        last_sent_at=row.last_sent_at,
        detail=row.detail,
    )


def recovering(settings: Settings) -> bool:
    """Whether the watchdog's beat says that a recovery is under way: it knows also while the database is stuck."""
    found = beat.read(settings.beat("watchdog"))
    if found is None or found.age() > SILENT:
        return False
    watched = found.facts.get("sessions")
    return isinstance(watched, dict) and any(isinstance(s, dict) and "cause" in s for s in watched.values())


def processes(settings: Settings, sessions: list[str]) -> list[ProcessOut]:
    """Every process that this gateway should have, with its state."""
    now = boot_time()
    names = ["api", "watchdog", *(f"browser-{s}" for s in sessions)]
    found = [_python(name, beat.read(settings.beat(name)), now) for name in names]
    return found + [_chromium(s, evidence_of(settings, s), now) for s in sessions]


def _python(name: str, found: Beat | None, now: float) -> ProcessOut:
    if found is None:
        return ProcessOut(name=name, state="unknown", pid=None, beat_age_seconds=None, memory_bytes=None)
    memory = resident(found.pid)
    age = max(0.0, found.age(now))
    state = "running" if age <= SILENT else "silent"
    if memory is None:
        state = "gone"
    return ProcessOut.model_construct(name=name, state=state, pid=found.pid, beat_age_seconds=round(age, 3), memory_bytes=memory)


def _chromium(session: str, evidence: Evidence | None, now: float) -> ProcessOut:
    name = f"chromium-{session}"
    if evidence is None or evidence.chromium_pid is None:
        return ProcessOut(name=name, state="unknown", pid=None, beat_age_seconds=None, memory_bytes=None)
    age = None if evidence.answered_at is None else max(0.0, now - evidence.answered_at)
    state = "running" if age is not None and age <= FRESH else "silent"
    if resident(evidence.chromium_pid) is None:
        state = "gone"
    return ProcessOut.model_construct(
        name=name,
        state=state,
        pid=evidence.chromium_pid,
        beat_age_seconds=None if age is None else round(age, 3),
        memory_bytes=evidence.memory_bytes,
    )


def resident(pid: int) -> int | None:
    """Bytes of memory of a process; None if there is none (a zombie is none)."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * _PAGE_SIZE or None
