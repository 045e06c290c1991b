"""Accepting on a slow disk: each sync takes 10 ms more, as on a disk of a network or one that turns.

The limit is the disk's own: with one commit for each request it would be 100 a second.
The delay is real for the process: fdatasync and fsync are replaced by ones that sleep and then sync (LD_PRELOAD, a dozen lines
of C that are compiled here). dm-delay and FUSE need root or a device and slow down reads and writes too; strace can delay a system call,
and stops the process for it; the hook of SQLite for system calls knows no fsync. Where there is no C compiler this is not measured.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from load import Load, messages, press
from report import Limit, Row
from scale import Scale
from servers import api, directory

NAME = "accepts a second with syncs of 10 ms, 256 connections"
LIMIT = Limit(1000)
DELAY = 10
_ONE_SYNC = """
import os, tempfile, time
file, begun = tempfile.TemporaryFile(), time.perf_counter()
os.fdatasync(file.fileno())
print(time.perf_counter() - begun)
"""


def measure(scale: Scale) -> Iterator[Row]:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        yield Row(NAME, None, "/s", "there is no C compiler here to make the slow disk with", LIMIT)
        return
    with directory() as data:
        library = data / "slow_sync.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, Path(__file__).with_name("slow_sync.c")], check=True)
        environ = {"LD_PRELOAD": str(library), "SLOW_SYNC_MS": str(DELAY)}
        took = float(subprocess.run([sys.executable, "-c", _ONE_SYNC], env=environ, capture_output=True, text=True, check=True).stdout)
        with api(data, **environ) as server:
            loads = [asyncio.run(_slice(server.port, seconds)) for seconds in scale.pick((1.0, 2.0, 2.0, 2.0), (0.3, 0.5))][1:]
    p50 = statistics.median(load.quantile(0.5) for load in loads)
    if min(took, p50) < DELAY / 1000:
        raise RuntimeError(f"the delay did not reach the disk: a sync took {took:.4f} s, an accept {p50:.4f} s")
    rate = statistics.median(load.rate for load in loads)
    yield Row(NAME, rate, "/s", f"p50 {p50 * 1e3:.0f} ms; one sync took {took * 1e3:.1f} ms", LIMIT)


async def _slice(port: int, seconds: float) -> Load:
    return await press(port, connections=256, seconds=seconds, request=messages(port, recipients=1000))
