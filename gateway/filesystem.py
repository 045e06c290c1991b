"""Which file system a path lies on, and whether SQLite's locks and its shared memory can be trusted there.

NFS, SMB, 9p, what Docker Desktop shares with a container, and their kin are refused by name: there locks or shared memory
are lost without a word, and then two processes write at once. What is known to work is used; anything else is tried first.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.filesystem_trial import problem

#: How the kernel says that a disk, or our share of it, is full.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
#: Types as /proc/self/mountinfo names them, a FUSE type by what stands after its dot: over a network, of a cluster, …
_NETWORK = (
    r"nfs\d?|cifs|smb\d?|smbfs|smbnetfs|9p|afs|coda|ncpfs|ceph|ceph-fuse|cephfs|glusterfs|lustre|beegfs|gpfs|gfs2?|ocfs2|orangefs|pvfs2"
    r"|mfs|lizardfs|seaweedfs|juicefs|sshfs|davfs2?|rclone|s3fs|mountpoint-s3|goofys|gcsfuse|blobfuse2?"
)
#: … and what a virtual machine shares with its host: Docker Desktop, WSL, VirtualBox, VMware, Parallels.
_SHARED = r"virtiofs|fakeowner|grpcfuse|osxfs|drvfs|vboxsf|vmhgfs|vmhgfs-fuse|prl_fsd?"
_REFUSED = re.compile(rf"(fuse\.)?({_NETWORK}|{_SHARED})")
#: Local ones on which WAL is used everywhere.
_TRUSTED = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "jfs", "nilfs2", "reiserfs", "tmpfs", "overlay"})


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system."""

    at: str
    kind: str

    @property
    def refused(self) -> bool:
        """Whether the gateway does not work there."""
        return _REFUSED.fullmatch(self.kind) is not None

    @property
    def trusted(self) -> bool:
        """Whether it is known to work."""
        return self.kind in _TRUSTED


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


def unfit(data: Path, tried: Path | None = None) -> str | None:
    """A sentence if the data directory may not lie where it lies, else None.

    On a file system that is neither known to work nor known not to, a trial is made, which takes 0.1 s (10 s at most). With
    `tried`, a file in which it is noted, it is made once for each mount.
    """
    mount = mount_of(data)
    if mount.refused:
        return _sentence(data, mount, "where SQLite's locks and shared memory cannot be trusted")
    if mount.trusted or not data.is_dir():
        return None
    note = f"{mount.kind} at {mount.at}, device {data.stat().st_dev}"
    with suppress(OSError, ValueError):
        if tried and tried.read_text(encoding="utf-8") == note:
            return None
    if found := problem(data):
        return _sentence(data, mount, f"and a trial there shows: {found}")
    with suppress(OSError, ValueError):
        if tried:
            tried.write_text(note, encoding="utf-8")
    return None


def _sentence(data: Path, mount: Mount, why: str) -> str:
    return (
        f"the data directory {data} lies on {mount.kind} (mounted at {mount.at}), {why}:"
        " set GATEWAY_DATA to a directory on a local disk; in a container use a named volume"
    )


def sync(path: Path) -> None:
    """What was written to this file, or which names are in this directory, is durable on return. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
