"""The monitor's words for times, sizes, reasons and states. Pure."""

from __future__ import annotations

import datetime
from typing import Any

from gateway.monitor.snapshot import Snapshot
from gateway.times import seconds_of

#: Why the first message of the queue waits.
WAITS = {
    "rate_limited": "its turn comes by the pacing",
    "session_not_ready": "the session is not ready",
    "retry_backoff": "it was not sent: tried again",
    "resolving": "its recipient is being looked up",
    "scheduled": "it is scheduled",
    "paused": "the session is paused",
    "account_restricted": "WhatsApp limits the account",
    "other_account": "held: it was accepted for another account",
    "restored": "held: this data came from a backup or a copy",
    "in_flight": "one before it in its chat is under way",
}
#: How the end of that is said, where it is not "until".
_ENDS = {"retry_backoff": "at", "scheduled": "for"}


def clock(at: float) -> str:
    """Local time of day."""
    return datetime.datetime.fromtimestamp(at).strftime("%H:%M:%S")


def clock_of(text: str) -> str:
    return clock(seconds_of(text))


def duration(value: float | None) -> str:
    """A span of time in two units at most: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 7 min`, `3 d 4 h`."""
    if value is None:
        return "–"
    if value < 10:
        return f"{value:.1f} s"
    whole = int(value)
    for unit, size, finer, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {finer}" if rest else "")
    return f"{whole} s"


def size(value: int | None) -> str:
    """Bytes in MB."""
    return "–" if value is None else f"{value / 1e6:.0f} MB"


def plain(word: str | None) -> str:
    """`relaunch_chromium` as people read it."""
    return (word or "–").replace("_", " ")


def verdict(s: Snapshot) -> str:
    """The one line that matters."""
    if s.problem is not None:
        return "The API cannot be asked"
    if s.running:
        return "Recovering"
    return "Healthy" if s.health["status"] == "healthy" else "Not healthy"


def because(s: Snapshot) -> list[str]:
    """What there is to say beside the verdict, a sentence each."""
    said = [s.problem] if s.problem else []
    for r in s.running:
        began = f", for {duration(max(0.0, s.at - seconds_of(r['started_at'])))}" if r.get("started_at") else ""
        said.append(f"{r['session']}: {plain(r['cause'])} → {rungs(r) or 'looking'}{began}")
    if s.problem is None and not s.health["accepting"]:
        said.append(f"no message is accepted: {s.health.get('not_accepting_because') or 'unknown'}")
    return said


def rungs(recovery: dict[str, Any]) -> str:
    """What was tried, in order; a rung tried several times in a row is counted."""
    found: list[tuple[str, int]] = []
    for rung in recovery["rungs"]:
        name = plain(rung["name"])
        found = [*found[:-1], (name, found[-1][1] + 1)] if found and found[-1][0] == name else [*found, (name, 1)]
    return ", ".join(f"{name} ×{times}" if times > 1 else name for name, times in found)


def took(recovery: dict[str, Any], now: float) -> str:
    """How long a recovery took, or has taken so far."""
    end = seconds_of(recovery["ended_at"]) if recovery.get("ended_at") else now
    return duration(max(0.0, end - seconds_of(recovery["started_at"])))


def complaints(session: dict[str, Any]) -> list[str]:
    """Why a session is not healthy, and what its operator should know although it is."""
    said, detail = list(session["complaints"]), session.get("detail")
    if said and detail and " " in detail and detail not in said:  # one word is the cause of a recovery, which is shown as such
        said.append(detail)
    return said + list(session.get("remarks", []))


def process_state(process: dict[str, Any], sessions: list[dict[str, Any]]) -> str:
    """State of a process in a word or two. The Chromium of a session that its operator stopped is stopped, too."""
    state = str(process["state"])
    if state != "unknown":
        return state
    if any(process["name"] == f"chromium-{one['name']}" and one["state"] == "stopped" for one in sessions):
        return "stopped"
    return "never seen"


def standing(session: dict[str, Any], now: float) -> str:
    """State of a session in a few words."""
    words = [plain(session["state"])]
    if session.get("since"):
        words[0] += f" for {duration(max(0.0, now - seconds_of(session['since'])))}"
    if session.get("paused"):
        words.append("paused")
    until = session.get("restricted_until")
    if until and seconds_of(until) > now:
        words.append(f"limited by WhatsApp until {clock_of(until)}")
    return ", ".join(words)


def head(queue: dict[str, Any]) -> str:
    """Why the first message waits."""
    first = queue["head_of_line"]
    if first["reason"] is None:
        return "nothing waits"
    ends = _ENDS.get(first["reason"], "until")
    until = f" {ends} {clock_of(first['until'])}" if first.get("until") else ""
    cap = f" (GATEWAY_{first['cap'].upper()})" if first.get("cap") else ""
    return WAITS.get(first["reason"], plain(first["reason"])) + cap + until


def rate(queue: dict[str, Any], now: float) -> str:
    """How fast messages go out, and when the last one did."""
    last = queue["last_sent_at"]
    return f"{queue['rate_per_second']:.2f}/s" + (f", last sent {duration(max(0.0, now - seconds_of(last)))} ago" if last else "")


def drain(queue: dict[str, Any]) -> str:
    """When a queue that is not empty should be."""
    rest = queue["estimated_drain_seconds"]
    return "no end in sight" if rest is None else f"in about {duration(rest)}"
