"""The high-water mark: how far the database had come, kept in a file beside it. One that has not come as far was put back from a backup.

A backup that is copied over the database alone leaves no other trace: the directory is the same, and
each row looks as if nothing had happened since. The mark is the number of the last event, and is
written after a commit before anybody hears of that commit; so nothing that the world was told lies
beyond it.

It costs one small write and no sync: what a killed process wrote stays in the kernel's cache. A cut
of power may take the last seconds of it, which matters only for a backup made within them.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from gateway import sealed

#: Bytes of the record; the longest has 29.
_SIZE = 32


def read(database: Path) -> int:
    """The number of the last event that a database at this path had; 0 if nothing is known."""
    return int(sealed.read(_path_of(database)) or 0)


def _path_of(database: Path) -> Path:
    """Named so that a copy of `gateway.db*` does not take it along."""
    return database.with_suffix(".high-water")


class HighWater:
    """The writing end, one for each process that writes. Owns its file descriptor; close() it.

    Two processes that write at the same moment may leave the smaller of two numbers that lie microseconds apart.
    """

    def __init__(self, database: Path) -> None:
        """Raises OSError."""
        self._known = read(database)
        self._fd = os.open(_path_of(database), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def note(self, event: int) -> None:
        """The database holds this event: durably, its commit has been synced. A disk too full for 32 bytes leaves the mark as it is."""
        if event <= self._known:
            return
        with contextlib.suppress(OSError):
            os.pwrite(self._fd, sealed.seal(b"%d" % event, _SIZE), 0)
            self._known = event

    def close(self) -> None:
        os.close(self._fd)
