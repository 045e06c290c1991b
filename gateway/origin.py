"""Where a data directory lies: what tells a copy, or a backup put back, from a directory that was only moved."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

_CONTAINER = (Path("/.dockerenv"), Path("/run/.containerenv"))
#: FS_IOC_GETVERSION of linux/fs.h, for a long of eight bytes.
_GET_GENERATION = 0x80087601


def place(data: Path) -> str:
    """The directory's inode with its generation and, outside containers, the machine's id: a new path alone changes none of them.

    A container made anew has another machine id over the same volume, so it does not count there.
    """
    machine = "container"
    if not os.environ.get("container") and not any(mark.exists() for mark in _CONTAINER):  # noqa: SIM112 (systemd and podman name it so)
        with suppress(OSError):
            machine = Path("/etc/machine-id").read_text().strip()
    return f"{data.stat().st_ino}{_generation(data)}:{machine}"


def same(recorded: str, here: str) -> bool:
    """Whether two places are one. A place recorded before generations were has none, and is compared without."""
    if "." not in recorded.partition(":")[0]:
        inode, _, machine = here.partition(":")
        here = f"{inode.partition('.')[0]}:{machine}"
    return recorded == here


def _generation(directory: Path) -> str:
    """What tells an inode from an earlier one of its number: `rm -r data; cp -a backup data` is given the same number by ext4.

    Nothing where the file system has none (tmpfs, ZFS).
    """
    answer = bytearray(8)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _GET_GENERATION, answer)
    except OSError:
        return ""
    finally:
        os.close(fd)
    return f".{int.from_bytes(answer[:4], 'little')}"
