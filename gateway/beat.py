"""Beat files: how a process shows that it lives without touching the database.

A process overwrites its own preallocated `run/NAME.beat` from its main loop; anybody reads it.
The file is one page long and carries a checksum, so a torn read is seen and read again.
"""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from gateway import sealed
from gateway.sealed import SIZE

#: Seconds between two beats.
INTERVAL = 1.0
#: A beat older than this many seconds is silence.
SILENT = 5.0
#: Seconds that a process may take from its lock to its main loop. The API's imports cost 1.1 s of CPU;
#: at a load of 14 on two cores 9 s were not enough for them.
START = 20.0


def boot_time() -> float:
    """Seconds of the boot clock: it goes on in suspend and never jumps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def to_tick(seconds: float) -> float:
    """Seconds, at most so many, until the next whole multiple of them by the boot clock.

    What looks once a second waits for it: so a process at rest wakes once, and not for each of its loops by itself.
    Who reads others' beats does not: they are written at that moment, and would be met half written.
    """
    return seconds - boot_time() % seconds


def written(value: Any) -> bytes:
    """A value as a beat holds it: JSON in UTF-8. Escaped as ASCII, words in another script would be three times as long."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")  # half a surrogate pair has no UTF-8


def fitting(text: str | None, size: int) -> str | None:
    """The text, cut so that it takes at most `size` bytes of a beat. For what others wrote: a beat that is too long ends its process."""
    if text is None or len(text) * 6 <= size:  # a control character is written as six bytes, no character as more
        return text
    used = 0
    for n, character in enumerate(text):
        used += len(written(character)) - 2
        if used > size:
            return text[:n]
    return text


class Stalls:
    """Notices that this process itself stood still: stopped, frozen with its container, suspended with the machine, or starved.

    After such a gap the others' signs of life look old, and deadlines look passed, through no fault of theirs. A process that
    judges others calls look() each time before it does, and counts no time before `woke_at` (boot clock; -inf at first).
    `gap` is the number of seconds between two looks from which on it counts as one.
    """

    def __init__(self, gap: float) -> None:
        self._gap, self._last = gap, float("inf")
        self.woke_at = float("-inf")

    def look(self, now: float) -> None:
        """We run at this moment (boot clock)."""
        if now - self._last > self._gap:
            self.woke_at = now
        self._last = now


class RunningDeadline:
    """`seconds` of this process's own running: of the time between two questions at most `step` seconds count."""

    def __init__(self, seconds: float, step: float = 1.0) -> None:
        self._left, self._step, self._last = seconds, step, boot_time()

    def passed(self) -> bool:
        """Ask it more often than each `step` seconds."""
        now = boot_time()
        self._left -= min(now - self._last, self._step)
        self._last = now
        return self._left <= 0


@cache
def boot_id() -> str:
    """The kernel's id of this boot; a beat of another boot is none."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True, slots=True)
class Beat:
    """One beat: who, and when by the boot clock; `facts` is what else the process has to say."""

    pid: int
    at: float
    facts: dict[str, Any]

    def age(self, now: float | None = None) -> float:
        """Seconds since the beat."""
        return (boot_time() if now is None else now) - self.at


class Heart:
    """The writing end. Owns its file descriptor; close() it."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(self._fd, 0, SIZE)
        except OSError:
            os.close(self._fd)  # a full disk: it is tried again each second
            raise

    def beat(self, facts: dict[str, Any] | None = None) -> None:
        """Overwrite the file with a fresh beat. Raises ValueError if the facts do not fit into a page."""
        said = {"pid": os.getpid(), "boot": boot_id(), "at": boot_time(), "facts": facts or {}}
        record = sealed.seal(written(said))
        if len(record) > SIZE:
            raise ValueError(f"a beat of {len(record)} bytes does not fit into {SIZE}")
        os.pwrite(self._fd, record, 0)

    def close(self) -> None:
        os.close(self._fd)


class Birth:
    """Beats with no facts from a thread, while a process imports what it needs: seconds on a slow machine, and no silence.

    It ends with over(), or after START seconds: a start that hangs is noticed all the same.
    """

    def __init__(self, path: Path) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, args=(Heart(path),), name="birth", daemon=True)
        self._thread.start()

    def _beat(self, heart: Heart) -> None:
        deadline = RunningDeadline(START, 2 * INTERVAL)
        while not deadline.passed() and not self._over.is_set():
            heart.beat()
            self._over.wait(INTERVAL)
        heart.close()

    def over(self) -> None:
        """From here on the main loop beats by itself."""
        self._over.set()
        self._thread.join()


def read(path: Path) -> Beat | None:
    """The newest beat in the file; None if there is none, it is of another boot, or it was torn each time it was read.

    The same beat, read again, is the same object.
    """
    body = sealed.read(path)
    if body is None:
        return None
    boot, beat = _parsed(body)
    return beat if boot == boot_id() else None


@lru_cache(maxsize=16)
def _parsed(body: bytes) -> tuple[str, Beat]:
    """A beat and its boot; read more often than written."""
    data = json.loads(body)
    return data["boot"], Beat(data["pid"], data["at"], data["facts"])
