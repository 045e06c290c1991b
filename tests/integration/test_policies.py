"""Policies of an administrator, read by a real Chromium in a mount namespace with an /etc/chromium of its own."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from host_rig import HostRig, until

from gateway import slot as slots

FILE = "/etc/chromium/policies/managed/office.json"


def under(rig: HostRig, **values: Any) -> None:
    """What the rig starts from now on finds these policies."""
    shell = f"mount -t tmpfs none /etc/chromium && mkdir -p {Path(FILE).parent} && printf %s '{json.dumps(values)}' > {FILE}"
    rig.before = ("unshare", "--mount", "sh", "-c", f'{shell} && exec "$@"', "sh")


@pytest.fixture(autouse=True)
def root() -> None:
    if os.geteuid():
        pytest.fail("this test has to run as root: two processes share a mount namespace and read each other's /proc")


async def test_a_policy_that_forbids_devtools_is_said_before_chromium_is_started(tmp_path: Path) -> None:
    async with HostRig(tmp_path) as rig:
        under(rig, RemoteDebuggingAllowed=False)
        await asyncio.gather(rig.start_chromium(), rig.start_host())

        async def refused() -> str | None:
            launch = slots.read_launch(rig.data, "default")
            return launch.refused if launch else None

        said = await until("the launcher refuses", refused)
        assert f"RemoteDebuggingAllowed in {FILE}" in str(said)

        async def told() -> bool:
            e = rig.evidence()
            return e is not None and e.detail == said

        await until("the host tells it", told)


async def test_a_policy_that_blocks_whatsapps_page_is_said(tmp_path: Path) -> None:
    async with HostRig(tmp_path) as rig:
        under(rig, URLBlocklist=["*"], URLAllowlist=["about:blank"])
        await asyncio.gather(rig.start_chromium(), rig.start_host())

        async def said() -> bool:
            e = rig.evidence()
            return e is not None and e.unreachable is not None and f"URLBlocklist in {FILE}" in e.unreachable

        await until("the host names the policy", said)
