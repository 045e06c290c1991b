"""What the signs of life say about sessions and processes, as the API shows it. Judges by gateway.session alone."""

from __future__ import annotations

import time
from dataclasses import replace

from gateway import vitals
from gateway.api.answers import ProcessOut, SessionOut
from gateway.beat import boot_time
from gateway.pacing import Use
from gateway.session import complaints, remarks
from gateway.settings import Settings
from gateway.store.sessions import SessionRow
from gateway.vitals import evidence_of


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
    said = complaints(evidence_of(settings, row.name), boot_time(), settings.send_timeout)
    if not said and row.last_health_at is None:
        return ["the watchdog has not checked this session yet"]  # no health before the first check that is shown with it
    return said


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


def processes(settings: Settings, sessions: list[str]) -> list[ProcessOut]:
    """Every process that this gateway should have, with its state."""
    return [
        ProcessOut.model_construct(
            name=v.name,
            state=v.state,
            pid=v.pid,
            beat_age_seconds=None if v.beat_age is None else round(v.beat_age, 3),
            memory_bytes=v.memory,
            uptime_seconds=None if v.uptime is None else round(v.uptime, 2),
        )
        for v in vitals.processes(settings, sessions)
    ]
