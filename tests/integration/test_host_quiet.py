"""A Chromium that dies is an ordinary day: the host says so in one line, and nothing of pyppeteer's insides gets into its log."""

from __future__ import annotations

import signal
from pathlib import Path

from host_rig import HostRig, until


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
