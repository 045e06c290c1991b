"""Who else is on this machine: holders of our locks, users of our ports, people who could reach DevTools."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from gateway import beat
from gateway.doctor.finding import Finding, fail, ok, warn
from gateway.settings import Settings
from gateway.slot import stopped
from gateway.supervision import Fault, Supervisor, Unreachable
from gateway.watchdog.locks import write_lock_holder

#: Shells of accounts that nobody logs in to.
_NO_SHELL = ("nologin", "false", "sync", "shutdown", "halt")
#: User ids below this belong to the system's own services.
_FIRST_PERSON, _NOBODY = 1000, 65534


def name_of(pid: int) -> str:
    """What people call that process: its name and the first words of its command line."""
    try:
        process = psutil.Process(pid)
        return f"{process.name()} ({' '.join(process.cmdline()[:4])[:80]})"
    except psutil.Error:
        return "unknown"


# -- locks
def locks(settings: Settings) -> Finding:
    """Each process' lock is held by the process that supervisord runs under that name, or by nobody. Takes none of them."""
    try:
        programs = {p.name: p.pid for p in asyncio.run(Supervisor(settings.supervisor_socket).programs()).values()}
    except (Unreachable, Fault):
        programs = None
    held = {path.name.removesuffix(".lock"): flock_holder(path) for path in sorted(settings.run.glob("*.lock"))}
    for name, pid in held.items():
        if pid is not None and (finding := judge_lock(name, pid, programs, name_of(pid))):
            return finding
    writer = write_lock_holder(settings.database)
    if writer is not None and stopped(writer):
        return fail(f"the database's write lock is held by pid {writer}, {name_of(writer)}, which is stopped", f"end it: kill -9 {writer}")
    return ok(f"{sum(pid is not None for pid in held.values())} locks held, each by its own process")


def judge_lock(name: str, holder: int, programs: dict[str, int | None] | None, called: str) -> Finding | None:
    """`programs`: pids by name as supervisord tells them; None if it does not answer."""
    if programs is None:
        said = f"the lock of {name} is held by pid {holder}, {called}, and no supervisord of this data directory answers"
        return fail(said, f"end it before you start the gateway: kill {holder}")
    if programs.get(name) == holder:
        return None
    said = f"the lock of {name} is held by pid {holder}, {called}, which supervisord did not start: {name} waits for it"
    return fail(said, f"end it: kill {holder}")


def flock_holder(path: Path) -> int | None:
    """Pid of who holds a flock on the file, by /proc alone; None if nobody whom we may see does."""
    try:
        inode, real, text = path.stat().st_ino, path.resolve(), Path("/proc/locks").read_text()
    except OSError:
        return None
    for pid in flock_pids(text, inode):
        with suppress(OSError):
            # the device that /proc/locks names is another than stat's on overlays and btrfs, so the open files decide
            if any(fd.readlink() == real for fd in Path(f"/proc/{pid}/fd").iterdir()):
                return pid
    return None


def flock_pids(text: str, inode: int) -> list[int]:
    """Pids that hold a flock on a file of that inode number; `text` as /proc/locks gives it."""
    words = [line.split() for line in text.splitlines()]
    return [int(w[4]) for w in words if len(w) == 8 and w[1] == "FLOCK" and w[5].endswith(f":{inode}") and int(w[4]) > 0]


# -- ports
@dataclass(frozen=True, slots=True)
class Listener:
    """Somebody who listens."""

    host: str
    port: int
    pid: int | None  #: None: another user's process


def ports(settings: Settings) -> Finding:
    """The API's addresses are free, or the API's own."""
    listeners = [
        Listener(c.laddr.ip, c.laddr.port, c.pid) for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr
    ]
    found = beat.read(settings.beat("api"))
    taken = foreign(settings.addresses, listeners, found.pid if found else None)
    if taken is None:
        return ok(f"{settings.listen} {'is the API' if found and _listens(listeners, found.pid) else 'is free'}")
    who = "a process of another user" if taken.pid is None else f"pid {taken.pid}, {name_of(taken.pid)}"
    return fail(f"port {taken.port} is in use by {who}", "stop that one, or set GATEWAY_LISTEN to another port")


def _listens(listeners: Iterable[Listener], pid: int) -> bool:
    return any(one.pid == pid for one in listeners)


def foreign(addresses: Iterable[tuple[str, int]], listeners: Iterable[Listener], api: int | None) -> Listener | None:
    """The first listener on one of our addresses that is not the API. `localhost` is both loopbacks; 0.0.0.0 and :: are all."""
    wanted = {(host, port) for host, port in addresses}
    everywhere = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
    for one in listeners:
        for host, port in wanted:
            same = one.host == host or host == "localhost" or host in everywhere or one.host in everywhere
            if same and one.port == port and (one.pid is None or one.pid != api):
                return one
    return None


# -- people
def people(settings: Settings) -> Finding:
    """Nobody else may log in here: Chromium's DevTools port is open to every user of the machine."""
    return judge_people([(p.pw_name, p.pw_uid, p.pw_shell) for p in pwd.getpwall()], os.geteuid())


def judge_people(accounts: Iterable[tuple[str, int, str]], user: int) -> Finding:
    """`accounts`: name, uid, shell."""
    others = [
        name for name, uid, shell in accounts
        if uid not in (user, 0, _NOBODY) and uid >= _FIRST_PERSON and not shell.endswith(_NO_SHELL)
    ]  # fmt: skip
    if not others:
        return ok("no other people have an account here")
    shown = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
    return warn(
        f"{shown} may log in here, and could reach Chromium's DevTools port, and with it the WhatsApp session",
        "run the gateway on a machine, or in a container, of its own",
    )
