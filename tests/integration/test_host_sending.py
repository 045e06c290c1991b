"""The path of a message with nothing in its way: accepted, looked up, handed over, acked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from host_rig import HostRig

from gateway.message import State


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[HostRig]:
    async with HostRig(tmp_path) as one:
        await one.linked()
        yield one


async def test_a_message_goes_out_once_and_gets_its_acks(rig: HostRig) -> None:
    id = await rig.accept("4915550001", "hello")
    view = await rig.reached(id, State.READ)
    (row,) = await rig.truth()
    assert (row["body"], row["calls"], row["stanzas"]) == ("hello", 1, 1)
    assert view.wa_id is not None and row["id"] in view.wa_id
    assert [a.outcome for a in view.attempts] == ["sent"]
