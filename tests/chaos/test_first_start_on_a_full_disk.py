"""A process that starts for the first time on a full disk waits and says so, and goes on when there is room."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from disk_rig import Filler, small_disk
from gateway_rig import GATEWAY, Gateway, until

from gateway import beat
from gateway.process import die_with_parent
from gateway.settings import Settings

#: Bytes of the small file system: room for the reserves (200 MB) and the ballast.
SIZE = 448 * 1024 * 1024


@pytest.mark.parametrize(
    ("name", "words"), [("api", ["api"]), ("watchdog", ["watchdog"]), ("browser-default", ["browser", "--session", "default"])]
)
def test_it_waits_for_room_and_goes_on(tmp_path: Path, name: str, words: list[str]) -> None:
    gateway = Gateway()
    with small_disk(gateway.data, SIZE):
        settings = Settings(data=gateway.data)
        settings.make_directories()
        filler = Filler(gateway.data)
        log = tmp_path / "said.log"
        process = None
        try:
            filler.fill()
            with log.open("wb") as file:
                process = subprocess.Popen([*GATEWAY, *words], env=gateway.environ, stdout=file, stderr=file, preexec_fn=die_with_parent)
            until("it says that it waits", lambda: "waits for room" in log.read_text() or process.poll() is not None)
            assert process.poll() is None, log.read_text()
            filler.free()
            until("it beats", lambda: (found := beat.read(settings.beat(name))) is not None and found.pid == process.pid)
            if name == "api":
                until("it accepts", lambda: gateway.api.get("/readyz"))
            assert process.poll() is None and "Traceback" not in log.read_text(), log.read_text()
        finally:
            filler.free()
            if process is not None:
                process.kill()
                process.wait()
