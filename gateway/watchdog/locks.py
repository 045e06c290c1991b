"""Who holds SQLite's write lock: read from /proc/locks, so that even a stopped holder is named.

The -shm file itself is never opened here: closing any descriptor of it would drop this process's own locks on it.
"""

from __future__ import annotations

import os
from pathlib import Path

#: Byte of the -shm file whose lock is the right to write (WAL_WRITE_LOCK in SQLite's walformat).
WRITE_BYTE = 120


def write_lock_holder(database: Path) -> int | None:
    """Pid of the process that holds the database's write lock now; None if nobody does."""
    try:
        stat = Path(f"{database}-shm").stat()
        text = Path("/proc/locks").read_text()
    except OSError:
        return None
    return holder(text, f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}:{stat.st_ino}")


def holder(text: str, inode: str) -> int | None:
    """Pure part: `text` as /proc/locks gives it, `inode` as it writes it (major:minor:inode)."""
    for line in text.splitlines():
        words = line.split()
        # "1: POSIX  ADVISORY  WRITE 4711 fe:01:1234 120 120"; a waiter's line has "->" as its second word
        if len(words) != 8 or words[1] != "POSIX" or words[3] != "WRITE" or words[5] != inode:
            continue
        first, last = int(words[6]), words[7]
        if first <= WRITE_BYTE and (last == "EOF" or int(last) >= WRITE_BYTE):
            return int(words[4]) if int(words[4]) > 0 else None
    return None
