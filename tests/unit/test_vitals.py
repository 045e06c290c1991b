"""Signs of life without a host: what the launcher recorded in this boot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.beat import boot_id
from gateway.settings import Settings
from gateway.slot import Launch, started_at, write_launch
from gateway.vitals import processes


@pytest.mark.parametrize(
    ("pid", "refused", "state"),
    [(os.getpid(), None, "silent"), (os.getpid(), "no sandbox", "gone"), (4_194_303, None, "gone"), (None, None, "unknown")],
)
def test_chromium_of_a_stopped_session_was_seen(tmp_path: Path, pid: int | None, refused: str | None, state: str) -> None:
    settings = Settings(data=tmp_path)
    settings.make_directories()
    if pid is not None:
        write_launch(tmp_path.resolve(), "default", Launch(pid, started_at(pid) or 1, boot_id(), refused=refused))
    found = {v.name: v for v in processes(settings, ["default"])}["chromium-default"]
    assert (found.state, found.pid) == (state, pid)
