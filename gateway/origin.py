"""Where a data directory lies: what tells a copy, or a backup put back elsewhere, from a directory that was only moved."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_CONTAINER = (Path("/.dockerenv"), Path("/run/.containerenv"))


def place(data: Path) -> str:
    """The directory's inode and, outside containers, the machine's id: a new path alone changes neither.

    A container made anew has another machine id over the same volume, so it does not count there.
    """
    machine = "container"
    if not os.environ.get("container") and not any(mark.exists() for mark in _CONTAINER):  # noqa: SIM112 (systemd and podman name it so)
        with suppress(OSError):
            machine = Path("/etc/machine-id").read_text().strip()
    return f"{data.stat().st_ino}:{machine}"
