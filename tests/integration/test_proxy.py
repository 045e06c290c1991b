"""GATEWAY_PROXY on a real proxy that asks for a name and a password; and no request to a host that is none of WhatsApp's."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from host_rig import HostRig, until
from proxy_rig import Proxy

from gateway import slot as slots
from gateway.beat import boot_time
from gateway.session import complaints

USER, PASSWORD = "tenant:one".replace(":", "-"), "p@ss/50%:x"
WRITTEN = "tenant-one:p%40ss%2F50%25%3Ax"
#: The sandbox is on loopback, which Chromium asks directly otherwise.
LOOPBACK_TOO = "--proxy-bypass-list=<-loopback>"


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    async with Proxy(USER, PASSWORD) as proxy:
        yield proxy


def rig_behind(proxy: Proxy, directory: Path, sign_in: str = WRITTEN) -> HostRig:
    return HostRig(directory, proxy=f"http://{sign_in}@127.0.0.1:{proxy.port}", chromium_args=LOOPBACK_TOO)


def words_of_processes() -> bytes:
    return b"".join(path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK))


async def test_every_request_signs_in_and_goes_to_whatsapps_host_alone(proxy: Proxy, tmp_path: Path) -> None:
    async with rig_behind(proxy, tmp_path) as rig:
        await rig.linked()
        await rig.sent(await rig.accept("4915550001", "through the proxy"))
        tunnels = sum(one.method == "CONNECT" for one in proxy.asked)
        assert tunnels >= 1, "the page's WebSocket"
        # a new host finds the page alive: its socket was not touched
        await rig.kill_host()
        await rig.start_host()
        await rig.ready()
        await rig.sent(await rig.accept("4915550001", "by the next host"))
        assert sum(one.method == "CONNECT" for one in proxy.asked) == tunnels
        # a Chromium that is relaunched signs in with its first request
        await rig.kill_chromium()
        await rig.start_chromium()
        await rig.ready()
        await rig.sent(await rig.accept("4915550001", "by the next Chromium"))
        assert all(one.signed_in for one in proxy.asked), proxy.asked
        assert set(proxy.hosts()) == {"127.0.0.1"}, proxy.hosts()
        assert {one.port for one in proxy.asked} == {rig.sandbox.port}
        said = rig.log.read_text()
        for word in (PASSWORD, "p%40ss", "Basic "):
            assert word not in said
            assert word.encode() not in words_of_processes()


async def test_the_forwarder_ends_with_chromium_and_serves_no_stranger(proxy: Proxy, tmp_path: Path) -> None:
    async with rig_behind(proxy, tmp_path) as rig:
        await asyncio.gather(rig.start_chromium(), rig.start_host())

        async def attached() -> bool:
            e = rig.evidence()
            return e is not None and e.connected

        await until("attached", attached)
        launch = slots.read_launch(rig.data, "default")
        assert launch is not None and launch.forwarder and not slots.forwarder_fails(launch)
        os.kill(launch.forwarder, signal.SIGKILL)

        async def seen() -> bool:
            e = rig.evidence()
            return e is not None and e.forwarder_fails

        await until("its end is seen", seen, 5)
        await rig.kill_chromium()
        await rig.start_chromium()

        async def again() -> slots.Launch | None:
            found = slots.read_launch(rig.data, "default")
            return found if found and found.forwarder not in (0, launch.forwarder) else None

        fresh = await until("the next one runs", again)
        assert fresh is not None
        assert rig.chromium is not None
        rig.chromium.kill()  # the leader alone

        async def gone() -> bool:
            return slots.started_at(fresh.forwarder) is None

        await until("it ends with Chromium", gone, 5)


async def test_a_proxy_that_refuses_or_is_gone_is_said_and_comes_back(proxy: Proxy, tmp_path: Path) -> None:
    """What went wrong is in the one sentence of health, with its cause; when it is mended nothing else has to be done."""
    proxy.expect(USER, "another")
    async with rig_behind(proxy, tmp_path) as rig:
        await asyncio.gather(rig.start_chromium(), rig.start_host())

        async def said(*words: str) -> None:
            async def question() -> list[str]:
                e = rig.evidence()
                return [c for c in complaints(e, boot_time(), 120) if all(w in c for w in words)] if e else []

            await until(f"health says {words}", question)

        await said(f"the proxy http://127.0.0.1:{proxy.port} does not accept the name and password", "407", "by itself")
        await proxy.stop()
        await said(f"the proxy http://127.0.0.1:{proxy.port} refuses the connection", "GATEWAY_PROXY")
        proxy.expect(USER, PASSWORD)
        await proxy.start()
        await rig.scanned()
        await proxy.stop()
        await said("the line has been down", f"the proxy http://127.0.0.1:{proxy.port} refuses the connection")
        await proxy.start()
        await rig.ready()
        assert "p%40ss" not in rig.log.read_text() and PASSWORD not in rig.log.read_text()
