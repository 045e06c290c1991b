"""docs/benchmarks.md and its pictures, written from what was measured."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from chart import picture
from report import Curve, Row, markdown

#: The modules whose docstrings say what is measured, in the order of the table.
MODULES = ("accepting", "slow_disk", "claiming", "growing", "scraping", "resting", "handing_over", "sending", "recovering")
#: file → (alternative text, panels: (title, name of x, unit of y, name of the chart))
PICTURES = {
    "benchmarks-accepts.svg": (
        "Accepts a second and their latency over the number of connections",
        [
            ("Durable accepts a second", "connections", "a second", "accepts"),
            ("From request to 202: p50, and p99 (dashed)", "connections", "ms", "latency"),
        ],
    ),
    "benchmarks-claims.svg": (
        "The cost of a claim over the number of rows in the store",
        [("A claim does not grow with what lies in the store", "rows", "µs", "claims")],
    ),
}
HEAD = """# Benchmarks

Written by `make bench`; do not edit. A floor has to be kept, a goal is wanted. Where there is a peer, both were asked in turns in one
run, and the figure is the median of their ratios.
"""


def write(directory: Path, machine: dict[str, str], rows: Sequence[Row], curves: Sequence[Curve]) -> None:
    """benchmarks.md and those pictures for which there are curves."""
    directory.mkdir(parents=True, exist_ok=True)
    parts = [HEAD, *(f"- {name}: {value}" for name, value in machine.items()), "", markdown(rows), ""]
    for file, (text, panels) in PICTURES.items():
        drawn = [(title, x, unit, [c for c in curves if c.chart == chart]) for title, x, unit, chart in panels]
        if all(found for *_, found in drawn):
            (directory / file).write_text(picture(drawn))
            parts += [f"![{text}]({file})", ""]
    parts += ["## What is measured, and against what", ""]
    for name in MODULES:
        title, _, rest = (importlib.import_module(name).__doc__ or "").strip().partition(": ")
        parts += [f"**{title}.** {rest[:1].upper()}{rest[1:]}", ""]
    (directory / "benchmarks.md").write_text("\n".join(parts).rstrip() + "\n")
