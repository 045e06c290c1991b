"""Chromium's own sandbox, the walls between a page and the machine: whether it works here, and what to do where not.

It needs user namespaces, or a setuid helper beside the executable. Without either Chromium ends at once with
"No usable sandbox!", which would be a crash loop that says nothing to anybody.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

_CLONE_NEWUSER = 0x10000000
#: Seconds for one start of Chromium that only prints an empty page (0.5 s alone on two cores).
_ASKING = 30.0
#: What Chromium says for want of namespaces and helper, or of a helper that it finds unfit.
_NO_SANDBOX = re.compile(r"no usable sandbox|s(et)?uid sandbox", re.IGNORECASE)


def missing_walls(executable: Path, environ: Mapping[str, str]) -> str | None:
    """None if Chromium's own sandbox works for this user, else a sentence that says what to do.

    Where user namespaces may be made that is known in 2 ms. Where not, Chromium itself is asked, as it may have a setuid
    helper, or AppArmor may allow to it what it forbids to us.
    """
    if may_make_namespaces() or not _NO_SANDBOX.search(_ask(executable, environ)):
        return None
    return (
        f"Chromium does not start without its own sandbox, and that needs user namespaces, which uid {os.getuid()} may not make here:"
        f" {remedy(executable, _read)}. Or, knowing that whoever breaks into the page then has every right of this user,"
        " set GATEWAY_CHROMIUM_ARGS=--no-sandbox"
    )


def may_make_namespaces() -> bool:
    """Whether this process may do what Chromium's sandbox begins with; tried in a child, as there is no way back out of it."""
    libc = ctypes.CDLL(None, use_errno=True)
    child = os.fork()
    if child == 0:
        failed = 1
        try:
            failed = _nest(libc)
        finally:
            os._exit(failed)
    return os.waitpid(child, 0)[1] == 0


def _nest(libc: ctypes.CDLL) -> int:
    """Make a user namespace, map our ids into it, and make another one there: 0 if all of it is allowed.

    The maps belong to the test: AppArmor lets the namespace come about, but gives no rights in it.
    """
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWUSER):
        return 1
    Path("/proc/self/setgroups").write_text("deny")  # the kernel wants it before an unprivileged gid_map
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    return 1 if libc.unshare(_CLONE_NEWUSER) else 0


def _ask(executable: Path, environ: Mapping[str, str]) -> str:
    """What Chromium writes to standard error while it prints an empty page; empty if it could not be asked."""
    with tempfile.TemporaryDirectory(prefix="gateway-chromium-", ignore_cleanup_errors=True) as tmp:
        command = [str(executable), "--headless=new", "--disable-gpu", f"--user-data-dir={tmp}/profile", "--dump-dom", "about:blank"]
        try:
            done = subprocess.run(
                command, env={**environ, "TMPDIR": tmp}, stdin=subprocess.DEVNULL, capture_output=True, timeout=_ASKING, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
    return done.stderr.decode(errors="replace")


def remedy(executable: Path, read: Callable[[str], str]) -> str:
    """What allows user namespaces on this machine; `read` gives the text of a file, empty where there is none."""
    if read("/proc/sys/user/max_user_namespaces") == "0":
        return "set user.max_user_namespaces above 0 by sysctl"
    if read("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return "`sysctl kernel.unprivileged_userns_clone=1`, or install the package chromium-sandbox, whose helper needs none"
    if read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            f"give {executable} an AppArmor profile with the rule `userns,` (Ubuntu 23.10 and newer),"
            " or `sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
        )
    if re.search(r"^Seccomp:\s*2$", read("/proc/self/status"), re.MULTILINE):
        return "run the container with --security-opt seccomp=deploy/seccomp.json (docs/deploy.md)"
    return "see what this machine's security modules or container runtime forbid"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
