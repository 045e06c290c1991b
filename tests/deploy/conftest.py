"""The image is built once, for all tests that run something in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from image_rig import CHECKOUT, Image


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    root = Path(tempfile.mkdtemp(prefix="gw-image-"))
    root.chmod(0o755)
    begun = time.monotonic()
    try:
        built = Image(root)
        built.build()
        print(f"built in {time.monotonic() - begun:.0f} s")
        secrets = root / "run" / "secrets"
        secrets.mkdir(parents=True)
        (secrets / "api-key").write_text("0123456789abcdef" * 2)
        (secrets / "api-key").chmod(0o400)
        os.chown(secrets / "api-key", 10001, 10001)
        shutil.copy(CHECKOUT / "tests" / "deploy" / "seccomp.py", root / "opt")
        shutil.copy(CHECKOUT / "deploy" / "seccomp.json", root / "opt" / "docker.json")
        (root / "opt" / "systemd.json").write_text(json.dumps(_filter_of_the_unit()))
        yield built
    finally:
        shutil.rmtree(root)


def _filter_of_the_unit() -> dict[str, Any]:
    """SystemCallFilter= of the systemd unit as a profile in Docker's format."""
    groups: dict[str, list[str]] = {}
    said = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager"], capture_output=True, text=True, check=True).stdout
    for line in said.splitlines():
        if line.startswith("@"):
            members = groups.setdefault(line.strip(), [])
        elif line.strip() and not line.strip().startswith("#"):
            members.append(line.strip())

    def calls(name: str) -> set[str]:
        return set().union(*map(calls, groups[name])) if name.startswith("@") else {name}

    unit = (CHECKOUT / "deploy" / "systemd" / "whatsapp-gateway.service").read_text()
    [allowed] = [line.partition("=")[2].split() for line in unit.splitlines() if line.startswith("SystemCallFilter=")]
    names = sorted(set().union(*map(calls, allowed)))
    rules = [{"names": names, "action": "SCMP_ACT_ALLOW"}]
    return {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "syscalls": rules}
