"""A small file system, mounted for a test, and a stranger who fills it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_rig import until

from gateway.store.database import room


@contextlib.contextmanager
def small_disk(at: Path, size: int) -> Iterator[None]:
    """An ext4 of so many bytes mounted at the directory; fails where this machine does not let us mount."""
    image = at.with_name(f"{at.name}.img")
    try:
        with image.open("wb") as file:
            file.truncate(size)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0", str(image)], check=True)
        mounted = subprocess.run(["mount", "-o", "loop", str(image), str(at)], capture_output=True, text=True)
        if mounted.returncode:
            pytest.fail(f"a small file system cannot be mounted here (needs root and loop devices): {mounted.stderr.strip()}")
        try:
            at.chmod(0o700)
            yield
        finally:
            subprocess.run(["umount", "--lazy", str(at)], check=True)
            at.rmdir()
    finally:
        image.unlink(missing_ok=True)


class Filler:
    """A stranger's file. `fill()` leaves no byte free, and so it stays until `free()`: whatever is given back is taken too."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "stranger"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._eat)

    def leave(self, left: int) -> None:
        """Fill but for so many bytes."""
        with self._path.open("ab") as file:
            os.posix_fallocate(file.fileno(), file.tell(), room(self._path.parent) - left)

    def fill(self) -> None:
        self._thread.start()
        until("the disk is full", lambda: room(self._path.parent) < 4096)

    def _eat(self) -> None:
        with self._path.open("ab", buffering=0) as file:
            for block in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while not self._ended.is_set():
                        file.write(b"x" * block)
            while not self._ended.wait(0.05):
                with contextlib.suppress(OSError):
                    file.write(b"x" * 65536)

    def free(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        self._path.unlink(missing_ok=True)
