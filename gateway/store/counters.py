"""Counters and histograms for /metrics, as rows that change in the same transactions as what they count.

So a scrape costs the same with ten messages and ten million, and numbers survive restarts.
"""

# ruff: noqa: S608 (what is put into SQL here are question marks, never a value)

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

#: Upper bounds in seconds. send_seconds spans a fast send to a long outage, handover_seconds one call on the page.
BUCKETS: dict[str, tuple[float, ...]] = {
    "send_seconds": (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400),
    "handover_seconds": (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60, 120),
    "recovery_seconds": (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
}
_TOP = 1e308  # SQLite has no infinity in JSON or in literals


@dataclass(frozen=True, slots=True)
class Counter:
    """One number; names as in INTERFACES, without the prefix."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """`buckets` are (upper bound, cumulative count), the last bound is +Inf; `sum` is in seconds."""

    name: str
    labels: dict[str, str]
    buckets: list[tuple[float, int]]
    sum: float


def bump(conn: sqlite3.Connection, name: str, labels: dict[str, str], by: float = 1) -> None:
    """Add `by`, which may be negative for a gauge."""
    bump_all(conn, labels, {name: by})


def bump_all(conn: sqlite3.Connection, labels: dict[str, str], by: Mapping[str, float]) -> None:
    """Several counters of the same labels, in one statement."""
    text = _text(labels)
    conn.execute(_bump(len(by)), tuple(chain.from_iterable((name, text, value) for name, value in by.items())))


@lru_cache(maxsize=8)
def _bump(count: int) -> str:
    rows = ", ".join(["(?, ?, ?)"] * count)
    return f"INSERT INTO counter(name, labels, value) VALUES {rows} ON CONFLICT(name, labels) DO UPDATE SET value = value + excluded.value"


def observe(conn: sqlite3.Connection, name: str, labels: dict[str, str], seconds: float) -> None:
    """One observation of a histogram in BUCKETS; a negative one (the clock was set back) counts as 0."""
    seconds = max(0.0, seconds)
    bound = next((b for b in BUCKETS[name] if seconds <= b), _TOP)
    conn.execute(
        "INSERT INTO histogram(name, labels, le, count) VALUES (?, ?, ?, 1) ON CONFLICT(name, labels, le) DO UPDATE SET count = count + 1",
        (name, _text(labels), bound),
    )
    bump(conn, f"{name}_sum", labels, seconds)


def value(conn: sqlite3.Connection, name: str, labels: dict[str, str]) -> float:
    """One counter; 0 if nothing was counted."""
    row = conn.execute("SELECT value FROM counter WHERE name = ? AND labels = ?", (name, _text(labels))).fetchone()
    return float(row[0]) if row else 0.0


def empty(name: str, labels: dict[str, str]) -> Histogram:
    """A histogram in which nothing was observed yet."""
    return Histogram(name, labels, [(bound, 0) for bound in (*BUCKETS[name], float("inf"))], 0.0)


def read(conn: sqlite3.Connection) -> tuple[list[Counter], list[Histogram]]:
    """All of them. The sums of histograms are not among the counters."""
    rows = conn.execute("SELECT name, labels, value FROM counter ORDER BY name, labels").fetchall()
    sums = {(r["name"], r["labels"]): float(r["value"]) for r in rows}
    counters = [
        Counter(r["name"], json.loads(r["labels"]), float(r["value"])) for r in rows if r["name"].removesuffix("_sum") not in BUCKETS
    ]
    counts: dict[tuple[str, str], dict[float, int]] = {}
    for r in conn.execute("SELECT name, labels, le, count FROM histogram"):
        counts.setdefault((r["name"], r["labels"]), {})[r["le"]] = r["count"]
    histograms = []
    for (name, labels), found in sorted(counts.items()):
        total, buckets = 0, []
        for bound in (*BUCKETS[name], _TOP):
            total += found.get(bound, 0)
            buckets.append((float("inf") if bound == _TOP else bound, total))
        histograms.append(Histogram(name, json.loads(labels), buckets, sums.get((f"{name}_sum", labels), 0.0)))
    return counters, histograms


def _text(labels: dict[str, str]) -> str:
    return json.dumps(labels, sort_keys=True, separators=(",", ":"))
