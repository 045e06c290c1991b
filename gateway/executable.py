"""Finding Chromium on this machine: the program itself, not the shell script that distributions put before it.

The launcher execs what is found here, so that the pid that supervisord knows is Chromium's own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

#: In this order; the first that is usable wins.
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
#: Where the programs behind the distributions' scripts lie: Debian and Arch, Ubuntu's PPAs, Fedora, Google's own package.
BEHIND = (
    "/usr/lib/chromium/chromium",
    "/usr/lib/chromium-browser/chromium-browser",
    "/usr/lib64/chromium-browser/chromium-browser",
    "/usr/lib64/chromium/chromium",
    "/opt/google/chrome/chrome",
)
_SNAP = (b"/snap/bin/", b"snap install")
_VERSION = re.compile(r"\d+\.\d+\.\d+\.\d+")


class Unusable(Exception):
    """No Chromium that can be used; the text is a sentence that says what to do."""


def find_chromium(chosen: Path | None = None) -> Path:
    """The executable (ELF) of Chromium or Chrome: `chosen` (GATEWAY_CHROMIUM) where given, else the first found on this machine.

    Raises Unusable.
    """
    if chosen is not None:
        if not chosen.exists():
            raise Unusable(f"GATEWAY_CHROMIUM names {chosen}, which does not exist: set it to Chromium's executable, or unset it")
        return _program(chosen)
    refused: Unusable | None = None
    found = [path for name in NAMES if (path := shutil.which(name))]
    for candidate in (*found, *BEHIND):
        if not Path(candidate).exists():
            continue
        try:
            return _program(Path(candidate))
        except Unusable as error:
            refused = refused or error
    raise refused or Unusable(
        "no Chromium was found: install it (Debian: apt-get install chromium), or set GATEWAY_CHROMIUM to its executable"
    )


def _program(path: Path) -> Path:
    """The ELF behind `path`: itself, or what its script starts."""
    real = path.resolve()
    if real.is_relative_to("/snap") or path.is_relative_to("/snap") or real.name == "snap":
        raise _snap(path)
    head = _head(real)
    if head.startswith(b"\x7fELF"):
        if not os.access(real, os.X_OK):
            raise Unusable(f"{real} may not be executed by this user: correct its rights, or set GATEWAY_CHROMIUM to another one")
        return real
    if any(word in head for word in _SNAP):
        raise _snap(path)
    beside = [real.parent / name for name in ("chrome", "chromium", "chromium-browser")]
    by_name = [Path(p) for p in BEHIND if Path(p).name.split("-")[0] in real.name or Path(p).parent.name in real.name]
    for candidate in (*beside, *by_name):
        if candidate != real and _head(candidate).startswith(b"\x7fELF") and os.access(candidate, os.X_OK):
            return candidate.resolve()
    raise Unusable(f"{path} is a script and the Chromium behind it was not found: set GATEWAY_CHROMIUM to the executable that it starts")


def _snap(path: Path) -> Unusable:
    return Unusable(
        f"{path} is a snap, which cannot be supervised and sees no data directory outside the home: install Chromium or Google Chrome"
        " as a real package, and set GATEWAY_CHROMIUM to it if the snap is still found first"
    )


def _head(path: Path) -> bytes:
    """The first bytes of a file; a distribution's script fits."""
    try:
        with path.open("rb") as file:
            return file.read(8192)
    except OSError:
        return b""


def version(executable: Path, cache: Path | None = None) -> str:
    """Product version, four numbers. With `cache` (a file) the program is asked only once per build of it (asking takes 0.15 s).

    Raises Unusable if the program does not say.
    """
    stat = executable.stat()
    build = [str(executable), stat.st_mtime_ns, stat.st_size]
    try:
        known = json.loads(cache.read_bytes()) if cache else {}
        if known.get("build") == build:
            return str(known["version"])
    except (OSError, ValueError, KeyError, AttributeError):
        pass
    try:
        said = subprocess.run([executable, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unusable(f"{executable} cannot be run: {error}") from None
    match = _VERSION.search(said)
    if match is None:
        raise Unusable(f"{executable} does not say which version it is: set GATEWAY_CHROMIUM to a Chromium or Google Chrome")
    if cache:
        cache.write_text(json.dumps({"build": build, "version": match[0]}))
    return match[0]
