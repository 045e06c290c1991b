"""`make bench`: run the benchmarks, print their table, write the page and its pictures.

python tests/benchmarks [--quick] [--write DIRECTORY] [NAME …]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
# the rigs that the tests use; before what imports them
sys.path[:0] = [str(HERE.parent / "integration"), str(HERE.parent / "unit")]

import accepting  # noqa: E402
import claiming  # noqa: E402
import growing  # noqa: E402
import page  # noqa: E402
import report  # noqa: E402
import scraping  # noqa: E402
import slow_disk  # noqa: E402
import whole  # noqa: E402
from machine import facts  # noqa: E402
from report import Curve, Row  # noqa: E402
from rich.console import Console  # noqa: E402
from scale import Scale  # noqa: E402

BENCHMARKS: dict[str, Callable[[Scale], Iterator[Row | Curve]]] = {
    "accepting": accepting.measure,
    "slow_disk": slow_disk.measure,
    "claiming": claiming.measure,
    "growing": growing.measure,
    "scraping": scraping.measure,
    "whole": whole.measure,
}


def main() -> int:
    """Returns 1 if a floor was missed (never with --quick: it measures too little to say so)."""
    parser = argparse.ArgumentParser(description="Measure the gateway against its limits and peers.")
    parser.add_argument("--quick", action="store_true", help="only see that all of it runs; its figures mean nothing")
    parser.add_argument("--write", type=Path, metavar="DIRECTORY", help="write benchmarks.md and its pictures there")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these: {', '.join(BENCHMARKS)}")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    console, begun, machine = Console(), time.monotonic(), facts()
    rows: list[Row] = []
    curves: list[Curve] = []
    for name in asked.names or BENCHMARKS:
        console.print(f"[dim]{time.monotonic() - begun:4.0f} s  {name} …")
        for found in BENCHMARKS[name](Scale(asked.quick)):
            if isinstance(found, Row):
                rows.append(found)
                console.print(f"        {found.name}: {found.shown}")
            else:
                curves.append(found)
    machine["took"] = f"{time.monotonic() - begun:.0f} s"
    console.print(report.table(rows, judged=not asked.quick))
    if asked.write:
        page.write(asked.write, machine, rows, curves)
        console.print(f"written to {asked.write / 'benchmarks.md'}")
    return int(not asked.quick and any(row.verdict == "missed" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
