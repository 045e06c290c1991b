"""Chromium's own sandbox: what to do where this machine forbids it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.browser.walls import remedy


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("/proc/sys/user/max_user_namespaces", "0", "set user.max_user_namespaces above 0"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "`sysctl kernel.unprivileged_userns_clone=1`, or install the package"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "give /opt/c/chrome an AppArmor profile"),
        ("/proc/self/status", "NoNewPrivs:\t0\nSeccomp:\t2", "run the container with --security-opt seccomp=deploy/seccomp.json"),
        ("/proc/self/status", "Seccomp:\t0\nSeccomp_filters:\t0", "see what this machine's security modules"),
    ],
)
def test_the_remedy_fits_what_forbids_it(file: str, text: str, said: str) -> None:
    allowed = {"/proc/sys/user/max_user_namespaces": "96364", "/proc/sys/kernel/unprivileged_userns_clone": "1"}
    assert remedy(Path("/opt/c/chrome"), lambda path: {**allowed, file: text}.get(path, "")).startswith(said)
