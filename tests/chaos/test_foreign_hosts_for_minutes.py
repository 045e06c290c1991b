"""Two minutes of Chromium: start, link, idle, relaunch, idle. Directly by its network log, and through a logging proxy that sees all."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from host_rig import HostRig
from netlog import read
from proxy_rig import Proxy

#: Seconds of each of the two parts, before and after the relaunch.
PART = 60.0


async def lived(rig: HostRig) -> None:
    await rig.linked()
    await rig.sent(await rig.accept("4915550001", "hello"))
    await asyncio.sleep(PART)
    await rig.kill_chromium()
    await rig.start_chromium()
    await rig.ready()
    await rig.sent(await rig.accept("4915550001", "hello again"))
    await asyncio.sleep(PART)
    await rig.end_chromium()


@pytest.mark.parametrize("through", ["GATEWAY_PROXY", "--proxy-server"])
async def test_a_proxy_sees_nothing_but_the_sandbox(tmp_path: Path, through: str) -> None:
    async with Proxy() as proxy:
        given = {"chromium_args": "--proxy-bypass-list=<-loopback>"}
        if through == "GATEWAY_PROXY":
            given["proxy"] = proxy.url
        else:
            given["chromium_args"] += f" --proxy-server={proxy.url}"
        async with HostRig(tmp_path, **given) as rig:
            await lived(rig)
            assert {(one.host, one.port) for one in proxy.asked} == {("127.0.0.1", rig.sandbox.port)}, proxy.hosts()


async def test_without_a_proxy_no_name_is_looked_up(tmp_path: Path) -> None:
    log = tmp_path / "net.json"
    async with HostRig(tmp_path, chromium_args=f"--log-net-log={log}") as rig:
        await lived(rig)
    seen = read(log)  # of the second Chromium
    assert (seen.names, seen.addresses) == (set(), {"127.0.0.1"})
