"""A Chromium that dies is an ordinary day: the host says so in one line, and nothing of pyppeteer's insides gets into its log."""

from __future__ import annotations

import signal
from pathlib import Path

from host_rig import HostRig, until

from gateway.store.doorbell import Bell


async def test_a_chromium_that_is_killed_during_calls_leaves_no_traceback(tmp_path: Path) -> None:
    async with HostRig(tmp_path) as rig:
        await rig.linked()
        id = await rig.accept("4915550001", "before it hangs")
        await rig.sent(id)
        rig.signal_chromium(signal.SIGSTOP)

        async def a_call_hangs() -> bool:
            found = rig.evidence()
            return found is not None and found.missed > 0

        await until("a round trip gets no answer", a_call_hangs)
        await rig.kill_chromium()
        await rig.start_chromium()
        await rig.ready()
        await rig.sent(await rig.accept("4915550001", "after it"))
        await rig.kill_host()  # what was never looked at is named when it is thrown away, at the latest with the loop's other garbage
        said = rig.log.read_text()
        assert "The connection to Chromium is over" in said
        assert not [line for line in said.splitlines() if "never retrieved" in line or "Traceback" in line or "ERROR asyncio" in line]


async def test_a_host_at_rest_writes_nothing_and_rings_nobody(tmp_path: Path) -> None:
    async with HostRig(tmp_path) as rig:
        await rig.linked()
        await rig.sent(await rig.accept("4915550001", "the last one for now"))
        bell = Bell(rig.settings.run, "api")
        try:

            async def quiet() -> bool:
                return not await bell.wait(2.5)

            await until("nothing rings for two of its looks and more", quiet)
            await rig.sent(await rig.accept("4915550001", "one more"))
            assert await bell.wait(1.0), "it rings where something happened"
        finally:
            bell.close()


async def test_without_doorbells_a_host_finds_all_its_work_by_looking(tmp_path: Path) -> None:
    async with HostRig(tmp_path, doorbells=False) as rig:
        await rig.linked()
        await rig.sent(await rig.accept("4915550001", "found, looked up and sent"))
        await rig.sent(await rig.accept("4915550001", "found in a chat that is known"))
        assert (await rig.order("screenshot")).error is None
