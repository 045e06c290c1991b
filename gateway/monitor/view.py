"""The monitor as a picture for a terminal: a snapshot and a size in, something that rich can print out. Pure.

Nothing is said by colour alone, so NO_COLOR and a printout lose nothing.
"""

from __future__ import annotations

from textwrap import wrap
from typing import Any

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from gateway.monitor import words
from gateway.monitor.snapshot import Snapshot

#: Columns from which there is room for two halves side by side.
WIDE = 112
_GOOD, _BAD, _BUSY, _FAINT = "green", "bold red", "bold yellow", "bright_black"
_STATUS = {"succeeded": ("✓", _GOOD), "failed": ("✗", _BAD), "running": ("…", _BUSY), "interrupted": ("–", _FAINT)}
#: Rows of the events that are shown at least, and of a session's complaints at most.
_EVENTS_AT_LEAST, _COMPLAINTS = 2, 5


def view(s: Snapshot, width: int, height: int | None = None) -> RenderableType:
    """The whole picture. With a `height` it has that many rows at most: events fill what the rest leaves."""
    half = (width - 2) // 2 if width >= WIDE else width
    top = [_title(s, width), *_verdict(s, width)]
    left = [*_sessions(s, half), *_queue(s), *_processes(s)]
    if width >= WIDE:
        room = None if height is None else height - _rows(top) - 1
        pair = Table.grid(padding=0, expand=True)
        pair.add_column(width=width - 2 - half)
        pair.add_column(width=2)
        pair.add_column(width=half)
        recoveries = _recoveries(s, None)
        pair.add_row(Group(*left), "", Group(*recoveries, *_events(s, None if room is None else room - _rows(recoveries))))
        return Group(*top, pair)
    room = None if height is None else height - _rows(top) - _rows(left)
    recoveries = _recoveries(s, None if room is None else room - _EVENTS_AT_LEAST - 1)
    return Group(*top, *left, *recoveries, *_events(s, None if room is None else room - _rows(recoveries)))


def _rows(parts: list[RenderableType]) -> int:
    return sum(part.row_count if isinstance(part, Table) else 1 for part in parts)


def _fit(text: Text) -> Text:
    """One row, cut with … where the terminal is narrower."""
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _wrapped(sentence: str, width: int) -> list[str]:
    """A sentence under its session, in rows; no command of it is broken at a dash."""
    return wrap(sentence, width - 2, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def _grid(*widths: int | None) -> Table:
    """Columns of these widths; the last takes what is left. One row stays one row."""
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    for width in widths:
        grid.add_column(width=width, no_wrap=True, overflow="ellipsis", ratio=1 if width is None else None)
    return grid


def _section(name: str, note: str = "") -> Rule:
    title = Text(name, style="bold")
    if note:
        title.append(f"  {note}", style=_FAINT)
    return Rule(title, align="left", style=_FAINT)


def _title(s: Snapshot, width: int) -> Text:
    h = s.health
    text = Text("whatsapp-gateway", style="bold")
    if h["version"]:
        text.append(f" {h['version']}", style=_FAINT)
    text.append(f"   {s.address}", style=_FAINT)
    if h["uptime_seconds"] is not None:
        text.append(f"   up {words.duration(h['uptime_seconds'])}", style=_FAINT)
    now = words.clock(s.at)
    text.append(f"{now:>{max(len(now) + 2, width - len(text.plain))}}")
    return _fit(text)


def _verdict(s: Snapshot, width: int) -> list[RenderableType]:
    word = words.verdict(s)
    style = {"Healthy": "bold white on dark_green", "Recovering": "bold black on yellow"}.get(word, "bold white on red")
    said = words.because(s)
    first = Text.assemble((f" {word.upper()} ", style), "  ", said[0] if said and not s.problem else "")
    rest = said if s.problem else said[1:]
    if s.problem:
        rest = [*rest, "Below: what its processes' own signs of life tell, and what the API said last."]
    return [_fit(first), *(_fit(Text(row)) for why in rest for row in wrap(why, width))]


def _sessions(s: Snapshot, width: int) -> list[RenderableType]:
    parts: list[RenderableType] = [_section("Sessions")]
    for session in s.health["sessions"]:
        grid = _grid(12, 11, None)
        mark, style = ("healthy", _GOOD) if session["healthy"] else ("not healthy", _BAD)
        account = f" as {session['account'].split('@')[0]}" if session.get("account") else ""
        grid.add_row(session["name"], Text(mark, style=style), words.standing(session, s.at) + account)
        rows = [row for why in words.complaints(session) for row in _wrapped(why, width)]
        parts += [grid, *(_fit(Text(row, style="yellow")) for row in rows[:_COMPLAINTS])]
    return parts if s.health["sessions"] else [*parts, Text("none", style=_FAINT)]


def _queue(s: Snapshot) -> list[RenderableType]:
    q = s.queue
    if q is None:
        return [_section("Queue"), Text("unknown", style=_FAINT)]
    notes = [f"as of {words.clock(s.known_at)}"] if s.problem is not None and s.known_at is not None else []
    if q["oldest_age_seconds"] is not None:
        notes.append(f"the oldest waits for {words.duration(q['oldest_age_seconds'])}")
    counts = q["counts"]
    held = sum(q["held"].values())
    now = Text.assemble((str(q["message_queue_length"]), "bold"), " waiting", f" ({held} held)" if held else "")
    now.append(f", {q['in_flight']} in flight")
    if q["unconfirmed"]:
        now.append(f", {q['unconfirmed']} unconfirmed", style=_BUSY)
    ends = Text(style=_FAINT)
    for word in ("sent", "delivered", "read", "played", "failed", "cancelled", "expired"):
        if counts.get(word):
            ends.append(f"{counts[word]} {word}   ", style=_BAD if word == "failed" else "")
    grid = _grid(12, None)
    grid.add_row("now", now)
    grid.add_row("head", Text(words.head(q), style=_BUSY if q["head_of_line"]["reason"] not in (None, "rate_limited", "in_flight") else ""))
    if q["message_queue_length"]:
        grid.add_row("empty", words.drain(q))
    grid.add_row("5 min rate", words.rate(q, s.at))
    grid.add_row("so far", ends if ends.plain else Text("nothing yet", style=_FAINT))
    return [_section("Queue", ", ".join(notes)), grid]


def _processes(s: Snapshot) -> list[RenderableType]:
    grid = _grid(16, 10, 7, 11, None)
    for p in s.health["processes"]:
        grid.add_row(
            p["name"],
            Text(words.process_state(p, s.health["sessions"]), style=_GOOD if p["state"] == "running" else _BAD),
            Text(str(p["pid"] or "–"), style=_FAINT),
            words.duration(p["uptime_seconds"]),
            words.size(p["memory_bytes"]),
        )
    return [_section("Processes", "state, pid, up for, memory"), grid]


def _recoveries(s: Snapshot, room: int | None) -> list[RenderableType]:
    """`room`: rows that they may take with their title."""
    if not s.recoveries:
        return [_section("Recoveries"), Text("unknown" if s.known_at is None else "none so far", style=_FAINT)]
    shown = s.recoveries if room is None else s.recoveries[: max(1, room - 1)]
    grid = _grid(8, 1, 8, None)
    for r in shown:
        mark, style = _STATUS[r["status"]]
        what = Text(words.plain(r["cause"]))
        if r["rungs"]:
            what.append(f" → {words.rungs(r)}", style=_FAINT)
        grid.add_row(words.clock_of(r["started_at"]), Text(mark, style=style), words.took(r, s.at), what)
    return [_section("Recoveries", f"{s.recoveries[0]['id']} in all" if len(s.recoveries) < s.recoveries[0]["id"] else ""), grid]


def _events(s: Snapshot, room: int | None) -> list[RenderableType]:
    """The newest last, as in a log; `room`: rows that they may take with their title."""
    number = len(s.events) if room is None else max(0, room - 1)
    shown = s.events[-number:] if number else []
    grid = _grid(8, max((len(event["type"]) for event in shown), default=0), None)
    for event in shown:
        grid.add_row(Text(words.clock_of(event["at"]), style=_FAINT), event["type"], Text(about(event), style=_FAINT))
    return [_section("Events"), grid if shown else Text("unknown" if s.known_at is None else "none of late", style=_FAINT)]


def about(event: dict[str, Any]) -> str:
    """Whom an event concerns, and the word that explains it. Never a recipient, never a text."""
    data = event["data"]
    why = next((words.plain(str(data[name])) for name in ("reason", "cause", "rung", "detail", "code") if data.get(name)), "")
    return "  ".join(part for part in (event["message"] or event["session"], why) if part)
