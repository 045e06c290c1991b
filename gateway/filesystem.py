"""Which file system a path lies on, and whether SQLite's locks and its shared memory can be trusted there.

NFS, SMB, 9p and their kin are refused: locks over a network are lost without a word, and then two
processes write at once.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path

#: How the kernel says that a disk, or our share of it, is full.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
#: Types as /proc/self/mountinfo names them; a FUSE type says after its dot what lies behind it, and may well be local.
_NETWORK = r"nfs\d?|cifs|smb\d?|smbfs|smbnetfs|9p|afs|ceph|glusterfs|lustre|beegfs|vboxsf|sshfs|davfs2?|rclone|s3fs|goofys|gcsfuse"
_REFUSED = re.compile(rf"(fuse\.)?({_NETWORK})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system."""

    at: str
    kind: str

    @property
    def refused(self) -> bool:
        """Whether the gateway does not work there."""
        return _REFUSED.fullmatch(self.kind) is not None


def mount_of(path: Path) -> Mount:
    """The file system that holds the path, or, where that does not exist yet, its nearest directory that does."""
    return find(Path("/proc/self/mountinfo").read_text(), path.absolute())


def find(mountinfo: str, path: Path) -> Mount:
    """The last mount in the text whose mount point holds the path. `path` is absolute, without symbolic links."""
    found = Mount("/", "unknown")
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        at = re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), before.split()[4])
        if path.is_relative_to(at) and len(at) >= len(found.at):
            found = Mount(at, after.split()[0])
    return found


def unfit(data: Path) -> str | None:
    """A sentence if the data directory may not lie where it lies, else None."""
    mount = mount_of(data)
    if not mount.refused:
        return None
    return (
        f"the data directory {data} lies on {mount.kind} (mounted at {mount.at}), where locks cannot be trusted:"
        " set GATEWAY_DATA to a directory on a local disk"
    )


def sync(path: Path) -> None:
    """What was written to this file, or which names are in this directory, is durable on return. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
