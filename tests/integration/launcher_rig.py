"""A data directory, and launchers started in it, each of which becomes a real Chromium."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gateway import process
from gateway import slot as slots
from gateway.executable import find_chromium
from gateway.settings import Settings

CHROMIUM = find_chromium(Path(os.environ["GATEWAY_CHROMIUM"]) if "GATEWAY_CHROMIUM" in os.environ else None)

START = "import sys; from gateway.browser.chromium import main; from gateway.settings import load; sys.exit(main(load(), 'default'))"


def allow_core_dumps() -> None:
    """As on a machine where dumps are switched on for all."""
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for a condition; asked each 10 ms."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not within the deadline"
        time.sleep(0.01)


class Rig:
    """A data directory, and launchers started in it."""

    def __init__(self, data: Path) -> None:
        self.settings = Settings(data=data)
        self.settings.make_directories()
        self.data = data
        self.profile = self.settings.slot("default") / "profile"
        self.log = data / "launcher.log"

    def launch(self, code: str = START) -> subprocess.Popen[bytes]:
        """A process that runs the launcher; with START it becomes Chromium."""
        environ = {**os.environ, "GATEWAY_DATA": str(self.data), "GATEWAY_API_KEY": "a-key-that-stays-here"}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", code],
                env=environ,
                cwd=self.data,
                stdout=log,
                stderr=log,
                process_group=0,
                preexec_fn=allow_core_dumps,
            )

    def port(self) -> int:
        """DevTools' port, once it is told."""
        file = self.profile / "DevToolsActivePort"
        until(lambda: file.exists() and file.read_text().count("\n") == 1, 30)
        return int(file.read_text().split()[0])

    def up(self, code: str = START) -> subprocess.Popen[bytes]:
        """The same, and wait until Chromium answers."""
        (self.profile / "DevToolsActivePort").unlink(missing_ok=True)
        started = self.launch(code)
        try:
            self.port()
        except AssertionError:
            raise AssertionError(self.log.read_text()[-3000:]) from None
        return started

    def refusal(self) -> str:
        """The sentence of a launcher that refuses; it lingers with it, and ends when told to."""
        started = self.launch()
        until(lambda: (launch := slots.read_launch(self.data, "default")) and launch.pid == started.pid and launch.refused)
        assert started.poll() is None
        started.terminate()
        assert started.wait(5) == process.REFUSED
        launch = slots.read_launch(self.data, "default")
        assert launch is not None
        return str(launch.refused)

    def processes(self) -> list[int]:
        return slots.chromium_processes(self.data, "default", CHROMIUM)

    def command_lines(self) -> dict[int, str]:
        """pid → command line of each of Chromium's processes."""
        lines = {}
        for pid in self.processes():
            with contextlib.suppress(OSError):  # it may end meanwhile
                lines[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        return lines


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
