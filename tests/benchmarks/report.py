"""What benchmarks give: rows with their limits, and curves; as a table for the terminal and as a page."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.table import Table


@dataclass(frozen=True)
class Limit:
    """`floor` has to be kept, `goal` is wanted; `most`: the value may be at most that, else it has to be at least that."""

    floor: float
    goal: float | None = None
    most: bool = False

    def keeps(self, value: float, bound: float) -> bool:
        return value <= bound if self.most else value >= bound

    def verdict(self, value: float) -> str:
        if not self.keeps(value, self.floor):
            return "missed"
        return "kept" if self.goal is None or self.keeps(value, self.goal) else "floor"

    def __str__(self) -> str:
        sign = "≤" if self.most else "≥"
        return f"{sign} {self.floor:g}" + (f" / {self.goal:g}" if self.goal is not None else "")


@dataclass(frozen=True)
class Row:
    """One result. `value` is judged, `unit` is its unit, `detail` says what it is made of; no `limit`: it is only reported."""

    name: str
    value: float | None
    unit: str
    detail: str
    limit: Limit | None = None

    @property
    def verdict(self) -> str:
        """kept, floor (the floor, not the goal), missed, or nothing."""
        return self.limit.verdict(self.value) if self.limit is not None and self.value is not None else ""

    @property
    def shown(self) -> str:
        if self.value is None:
            return "not measured"
        return f"{self.value:,.0f} {self.unit}" if self.value >= 100 else f"{self.value:.3g} {self.unit}"


@dataclass(frozen=True)
class Curve:
    """Points (x, y) for the picture `chart`; `band`, where there is one, are the y of a second line above it."""

    chart: str
    name: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float]] = field(default=())


def ratio(name: str, ours: Sequence[float], theirs: Sequence[float], detail: str, limit: Limit | None) -> Row:
    """A ratio of pairs that were measured one after the other, so that whatever else ran hit both: the median, with its spread."""
    found = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    return Row(name, statistics.median(found), "×", f"{detail}; {found[0]:.2f} to {found[-1]:.2f} in {len(found)} pairs", limit)


def grouped(values: Sequence[float], groups: int = 10) -> list[float]:
    """Medians of so many groups of neighbours: what takes microseconds is too short to be divided one by one."""
    size = max(1, len(values) // groups)
    return [statistics.median(values[at : at + size]) for at in range(0, len(values), size)]


_COLOURS = {"kept": "green", "floor": "yellow", "missed": "bold red", "": ""}
_WORDS = {"kept": "kept", "floor": "floor kept, goal not", "missed": "missed", "": ""}


def table(rows: Iterable[Row], judged: bool = True) -> Table:
    """For the terminal; `judged`: with verdicts."""
    made = Table("what", "measured", "floor / goal", "", "how", title="Benchmarks", title_justify="left")
    for row in rows:
        verdict = row.verdict if judged else ""
        made.add_row(row.name, row.shown, str(row.limit or ""), _WORDS[verdict], row.detail, style=_COLOURS[verdict])
    return made


def markdown(rows: Iterable[Row]) -> str:
    """For the page."""
    lines = ["| what | measured | floor / goal | | how |", "|---|---|---|---|---|"]
    lines += [f"| {r.name} | **{r.shown}** | {r.limit or ''} | {_WORDS[r.verdict]} | {r.detail} |" for r in rows]
    return "\n".join(lines)
