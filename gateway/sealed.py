"""Small files that one process overwrites while others read them: a checksum tells a torn read, and it is read again."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

#: Bytes that such a file has at most: one page, written by a single pwrite.
SIZE = 4096
#: Times that a torn record is read: its writer may be at it just now.
TRIES = 5


def seal(body: bytes, size: int = SIZE) -> bytes:
    """The record of a body, filled up to `size` bytes; a longer one is longer."""
    return (b"%08x %s\n" % (zlib.crc32(body), body)).ljust(size, b" ")


def read(path: Path) -> bytes | None:
    """The body of the record in the file; None if there is none, or it was torn each time it was read."""
    for _ in range(TRIES):
        try:
            checksum, body = small_file(path).rstrip().split(b" ", 1)
            if int(checksum, 16) == zlib.crc32(body):
                return body
        except OSError:
            return None
        except ValueError:
            continue
    return None


def small_file(path: Path | str) -> bytes:
    """All of a file that is at most a page, as these and most of /proc are. Raises OSError.

    For what is read again and again at rest: three system calls, where pathlib makes seven and some objects.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, SIZE)
    finally:
        os.close(fd)
