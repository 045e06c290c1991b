"""Faults that hit the process they are meant for, at the moment they are meant for: whom, when, and how we know."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import psutil
from gateway_rig import Gateway, until

from gateway.browser.endpoint import NotYet, find_endpoint
from gateway.supervision import Fault, Program, Supervisor, Unreachable
from gateway.watchdog.locks import write_lock_holder

PROGRAMS = ("api", "browser-default", "chromium-default", "watchdog")
#: Milliseconds for which the page is kept busy to see whose CPU time moves: 15 ticks, and no illness.
BUSY = 150
_SPAWNED = re.compile(r"spawned: '([\w-]+)' with pid (\d+)")


@dataclass(frozen=True, slots=True)
class Strike:
    """One hit."""

    pid: int
    inside: bool  #: the process held the database's write lock, seen while it stood still


def programs(gateway: Gateway) -> dict[str, Program]:
    """What supervisord says of each; empty while it does not answer."""
    with contextlib.suppress(Unreachable, Fault):
        return asyncio.run(Supervisor(gateway.data / "run" / "supervisor.sock").programs())
    return {}


def spawned(gateway: Gateway) -> dict[str, list[int]]:
    """Every pid that each program ever had, in order, from supervisord's own log: nothing that died can be missing."""
    pids: dict[str, list[int]] = {name: [] for name in PROGRAMS}
    for name, pid in _SPAWNED.findall((gateway.data / "logs" / "supervisord.log").read_text()):
        pids[name].append(int(pid))
    return pids


def ended(pid: int) -> bool:
    """Whether the process is gone, or waits to be reaped."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# -- whom


def target(gateway: Gateway, name: str) -> int:
    """The pid to hit: of a program, or of the page's own renderer."""
    if name == "renderer":
        gateway.healthy(60)  # a page on its way up may still change its renderer
        return until("the page's renderer is found", lambda: asyncio.run(page_renderer(gateway)), 60)  # type: ignore[return-value]
    return until(f"{name} has a pid", lambda: (p := programs(gateway).get(name)) and p.pid, 60)  # type: ignore[return-value]


async def page_renderer(gateway: Gateway) -> int | None:
    """The renderer in which WhatsApp's page runs, no spare one: the one whose CPU time moves when the page is kept busy."""
    try:
        port = urlsplit(find_endpoint(gateway.data, "default").url).port
        async with asyncio.timeout(5), aiohttp.ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{port}/json/list") as answer:
                tabs = await answer.json(content_type=None)
            [page] = [t for t in tabs if t["type"] == "page" and t["url"].startswith(gateway.sandbox.base)]
            async with http.ws_connect(page["webSocketDebuggerUrl"]) as devtools:
                before = _renderers(gateway)
                loop = f"for (const t = performance.now(); performance.now() - t < {BUSY};);"
                await devtools.send_json({"id": 1, "method": "Runtime.evaluate", "params": {"expression": loop}})
                await devtools.receive_json()
                after = _renderers(gateway)
    except (NotYet, aiohttp.ClientError, OSError, TimeoutError, ValueError, TypeError):
        return None
    moved = sorted(((after[pid] - before[pid], pid) for pid in before.keys() & after.keys()), reverse=True)
    if not moved or moved[0][0] < 0.4 * BUSY / 1000 or (len(moved) > 1 and moved[0][0] < 2 * moved[1][0]):
        return None  # too close to tell
    return moved[0][1]


def _renderers(gateway: Gateway) -> dict[int, float]:
    """pid → seconds of CPU."""
    found = {}
    for pid in gateway.chromium():
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if "--type=renderer" in " ".join(process.cmdline()):
                found[pid] = sum(process.cpu_times()[:2])
    return found


# -- when


def strike(gateway: Gateway, name: str, number: signal.Signals, *, inside: bool) -> Strike | None:
    """Kill or stop it now, or inside its next write transaction. None if it ended by itself meanwhile."""
    pid = target(gateway, name)
    try:
        if inside:
            _freeze_inside(pid, gateway.data / "gateway.db")
        if not inside or number is not signal.SIGSTOP:
            os.kill(pid, number)
    except (ProcessLookupError, FileNotFoundError):
        return None
    return Strike(pid, inside)


def _freeze_inside(pid: int, database: Path) -> None:
    """Stop the process while it holds the write lock: all of its threads stand still, and the lock is still theirs.

    A stop that came too late is taken back within milliseconds. Raises ProcessLookupError if the process ends.
    """
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if write_lock_holder(database) != pid:
            os.kill(pid, 0)
            time.sleep(0.0001)  # a transaction lasts a millisecond or more, its sync included
            continue
        os.kill(pid, signal.SIGSTOP)
        until("all threads stand still", lambda: _frozen(pid), 5)
        if write_lock_holder(database) == pid:
            return
        os.kill(pid, signal.SIGCONT)
    raise AssertionError(f"{pid} was never met inside a write transaction")


def _frozen(pid: int) -> bool:
    states = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread may end
            states.append((task / "stat").read_text().rpartition(")")[2].split()[0])
    return bool(states) and set(states) == {"T"}


# -- who is left


class Family:
    """Every process that ever belonged to the gateway, by the process table; a pid that was given away anew is no relative."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.seen: set[psutil.Process] = set()

    def note(self) -> set[psutil.Process]:
        """Those of now: supervisord and all that descend from it."""
        assert self._gateway.process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._gateway.process.pid)
            now = {root, *root.children(recursive=True)}
            self.seen |= now
            return now
        return set()

    def alive(self) -> set[psutil.Process]:
        """Those ever seen that have not ended."""
        return {p for p in self.seen if p.is_running() and not ended(p.pid)}

    def pythons(self) -> list[int]:
        """Our Python processes by their data directory in /proc, whoever their parent is; WhatsApp's stand-in is none of ours."""
        found, mark = [], f"GATEWAY_DATA={self._gateway.data}".encode()
        for pid in psutil.pids():
            with contextlib.suppress(OSError):
                at = Path(f"/proc/{pid}")
                is_python = (at / "exe").readlink().name.startswith("python")
                if is_python and mark in (at / "environ").read_bytes().split(b"\0") and pid != getattr(self._gateway.whatsapp, "pid", None):
                    found.append(pid)
        return found

    def check_alive(self) -> None:
        """One supervisord, API, host and watchdog, one Chromium, and nothing that an earlier one left."""
        now = self.note()
        family = {p.pid for p in now}
        up = {name: p.pid for name, p in programs(self._gateway).items()}
        assert sorted(self.pythons()) == sorted([self._gateway.process.pid, up["api"], up["browser-default"], up["watchdog"]])  # type: ignore[union-attr]
        leader, chromium = up["chromium-default"], [psutil.Process(pid) for pid in self._gateway.chromium()]
        assert len(chromium) >= 4, "browser, zygote, GPU or network, renderer: else nothing was counted"
        older = [p for p in chromium if p.create_time() < psutil.Process(leader).create_time()]
        assert not older, f"orphans of an earlier Chromium (crash handlers are nobody's children): {older}"
        strays = {p for p in self.alive() if p.pid not in family}
        assert not strays, f"orphans: {strays}"

    def check_gone(self) -> None:
        """Nobody is left at the moment at which supervisord has ended: of the family, of its groups, with its marks."""
        assert not self.alive()
        assert self._gateway.left_over() == {}
