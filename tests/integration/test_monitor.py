"""./monitor.sh as typed, on the real gateway: in a terminal (a pty), in a pipe, and for scripts."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from pathlib import Path

from gateway_rig import GATEWAY, Gateway, until

ROOT = Path(__file__).parent.parent.parent
MONITOR = [str(ROOT / "monitor.sh")]
ALTERNATE_SCREEN, LEFT, CURSOR_SHOWN = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


def typed(gateway: Gateway, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MONITOR, *words], env=gateway.environ, capture_output=True, text=True, timeout=60)


def _as_a_shell_does() -> None:
    """Make it the controlling terminal, and heed Ctrl-C: tests that are run in the background inherit that it is ignored."""
    os.close(os.open(os.ttyname(0), os.O_RDWR))
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """A program on a terminal of 80×24; `seen` is all that it wrote."""

    def __init__(self, command: list[str], environ: dict[str, str]) -> None:
        self.fd, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        self.before = termios.tcgetattr(self.fd)
        self.seen = b""
        self.process = subprocess.Popen(
            command, env={**environ, "TERM": "xterm-256color"}, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=_as_a_shell_does,
        )  # fmt: skip
        os.close(theirs)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.fd)

    def _read(self, seconds: float) -> bytes:
        try:
            more = os.read(self.fd, 65536) if select.select([self.fd], [], [], seconds)[0] else b""
        except OSError:  # the other end was closed
            more = b""
        self.seen += more
        return more

    def shows(self, text: str, seconds: float = 30.0) -> None:
        """Wait until something new on the screen holds the text."""
        fresh, end = b"", time.monotonic() + seconds
        while text not in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", fresh.decode(errors="replace")):
            assert time.monotonic() < end, f"never shown: {text}\n{self.seen[-4000:].decode(errors='replace')}"
            fresh += self._read(0.2)

    def type(self, keys: bytes) -> int:
        """Type, and wait for the program's end; its exit status."""
        os.write(self.fd, keys)
        end = time.monotonic() + 15
        while self.process.poll() is None and time.monotonic() < end:
            self._read(0.1)
        while self._read(0.1):
            pass
        return self.process.wait(1)


def test_watching_while_things_break_and_heal(gateway: Gateway) -> None:
    with Terminal([*MONITOR, "watch"], gateway.environ) as terminal:
        terminal.shows(" HEALTHY ")
        os.kill(gateway.pid("chromium-default"), signal.SIGKILL)
        terminal.shows("relaunch chromium")
        terminal.shows(" HEALTHY ")
        gateway.supervisorctl("stop", "api")
        terminal.shows("THE API CANNOT BE ASKED")
        terminal.shows("somebody stopped it")
        terminal.shows("stopped")
        gateway.supervisorctl("start", "api")
        terminal.shows(" HEALTHY ")
        assert terminal.type(b"\x03") == 0
        assert terminal.seen.count(ALTERNATE_SCREEN) == 1
        assert terminal.seen.rindex(LEFT) > terminal.seen.rindex(b"HEALTHY"), "the last thing is to leave the screen"
        assert terminal.seen.rindex(CURSOR_SHOWN) > terminal.seen.rindex(b"HEALTHY")
        assert termios.tcgetattr(terminal.fd) == terminal.before


def test_sigterm_gives_the_terminal_back_too(gateway: Gateway) -> None:
    with Terminal([*MONITOR, "watch"], gateway.environ) as terminal:
        terminal.shows(" HEALTHY ")
        terminal.process.terminate()
        assert terminal.type(b"") == 0
        assert LEFT in terminal.seen and CURSOR_SHOWN in terminal.seen


def test_no_colour_where_none_is_wanted(gateway: Gateway) -> None:
    for environ, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        with Terminal([*MONITOR, "watch"], {**gateway.environ, **environ}) as terminal:
            terminal.shows("chromium-default")
            terminal.type(b"\x03")
            assert bool(re.search(rb"\x1b\[[0-9;]*(3[0-9]|4[0-9]|9[0-7])[;m]", terminal.seen)) is coloured


def test_status_for_scripts(gateway: Gateway) -> None:
    told = typed(gateway, "status")
    assert told.returncode == 0 and told.stdout.startswith("Healthy\nsession default: ready"), told.stdout
    assert "\x1b" not in told.stdout
    found = json.loads(typed(gateway, "status", "--json").stdout)
    assert found["health"]["session_health"] and found["exit_status"] == 0 and found["reachable"]
    assert all(p["pid"] and p["uptime_seconds"] and p["memory_bytes"] for p in found["health"]["processes"])
    same = subprocess.run([*GATEWAY, "status"], env=gateway.environ, capture_output=True, text=True, timeout=30)
    assert same.returncode == 0 and same.stdout.startswith("Healthy\nsession default: ready")


def test_a_stopped_api_is_not_reachable_and_the_others_are_still_shown(gateway: Gateway) -> None:
    gateway.supervisorctl("stop", "api")
    told = typed(gateway, "status")
    gateway.supervisorctl("start", "api")
    assert told.returncode == 2
    assert told.stdout.startswith("The API cannot be asked: ") and "process api: stopped" in told.stdout
    assert "session default: ready, healthy" in told.stdout and "process browser-default: running" in told.stdout
    until("the API answers again", lambda: gateway.api.get("/readyz"))


def test_in_a_pipe_a_line_comes_whenever_something_changes(gateway: Gateway) -> None:
    gateway.healthy()
    with subprocess.Popen([*MONITOR, "watch"], env=gateway.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout and watching.stderr
        assert re.match(r"\d\d:\d\d:\d\d Healthy \| default ready \| queue 0$", watching.stdout.readline().strip())
        gateway.api.post("/api/sessions/default/pause")
        gateway.send("waits")
        assert "queue 1, the session is paused" in watching.stdout.readline()
        watching.stdout.close()  # whoever read has enough
        gateway.api.post("/api/sessions/default/resume")
        assert watching.wait(20) == 0 and watching.stderr.read() == ""


def test_recover_queue_clear(gateway: Gateway) -> None:
    gateway.healthy()
    done = typed(gateway, "recover")
    assert done.returncode == 0 and "succeeded" in done.stdout, done.stderr
    gateway.api.post("/api/sessions/default/pause")
    ids = [gateway.send(f"clear me {n}") for n in range(3)]
    told = typed(gateway, "queue")
    assert told.returncode == 0 and "queue: 3 waiting" in told.stdout and "the session is paused" in told.stdout
    assert "would cancel: 3" in typed(gateway, "clear", "--dry-run").stdout
    done = typed(gateway, "clear")
    assert done.returncode == 0 and "cancelled: 3" in done.stdout
    assert {gateway.view(id_)["status"] for id_ in ids} == {"cancelled"}
    gateway.api.post("/api/sessions/default/resume")


def test_other_words_say_which_there_are(gateway: Gateway) -> None:
    done = typed(gateway, "stauts")
    assert done.returncode == 2 and "watch | status | recover | queue | clear" in done.stderr
