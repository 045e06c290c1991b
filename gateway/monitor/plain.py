"""The monitor as plain lines: for pipes, files, and terminals that cannot be painted on. Pure."""

from __future__ import annotations

from typing import Any

from gateway.monitor import words
from gateway.monitor.snapshot import Snapshot


def lines(s: Snapshot) -> list[str]:
    """Everything worth a line, one fact a line."""
    said = [words.verdict(s) + (": " + "; ".join(because) if (because := words.because(s)) else "")]
    for session in s.health["sessions"]:
        said.append(f"session {session['name']}: {words.standing(session, s.at)}{', healthy' if session['healthy'] else ', not healthy'}")
        said += [f"  {why}" for why in words.complaints(session)]
    if s.queue is None:
        said.append("queue: unknown")
    else:
        said += queue_lines(s.queue, s.at, f" (as of {words.clock(s.known_at)})" if s.known_at is not None and s.known_at != s.at else "")
    for r in s.recoveries:
        what = words.plain(r["cause"]) + (f", {words.rungs(r)}" if r["rungs"] else "")
        said.append(f"recovery {r['id']}: {words.clock_of(r['started_at'])} {what}, {r['status']} in {words.took(r, s.at)}")
    for p in s.health["processes"]:
        pid = f", pid {p['pid']}, up {words.duration(p['uptime_seconds'])}, {words.size(p['memory_bytes'])}" if p["pid"] else ""
        said.append(f"process {p['name']}: {words.process_state(p, s.health['sessions'])}{pid}")
    return said


def queue_lines(q: dict[str, Any], now: float, when: str = "") -> list[str]:
    """The queue, as /api/queue-status tells it."""
    text = f"queue: {q['message_queue_length']} waiting, {q['in_flight']} in flight, {q['unconfirmed']} unconfirmed{when}"
    rate = f"  5 min rate {words.rate(q, now)}"
    if not q["message_queue_length"]:
        return [text, rate]
    oldest = f", the oldest for {words.duration(q['oldest_age_seconds'])}" if q["oldest_age_seconds"] is not None else ""
    return [f"{text}{oldest}", f"  {words.head(q)}", f"{rate}, empty {words.drain(q)}"]


def line(s: Snapshot) -> str:
    """The same in one line, without the time: a watcher prints it when it changes."""
    parts = [words.verdict(s) + "".join(f": {why}" for why in words.because(s))]
    for session in s.health["sessions"]:
        why = "" if session["healthy"] else "".join(f"; {c}" for c in words.complaints(session)[:2])
        parts.append(f"{session['name']} {words.plain(session['state'])}{why}")
    if s.queue is not None and s.problem is None:
        waiting = s.queue["message_queue_length"]
        parts.append(f"queue {waiting}" + (f", {words.head(s.queue)}" if waiting else ""))
    return " | ".join(parts)
