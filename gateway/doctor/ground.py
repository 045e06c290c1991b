"""What the data directory stands on: rights, file system, room."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from gateway.doctor.finding import Finding, fail, ok, split, warn
from gateway.filesystem import mount_of, unfit
from gateway.settings import Settings
from gateway.store.database import ACCEPT_ROOM, CLAIM_ROOM, room

#: Bytes below which it is time to act: a busy day's messages, logs and Chromium's caches fit in between.
LOW = 1_000_000_000


def nearest(path: Path) -> Path:
    """The path, or the nearest directory above it that exists."""
    return next(p for p in (path, *path.parents) if p.exists())


def rights(settings: Settings) -> Finding:
    """The data directory is this user's alone, and may be written."""
    data = settings.data
    if not data.exists():
        if os.access(nearest(data), os.W_OK):
            return ok(f"{data} is not there yet; the first start makes it")
        return fail(f"{data} is not there and this user may not make it", "make it, or set GATEWAY_DATA to a directory that you may write")
    found = data.stat()
    return judge_rights(data, found.st_uid, stat.S_IMODE(found.st_mode), os.geteuid(), os.access(data, os.W_OK | os.X_OK))


def judge_rights(data: Path, owner: int, mode: int, user: int, writable: bool) -> Finding:
    if not writable:
        said = f"{data} belongs to uid {owner} and uid {user} may not write it"
        return fail(said, f"run the gateway as its owner, or chown -R it to {user}")
    if owner != user:
        return warn(f"{data} belongs to uid {owner}, and this is uid {user}", "run the gateway and its commands as one user")
    if mode & 0o077:
        return warn(f"other users may enter {data} (mode {mode:03o}): messages and the login lie there", f"chmod 700 {data}")
    return ok(f"{data} is this user's alone")


def file_system(settings: Settings) -> Finding:
    """A local one."""
    data = nearest(settings.data.resolve())
    refused = unfit(data)
    return split(refused) if refused else ok(f"{data} lies on {mount_of(data).kind}")


def disk(settings: Settings) -> Finding:
    """Room to accept, to claim, and to note outcomes."""
    return judge_room(room(nearest(settings.data)))


def judge_room(free: int) -> Finding:
    mb = f"{free / 1e6:.0f} MB are free"
    todo = "make room, or set GATEWAY_DATA to a larger disk"
    if free < CLAIM_ROOM:
        return fail(f"{mb}: below {CLAIM_ROOM / 1e6:.0f} MB nothing is accepted and nothing is sent", todo)
    if free < ACCEPT_ROOM:
        return fail(f"{mb}: below {ACCEPT_ROOM / 1e6:.0f} MB nothing is accepted", todo)
    if free < LOW:
        return warn(f"{mb}: below {ACCEPT_ROOM / 1e6:.0f} MB nothing would be accepted", "make room soon")
    return ok(mb)
