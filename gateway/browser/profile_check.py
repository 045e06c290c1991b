"""A profile with which Chromium does not start any more: how that is proven, and how the profile is moved aside.

To move away a login that was fine is the worse fault, so three things have to come together: no host met a page in several
starts in a row; nothing else explains it (no room, files of another user, a link to what is not there); and in trials one after
the other Chromium comes up with an empty profile each time and with this one never. A full disk, wrong rights, an older
Chromium, a slow machine and kills during the start are none of that. The profile is renamed, never deleted.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import structlog

from gateway.beat import boot_time
from gateway.browser import incarnation
from gateway.filesystem import sync
from gateway.process import die_with_parent
from gateway.slot import Launch

log = structlog.get_logger()

#: Starts in a row in which Chromium did not come up, after which the profile is tried.
STARTS = 3
#: Trials of each, the empty profile and this one.
TRIALS = 2
#: Seconds for Chromium with an empty profile (0.5 s alone on two cores; on a machine too slow for that nothing is concluded), and with
#: this one.
FRESH_START, OWN_START = 8.0, 15.0
#: What the launcher's record says meanwhile, so that the watchdog does not take it for a Chromium that hangs.
TRYING = "Chromium did not come up in several starts: its profile is tried against an empty one, which takes up to a minute"
#: Bytes of free disk below which nothing is concluded.
ROOM = 200_000_000
#: Profiles that are kept aside. One more would be a fault of something else, and would fill the disk.
ASIDE = 3
#: How a profile that was moved aside is called: this, and the time.
ASIDE_NAME = "profile.unusable-"
_COUNT = "failed-starts.json"
_PORT = "DevToolsActivePort"


def failed_starts(slot: Path, predecessor: Launch | None) -> int:
    """How many launches there were since a host last met a page. Counts the predecessor; call it once a launch."""
    try:
        failed = int(json.loads((slot / _COUNT).read_bytes())["failed"])
    except (OSError, ValueError, KeyError, TypeError):
        failed = 0
    if predecessor is not None and predecessor.refused is None:
        failed += 1
    _remember(slot, failed)
    return failed


def _remember(slot: Path, failed: int) -> None:
    with suppress(OSError):  # a full disk: what is not remembered is counted anew
        (slot / _COUNT).write_text(json.dumps({"failed": failed}))


def came_up(slot: Path) -> None:
    """A host met the page of this slot's Chromium: its profile can be used."""
    (slot / _COUNT).unlink(missing_ok=True)


def aside(slot: Path) -> list[Path]:
    """The profiles of a slot that were moved aside, oldest first."""
    return sorted(slot.glob(f"{ASIDE_NAME}*"))


def replace_if_unusable(slot: Path, command: Callable[[Path], list[str]], environ: Mapping[str, str]) -> Path | None:
    """Try the slot's profile against empty ones, and move it aside if Chromium comes up with those alone. Returns where it is then.

    `command` gives Chromium's command line for a profile. The count of failed starts begins anew.
    """
    _remember(slot, 0)
    profile = slot / "profile"
    if excuse := other_reason(profile):
        log.error("Chromium does not come up, and its profile is not to blame", profile=str(profile), reason=excuse, alert=True)
        return None
    if len(aside(slot)) >= ASIDE:
        log.error("Chromium does not come up, and too many profiles were moved aside already", profiles=len(aside(slot)), alert=True)
        return None
    log.warning(TRYING, profile=str(profile))
    for _ in range(TRIALS):
        with tempfile.TemporaryDirectory(prefix="trial-", dir=slot, ignore_cleanup_errors=True) as fresh:
            if not comes_up(command(Path(fresh)), Path(fresh), environ, FRESH_START):
                log.error("Chromium does not come up with an empty profile either, or is too slow to tell", alert=True)
                return None
        if comes_up(command(profile), profile, environ, OWN_START):
            return None
    kept = _move_aside(slot, profile)
    log.error(
        "Chromium does not start with this profile any more, and does with an empty one: it was moved aside, and the session"
        " begins with a new one. Link the phone anew; docs/operating.md says how to put the old one back",
        profile=str(kept),
        alert=True,
    )
    return kept


def other_reason(profile: Path) -> str | None:
    """What may keep Chromium from starting that is no damage of the profile, as a sentence; None if nothing is found."""
    stat = os.statvfs(profile)
    if stat.f_bavail * stat.f_frsize < ROOM or (stat.f_files and not stat.f_favail):
        return "the disk is almost full"
    try:
        with tempfile.TemporaryFile(dir=profile) as file:
            file.write(b"x" * 65_536)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return f"nothing can be written to it: {error.strerror}"
    for directory, names, files in os.walk(profile):
        for path in (Path(directory, name) for name in ("", *names, *files)):
            if reason := _not_ours(path):
                return reason
    return None


def _not_ours(path: Path) -> str | None:
    """Why Chromium cannot use the file, where that is no damage."""
    try:
        if path.lstat().st_uid != os.geteuid():
            return f"{path} belongs to another user: chown -R it to the user who runs the gateway"
        if path.is_symlink():
            if path.name.startswith("Singleton"):
                return None
            target = path.parent / path.readlink()
            if target != path and not os.path.lexists(target):
                return f"{path} is a link to {target}, which is not there"
            return None
        if not os.access(path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)):
            return f"{path} may not be read and written: correct its rights"
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{path} cannot be looked at: {error.strerror}"
    return None


def comes_up(command: list[str], profile: Path, environ: Mapping[str, str], deadline: float) -> bool:
    """Whether Chromium opens a page with that profile within `deadline` seconds. It is ended again.

    Its DevTools answer before the profile is loaded, also where that never ends, so the page is asked for.
    """
    port = profile / _PORT
    remove(port)
    until = boot_time() + deadline
    chromium = subprocess.Popen(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
        preexec_fn=die_with_parent,
    )
    try:
        while chromium.poll() is None and boot_time() < until:
            if _has_page(port):
                return True
            time.sleep(0.02)
        return False
    finally:
        chromium.terminate()
        with suppress(subprocess.TimeoutExpired):
            chromium.wait(3.0)  # it writes its profile down; 0.15 s as a rule
        with suppress(ProcessLookupError):
            os.killpg(chromium.pid, signal.SIGKILL)
        chromium.wait()
        remove(port)


def remove(path: Path) -> None:
    """Delete a file that may not be there; what is no file in a damaged profile is left."""
    with suppress(IsADirectoryError):
        path.unlink(missing_ok=True)


def _has_page(port: Path) -> bool:
    try:
        number = port.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{number}/json/list", timeout=1.0) as answer:
            return any(target["type"] == "page" for target in json.load(answer))
    except (OSError, IndexError, ValueError, KeyError, http.client.HTTPException):
        return False


def _move_aside(slot: Path, profile: Path) -> Path:
    kept = slot / f"{ASIDE_NAME}{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    profile.rename(kept)
    profile.mkdir(mode=0o700)
    sync(slot)
    incarnation.renew(slot)  # what is absent in the new profile may have been sent from the old one
    return kept
