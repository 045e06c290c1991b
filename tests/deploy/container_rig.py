"""The image's command at work as a container engine would run it, and a machine with systemd made of the same image."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
from gateway_rig import until
from image_rig import Image

from gateway.client import Unreachable

_NAMESPACES = ["--mount", "--pid", "--ipc", "--uts", "--net", "--cgroup", "--root", "--wd"]
_CALL = """
import json, os, urllib.request
def call(path, body=None, port=3000):
    headers = {"Content-Type": "application/json"}
    if file := os.environ.get("GATEWAY_API_KEY_FILE"):
        headers["Authorization"] = "Bearer " + open(file).read()
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
    return json.load(urllib.request.urlopen(request, timeout=20))
"""


class Inside:
    """A process with namespaces of its own, and what it is asked from outside."""

    def __init__(self, image: Image, env: Mapping[str, str], said: Path) -> None:
        self.image, self.env, self.said = image, dict(env), said

    def begin(self, command: list[str], env: Mapping[str, str]) -> None:
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(command, env=dict(env), stdout=said, stderr=said, start_new_session=True)

    def end(self) -> None:
        """Everything inside dies with process 1; which does not die with what we started, as a change of user undoes that."""
        if self.process.poll() is None:
            os.kill(self.first, signal.SIGKILL)
            self.process.wait()

    @property
    def first(self) -> int:
        """What is process 1 inside, by its number outside."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(until("process 1", lambda: self.process.poll() is None and children.read_text().split(), 10)[0])

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command inside, as root."""
        command = ["/usr/bin/nsenter", "--target", str(self.first), *_NAMESPACES, "--", *words]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60)

    def exec(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command inside, as the user that the gateway is."""
        return self.run(*self.image.as_user(*words))

    def python(self, code: str) -> Any:
        """The value, through JSON, of an expression; `call(path, body=None, port=3000)` asks by HTTP. Raises Unreachable."""
        done = self.exec("python", "-c", _CALL + f"print(json.dumps({code}))")
        if done.returncode:
            raise Unreachable(done.stderr[-1000:])
        return json.loads(done.stdout)

    def link(self) -> None:
        """The sandbox's phone scans, and the session is healthy then."""
        until("the phone scans", lambda: self.python("call('/control/scan', {}, port=8090)"), 60)
        self.healthy()

    def healthy(self) -> None:
        until("session_health", lambda: self.python("call('/api/health')['session_health']"), 60)

    def sends(self, text: str) -> None:
        """By the command that people type; it has arrived then."""
        done = self.exec("gateway", "send", "4915550001", text, "--wait", "20")
        assert done.returncode == 0 and done.stdout.split()[1] in ("sent", "delivered", "read"), done
        assert text in [m["body"] for m in self.python("call('/control/messages?direction=out', port=8090)")]

    # -- as seen from outside
    def processes(self) -> list[psutil.Process]:
        return psutil.Process(self.first).children(recursive=True)

    def zombies(self) -> list[int]:
        return [p.pid for p in self.processes() if p.status() == psutil.STATUS_ZOMBIE]

    def chromium(self, *words: str) -> list[psutil.Process]:
        """Processes of Chromium whose command lines have one of the words."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                line = " ".join(process.cmdline())  # Chromium writes its own anew, with spaces
                if "/lib/chromium/" in line and any(word in line for word in words):
                    found.append(process)
        return found

    def browser(self) -> psutil.Process:
        """The browser process: the one without a type."""
        return until("Chromium runs", lambda: [p for p in self.chromium("--remote-debugging-port") if p not in self.chromium("--type=")])[0]

    def sandboxed(self) -> None:
        """Chromium's page runs in user, process and network namespaces of its own, and under a filter of its own."""
        main, pages = self.browser(), until("a page", lambda: self.chromium("--type=renderer"))
        assert "--no-sandbox" not in " ".join(main.cmdline())
        for page in pages:
            for name in ("user", "pid", "net"):
                ours, its = (Path(f"/proc/{pid}/ns/{name}").readlink() for pid in (main.pid, page.pid))
                assert ours != its, f"the page's {name} namespace is the gateway's"
            assert _filters(page.pid) > _filters(main.pid) > 0, "the gateway's own, and Chromium's beside it"
        count = f"len(__import__('gateway.slot').slot.chromium_processes({self._data}, 'default'))"
        until("the gateway, too, sees all of it: to sweep, and to measure", lambda: self.python(count) == len(self.chromium("")))

    @property
    def _data(self) -> str:
        return f"__import__('pathlib').Path({self.env['GATEWAY_DATA']!r})"

    def story(self, data: Path) -> None:
        print("--- it said", self.said.read_text()[-3000:])
        for log in sorted(data.glob("logs/*.log")):
            print(f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-30:]))


def _filters(pid: int) -> int:
    return int(re.findall(r"Seccomp_filters:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0])


class Container(Inside):
    """`with Container(image, volume, {…}) as c:` runs the image's command, its root read-only, with `volume` as its data."""

    def __init__(self, image: Image, volume: Path, env: Mapping[str, str] | None = None, *, before: list[str] | None = None) -> None:
        super().__init__(image, image.env | dict(env or {}), volume.with_suffix(".log"))
        self.volume, self._before = volume, before or []

    def __enter__(self) -> Container:
        command = [*self._before, *self.image.entrypoint, *self.image.command]
        self.begin(self.image.entering("run", *self.image.as_user(*command)), self.env | {"VOLUME": str(self.volume)})
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.story(self.volume)
        self.end()

    def content(self) -> bool:
        """What the image's HEALTHCHECK says."""
        return self.exec(*self.image.healthcheck).returncode == 0


class Machine(Inside):
    """`with Machine(image, …) as m:` boots systemd, which has to be installed in the image, in a control group of its own."""

    def __init__(self, image: Image, env: Mapping[str, str]) -> None:
        super().__init__(image, image.env | dict(env), image.root.with_suffix(".log"))
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
        self._groups = [
            Path(at) / f"gateway-test-{os.getpid()}"
            for at, kind in mounts
            if kind == "cgroup2" or at == "/sys/fs/cgroup/systemd"  # one of all, or two where the older kind is in use too
        ]

    def __enter__(self) -> Machine:
        for group in self._groups:
            group.mkdir()
        join = "; ".join(f"echo $$ > {group}/cgroup.procs" for group in self._groups)
        boot = ["container=docker", "PATH=/usr/sbin:/usr/bin", "/lib/systemd/systemd", "--log-target=console", "--show-status=no"]
        command = self.image.entering("boot", "env", "-i", *boot)
        self.begin(["/bin/sh", "-c", f'{join}; exec "$@"', "sh", *command], self.env)
        until("systemd is up", lambda: self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"), 60)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            print(self.run("journalctl", "--no-pager", "-n", "100").stdout)
            self.story(Path(f"{self.image.root}{self.env['GATEWAY_DATA']}"))
        self.end()
        for group in self._groups:
            for below in sorted(group.rglob("*/"), reverse=True):
                until("its processes are gone", lambda below=below: _removed(below))
            until("its processes are gone", lambda group=group: _removed(group))


def _removed(group: Path) -> bool:
    with contextlib.suppress(OSError):
        group.rmdir()
    return not group.exists()
