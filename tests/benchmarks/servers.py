"""Servers to be measured: the gateway's API as a process of its own, and aiohttp's empty handler."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from gateway_rig import GATEWAY, free_port

from gateway.process import die_with_parent

#: Bytes that a server may print before we look at it: kept for the error message alone.
_SHOWN = 2000


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """A data directory that is gone afterwards; short, since a unix socket's name holds 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="gw-bench-") as path:
        yield Path(path)


@dataclass(frozen=True)
class Server:
    """A running server."""

    port: int
    process: psutil.Process

    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        used = self.process.cpu_times()
        return float(used.user + used.system)


@contextlib.contextmanager
def api(data: Path, **environ: str) -> Iterator[Server]:
    """`gateway api` alone, on the database in `data`."""
    port = free_port()
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")}
    given = {"GATEWAY_DATA": str(data), "GATEWAY_LISTEN": f"127.0.0.1:{port}", "GATEWAY_QUEUE_LIMIT": "100000000", **environ}
    with _process([*GATEWAY, "api"], {**kept, **given}, port, "/readyz") as pid:
        yield Server(port, psutil.Process(pid))


@contextlib.contextmanager
def empty_handler() -> Iterator[Server]:
    """An aiohttp server whose only handler answers 202 with nothing."""
    port = free_port()
    with _process([sys.executable, str(Path(__file__).with_name("empty.py")), str(port)], dict(os.environ), port, "/readyz") as pid:
        yield Server(port, psutil.Process(pid))


@contextlib.contextmanager
def _process(command: list[str], environ: dict[str, str], port: int, probe: str) -> Iterator[int]:
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=environ, stdout=said, stderr=said, preexec_fn=die_with_parent)
        try:
            end = time.monotonic() + 30
            while not _answers(port, probe):
                if process.poll() is not None or time.monotonic() > end:
                    said.seek(0)
                    raise RuntimeError(f"{command} does not answer: {said.read(_SHOWN).decode(errors='replace')}")
                time.sleep(0.02)
            yield process.pid
        finally:
            process.kill()
            process.wait()


def _answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return bool(answer.status < 300)
    except OSError:
        return False
