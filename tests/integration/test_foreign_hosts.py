"""Chromium looks up and connects to nothing but WhatsApp's hosts. Two minutes of it: tests/chaos/test_foreign_hosts_for_minutes.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

from host_rig import HostRig
from netlog import read

#: Seconds; without the flags the first query for accounts.google.com comes within two.
IDLE = 8.0


async def test_no_name_is_looked_up_and_no_stranger_is_asked(tmp_path: Path) -> None:
    log = tmp_path / "net.json"
    async with HostRig(tmp_path, chromium_args=f"--log-net-log={log}") as rig:
        await rig.linked()
        await rig.sent(await rig.accept("4915550001", "hello"))
        await asyncio.sleep(IDLE)
        await rig.end_chromium()
    seen = read(log)
    assert seen.requests > 3
    assert seen.names == set()
    assert seen.addresses == {"127.0.0.1"}
