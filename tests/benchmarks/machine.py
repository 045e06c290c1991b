"""The machine that a figure was measured on: a figure without it says nothing."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import subprocess
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import psutil

from gateway.executable import find_chromium


def facts() -> dict[str, str]:
    """Name → value, in the order to be shown."""
    load = os.getloadavg()[0]
    cores = len(os.sched_getaffinity(0))
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "CPU": f"{_cpu()}, {cores} core{'s' if cores > 1 else ''}",
        "memory": f"{psutil.virtual_memory().total / 1e9:.0f} GB",
        "kernel": f"Linux {platform.release()}",
        "file system": f"{_file_system(Path(tempfile.gettempdir()))}, an fdatasync of a page takes {_sync() * 1e3:.2f} ms (median of 50)",
        "load before": f"{load:.2f}" + (" (**busy: other programs ran beside the benchmarks**)" if load > cores / 2 else ""),
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "aiohttp": version("aiohttp"),
        "Chromium": _chromium(),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(path: Path) -> str:
    mounts = [m for m in psutil.disk_partitions(all=True) if path.is_relative_to(m.mountpoint)]
    return max(mounts, key=lambda m: len(m.mountpoint)).fstype if mounts else "unknown"


def _sync() -> float:
    took = []
    with tempfile.TemporaryFile() as file:
        for _ in range(50):
            os.pwrite(file.fileno(), b"x" * 4096, len(took) * 4096)
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - begun)
    return statistics.median(took)


def _chromium() -> str:
    said = subprocess.run([find_chromium(None), "--version"], capture_output=True, text=True, timeout=30).stdout
    return " ".join(said.split()[:2]) or "unknown"
