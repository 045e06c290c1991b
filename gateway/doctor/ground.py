"""What the data directory stands on: rights, file system, room."""

from __future__ import annotations

import os
import shlex
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gateway.doctor.finding import Finding, fail, ok, split, warn
from gateway.filesystem import mount_of, unfit
from gateway.ownership import entries, named
from gateway.settings import Settings
from gateway.store.database import ACCEPT_ROOM, CLAIM_ROOM, room

#: Bytes below which it is time to act: a busy day's messages, logs and Chromium's caches fit in between.
LOW = 1_000_000_000


def nearest(path: Path) -> Path:
    """The path, or the nearest directory above it that exists."""
    return next(p for p in (path, *path.parents) if p.exists())


def rights(settings: Settings) -> Finding:
    """The data directory and all in it are this user's alone, and may be written."""
    data = settings.data
    if not data.exists():
        if os.access(nearest(data), os.W_OK):
            return ok(f"{data} is not there yet; the first start makes it")
        return fail(f"{data} is not there and this user may not make it", "make it, or set GATEWAY_DATA to a directory that you may write")
    found = data.stat()
    writable = os.access(data, os.W_OK | os.X_OK)
    others = [(path, s.st_uid) for path, s in entries(data) if s.st_uid != found.st_uid]
    return judge_rights(data, found.st_uid, stat.S_IMODE(found.st_mode), os.geteuid(), writable, others)


def judge_rights(data: Path, owner: int, mode: int, user: int, writable: bool, others: Sequence[tuple[Path, int]] = ()) -> Finding:
    """`others`: what lies in it and belongs to another user than the directory's owner, each with that user's id."""
    if not writable:
        said = f"{data} belongs to {named(owner)}, and {named(user)} may not write it"
        return fail(said, f"run the gateway as {named(owner)}, or, as root, `chown -R {user} {shlex.quote(str(data))}`")
    if others:
        more = f", as do {len(others) - 1} more in {data}" if len(others) > 1 else ""
        said = f"{others[0][0]} belongs to {named(others[0][1])}{more}; {named(owner)}, who runs the gateway, may not be able to use it"
        return fail(said, f"as root, run `chown -R {owner} {shlex.quote(str(data))}`, and do not run the gateway by sudo")
    if owner != user:
        todo = f"run the gateway and its commands as one user; to give all to this one: `chown -R {user} {shlex.quote(str(data))}` as root"
        return warn(f"{data} belongs to {named(owner)}, and this is {named(user)}", todo)
    if mode & 0o077:
        todo = f"chmod 700 {shlex.quote(str(data))}"
        return warn(f"other users may enter {data} (mode {mode:03o}): messages and the login lie there", todo)
    return ok(f"{data} is this user's alone")


def temporary(settings: Settings) -> Finding:
    """There is a directory for temporary files."""
    try:
        return ok(f"temporary files go to {tempfile.gettempdir()}")
    except FileNotFoundError:
        said = "no directory for temporary files can be written, so supervisord started by hand ends with a traceback"
        return warn(said, "start it with `gateway up`, which uses the data directory, or set TMPDIR to a directory that you may write")


def file_system(settings: Settings) -> Finding:
    """A local one, or one that passes a trial."""
    data = nearest(settings.data.resolve())
    refused = unfit(data)
    return split(refused) if refused else judge_kind(data, mount_of(data).kind)


def judge_kind(data: Path, kind: str) -> Finding:
    """Whether what lies there stays."""
    said = f"{data} lies on {kind}"
    if kind == "overlay" and Path("/.dockerenv").exists():
        return warn(said, "that is the container's own layer, and goes with the container: use a named volume (docs/deploy.md)")
    if kind == "tmpfs":
        return warn(said, "that is memory: a restart of the machine loses queue and login; set GATEWAY_DATA to a directory on a disk")
    return ok(said)


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
