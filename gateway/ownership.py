"""Whether this user may use the data directory and what lies in it, and, if not, the sentence with the command that mends it.

`sudo gateway …` leaves files of root's behind, which the gateway's own user may not write afterwards.
"""

from __future__ import annotations

import os
import pwd
import shlex
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

#: Files and directories that are looked at at most: a profile of years has some thousands.
MOST = 50_000


def named(uid: int) -> str:
    """A user as people know it: its name, or `uid 10001` where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def entries(top: Path, depth: int | None = None) -> Iterator[tuple[Path, os.stat_result]]:
    """The directory and what lies in it down to `depth`, each with its lstat; no links; what may not be read is left out."""
    with suppress(OSError):
        yield top, top.lstat()
    seen, level = 0, [top]
    while level and (depth is None or depth > 0):
        below = []
        for directory in level:
            with suppress(OSError), os.scandir(directory) as found:
                for entry in found:
                    if (seen := seen + 1) > MOST:
                        return
                    if entry.is_symlink():
                        continue
                    with suppress(OSError):
                        yield Path(entry.path), entry.stat(follow_symlinks=False)
                        if entry.is_dir(follow_symlinks=False):
                            below.append(Path(entry.path))
        level, depth = below, None if depth is None else depth - 1


def usable(path: Path, found: os.stat_result) -> bool:
    """Whether this user may read and write it, and enter it if it is a directory."""
    return os.access(path, os.R_OK | os.W_OK | (os.X_OK if stat.S_ISDIR(found.st_mode) else 0))


def refusal(data: Path, depth: int | None = None) -> str | None:
    """A sentence if something of another user's in the directory may not be used by this one, else None."""
    for path, found in entries(data, depth):
        if found.st_uid != os.geteuid() and not usable(path, found):
            return (
                f"{path} belongs to {named(found.st_uid)} and {named(os.geteuid())} may not use it:"
                f" as root, run `{give_back(data, os.geteuid(), os.getegid())}`"
            )
    return None


def give_back(data: Path, uid: int, gid: int) -> str:
    """The command that gives all of a data directory to a user."""
    return f"chown -R {uid}:{gid} {shlex.quote(str(data))}"


def by_sudo(data: Path, environ: Mapping[str, str] = os.environ) -> str | None:
    """A sentence if this is root by sudo and the data directory is another user's: what it writes, that user could not use."""
    if os.geteuid() or "SUDO_UID" not in environ or not data.exists() or not (owner := data.stat().st_uid):
        return None
    return f"{data} belongs to {named(owner)} and this is root by sudo: run it as {named(owner)}, without sudo"


def give_to_parents_owner(directory: Path) -> None:
    """Where root has made a directory within another user's, that user's it is. Raises OSError."""
    parent = directory.parent.stat()
    if os.geteuid() == 0 and parent.st_uid:
        os.chown(directory, parent.st_uid, parent.st_gid)
