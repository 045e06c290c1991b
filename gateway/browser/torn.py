"""Mends what a killed Chromium leaves half written in its profile, before the next one reads it.

Chromium keeps IndexedDB, and with it WhatsApp's login, in LevelDB. A record of LevelDB's log is written in two steps, header and
payload; a kill between them leaves a torn tail. The next Chromium ignores it, and appends to the same file behind
it (`reuse_logs`). The one after that finds a damaged record in the middle, and answers by deleting the whole
database: the account is logged out, one restart after the kill. Cut off before anybody appends, the tail harms nobody,
and nothing is lost that LevelDB would have kept.

The log's format: blocks of 32 KiB, in which a record has a header of 7 bytes (checksum, length, type) and does
not cross a block's end; a longer one is split into first, middle and last (leveldb/doc/log_format.md).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import structlog

from gateway.filesystem import sync

log = structlog.get_logger()

BLOCK, HEADER = 32_768, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def whole(data: bytes) -> int:
    """How many bytes of a LevelDB log are whole: all of them, or up to where its torn tail begins.

    What is no tail that a killed writer leaves (a length that no writer writes) is not ours to judge, and counts as whole.
    """
    at = good = 0
    while at + HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER:  # the rest of a block is filled up
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        if kind not in (FULL, FIRST, MIDDLE, LAST) or length > left - HEADER:
            return len(data)
        at += HEADER + length
        if at <= len(data) and kind in (FULL, LAST):
            good = at
    return len(data) if good == at == len(data) or _filling(data, good) else good


def _filling(data: bytes, at: int) -> bool:
    """Whether what follows is the end of a block, which is filled with zeros before the next record."""
    return BLOCK - at % BLOCK < HEADER and len(data) - at < HEADER and not any(data[at:])


def mend(profile: Path) -> list[Path]:
    """Cut the torn tails off in a profile on which no Chromium works. Returns the files that were mended; a file that cannot be is left."""
    mended = []
    for path in _logs(profile):
        try:
            data = path.read_bytes()
            if (size := whole(data)) < len(data):
                os.truncate(path, size)
                sync(path)
                mended.append(path)
        except OSError as error:
            log.warning("A file of the profile cannot be looked at", path=str(path), reason=error.strerror)
    return mended


def _logs(profile: Path) -> Iterator[Path]:
    """The logs of every LevelDB of the profile; a manifest is a log too."""
    for current in (*profile.glob("*/*/CURRENT"), *profile.glob("*/*/*/CURRENT")):
        yield from current.parent.glob("[0-9]*.log")
        yield from current.parent.glob("MANIFEST-[0-9]*")
