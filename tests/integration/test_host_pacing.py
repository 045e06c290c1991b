"""A cap of pacing on the real host: it holds over a kill -9, and opens when its window has passed."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from host_rig import SESSION, HostRig, until

from gateway.message import Reason
from gateway.pacing import DAY, Use


def uses(rig: HostRig) -> dict[str, Use]:
    found = rig.evidence()
    return {use.name: use for use in map(Use.from_dict, found.pace)} if found else {}


async def attached(rig: HostRig, epoch: int) -> None:
    """The host of that epoch is ready to claim, and has looked once at what waits."""

    async def question() -> bool:
        found, row = rig.evidence(), await rig.session()
        return found is not None and found.epoch == epoch and found.state == row.state == "ready" and "max_per_day" in uses(rig)

    await until(f"the host of epoch {epoch} is ready", question)


async def test_a_cap_holds_over_a_kill_of_the_host_and_opens_when_its_window_has_passed(tmp_path: Path) -> None:
    async with HostRig(tmp_path, max_per_day=3) as rig:
        await rig.linked()
        ids = await rig.accept_many([(f"491555000{n}", f"capped {n}") for n in range(5)])

        async def three_went() -> bool:
            return len(await rig.truth()) == 3 and uses(rig)["max_per_day"].left == 0

        await until("three go", three_went)
        epoch = (await rig.session()).epoch
        await rig.kill_host()
        await rig.start_host()
        await attached(rig, epoch + 1)
        held = uses(rig)["max_per_day"]
        assert held.left == 0 and held.until is not None, "the successor knows what its predecessor sent"
        status = await rig.queue_status({SESSION: list(uses(rig).values())})
        assert (status.reason, status.cap, status.counts["queued"]) == (Reason.RATE_LIMITED, "max_per_day", 2)
        # twice as long as the sender ever sleeps: it has looked since, and took nothing
        await asyncio.sleep(2.0)
        assert len(await rig.truth()) == 3

        await rig.kill_host()
        await rig.writer.run(lambda conn: a_day_passes(conn))
        await rig.start_host()
        await rig.sent(*ids)
        assert len(await rig.truth()) == 5 and not await rig.twice()


def a_day_passes(conn: sqlite3.Connection) -> None:
    """As far as the counts know: the clock of the machine is not ours to set."""
    conn.execute("UPDATE handed SET minute = minute - ?, last = last - ?", (int((DAY + 1800) // 60), DAY + 1800))


async def test_a_chat_keeps_its_gap_and_others_go_on(tmp_path: Path) -> None:
    async with HostRig(tmp_path, chat_interval=2.0) as rig:
        await rig.linked()
        ids = await rig.accept_many([("4915550001", "first"), ("4915550001", "second"), ("4915550002", "beside it")])
        await rig.sent(*ids)
        first, second, beside = [(await rig.message(id)).attempts[0].claimed_at for id in ids]
        assert second - first >= 2.0 and abs(beside - first) < 2.0
