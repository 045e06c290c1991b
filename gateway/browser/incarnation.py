"""The incarnation's marker: which life of the profile on disk this is.

A message that is absent from the page's store was not sent only if that store is the one it would
have been written to. So the marker, kept beside the profile, is renewed whenever writes may have
been lost or undone: at link, at a restore, in a copied data directory, and after a restart of the
machine unless Chromium had ended and its file system was synced before (PROTOCOL, Incarnation).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.beat import boot_id
from gateway.filesystem import sync
from gateway.origin import place, same
from gateway.slot import alive, chromium_processes, read_launch

NAME = "incarnation.json"


def current(slot: Path) -> str | None:
    """Today's marker; None before the first launch."""
    return _read(slot).get("marker")


def renew(slot: Path) -> str:
    """A new marker, durable on return: from now on absence in the page proves nothing about earlier hand-overs."""
    with _locked(slot):
        state = {**_read(slot), "marker": secrets.token_hex(8)}
        _write(slot, state)
    return str(state["marker"])


def prepare(slot: Path) -> str:
    """Before Chromium starts: renew the marker where the last boot did not end clean, and take the clean mark away.

    A mark that stayed would outlive the next crash and call it clean.
    """
    with _locked(slot):
        old = _read(slot)
        same_boot = old.get("boot") == boot_id()
        clean = "boot" in old and old.get("clean") == old["boot"]
        here = place(slot.parents[1])
        same_place = same(old.get("place", here), here)
        kept = old.get("marker") if same_place and (same_boot or clean) else None
        state = {"marker": kept or secrets.token_hex(8), "boot": boot_id(), "place": here}
        _write(slot, state)
    return state["marker"]


def mark_clean(slot: Path) -> bool:
    """After Chromium's end: sync the profile's file system and leave the mark that says so.

    False, and no mark, if a Chromium (or a launcher on its way to become one) of this slot lives.
    """
    data, session = slot.parents[1], slot.name
    with _locked(slot):
        state = _read(slot)
        launch = read_launch(data, session)
        if "marker" not in state or (launch and alive(launch)) or chromium_processes(data, session):
            return False
        _sync_file_system(slot)
        _write(slot, {**state, "clean": state.get("boot")})
    return True


@contextlib.contextmanager
def _locked(slot: Path) -> Iterator[None]:
    """Launcher and host take turns: between a look at the processes and the mark no launch may fall."""
    slot.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(slot / "incarnation.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _read(slot: Path) -> dict[str, Any]:
    """What is recorded; a file that is missing or torn is as none: the safe side."""
    try:
        state = json.loads((slot / NAME).read_bytes())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _write(slot: Path, state: dict[str, Any]) -> None:
    """Replace the file; durable on return."""
    fresh = slot / f"{NAME}.new"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, json.dumps(state).encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    fresh.rename(slot / NAME)
    sync(slot)


def _sync_file_system(directory: Path) -> None:
    """syncfs(2) of the file system that holds `directory`; Python has no name for it. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(fd)
