"""The Dockerfile without a container engine: its own lines, carried out in a fresh Debian, and its command run as an engine would.

Only what the Dockerfile says is done: there is no second list of steps that could drift from it. Needs root, debootstrap and a
Debian mirror. What an engine adds (namespaces, an own /dev, names of hosts, a volume, a read-only root) is added here by hand.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway_rig import until

from gateway.client import Unreachable

CHECKOUT = Path(__file__).parents[2]
DOCKERFILE = CHECKOUT / "deploy" / "Dockerfile"
_ENTER = Path(__file__).with_name("enter.sh")
#: Variables by which this machine reaches the registries; where one names a file, the file comes along. An engine has build arguments.
_WAY_OUT = ("http_proxy", "https_proxy", "no_proxy", "PIP_CERT", "PIP_INDEX_URL", "NODE_EXTRA_CA_CERTS", "NPM_CONFIG_REGISTRY")


def instructions(text: str) -> list[tuple[str, str]]:
    """(`RUN`, its text) of each line of a Dockerfile, joined where it goes on in the next."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", "", "\n".join(lines))
    return [(word, rest.strip()) for word, _, rest in (line.strip().partition(" ") for line in joined.splitlines()) if word]


@dataclass
class Image:
    """What the Dockerfile has come to: a root directory, and how its command is run."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)
    user: str = "0:0"
    workdir: str = "/"
    volumes: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)

    def build(self) -> None:
        """Carry out every instruction. AssertionError with what a step said, if one fails."""
        for word, rest in instructions(DOCKERFILE.read_text()):
            print(f"{word} {rest[:100]}", flush=True)
            getattr(self, f"_{word.lower()}")(rest)

    def _from(self, rest: str) -> None:
        distribution, _, tag = rest.partition(":")
        assert distribution == "debian"
        suite = tag.removesuffix("-slim")
        mirror = "http://deb.debian.org/debian"
        _say(["debootstrap", "--variant=minbase", suite, str(self.root), mirror])
        # the sources of Debian's own image
        sources = [f"deb {mirror} {suite} main", f"deb {mirror} {suite}-updates main", f"deb {mirror}-security {suite}-security main"]
        (self.root / "etc/apt/sources.list").write_text("\n".join(sources) + "\n")
        for name in ("resolv.conf", "hosts"):
            shutil.copy(Path("/etc") / name, self.root / "etc" / name)
        (self.root / ".dockerenv").touch()  # by it a program knows where it is
        self.env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

    def _run(self, rest: str) -> None:
        env = self.env | self._way_out()
        _say(self.entering("build", "/bin/sh", "-c", f"cd {shlex.quote(self.workdir)} && {rest}"), env=env)

    def _way_out(self) -> dict[str, str]:
        found = {name: os.environ[name] for name in _WAY_OUT if name in os.environ}
        for name, value in found.items():
            if Path(value).is_file():
                found[name] = f"/opt/{name.lower()}"
                shutil.copy(value, f"{self.root}{found[name]}")
        return found

    def _copy(self, rest: str) -> None:
        *sources, to = rest.split()
        target = self.root / (self.workdir.lstrip("/")) / to
        for source in sources:
            path = CHECKOUT / source
            if path.is_dir():
                shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target / path.name)

    def _env(self, rest: str) -> None:
        self.env |= dict(word.split("=", 1) for word in shlex.split(rest))

    def _workdir(self, rest: str) -> None:
        self.workdir = rest
        (self.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def _user(self, rest: str) -> None:
        self.user = rest

    def _volume(self, rest: str) -> None:
        self.volumes.append(rest)

    def _expose(self, rest: str) -> None:
        pass

    def _healthcheck(self, rest: str) -> None:
        self.healthcheck = json.loads(rest.partition("CMD")[2])

    def _entrypoint(self, rest: str) -> None:
        self.entrypoint = json.loads(rest)

    def _cmd(self, rest: str) -> None:
        self.command = json.loads(rest)

    def entering(self, kind: str, *words: str) -> list[str]:
        """A command in the root, with namespaces of its own; to `run`, without the network of this machine too."""
        apart = ["--mount", "--pid", "--ipc", "--uts", *(["--net"] if kind == "run" else [])]
        return ["/usr/bin/unshare", *apart, "--fork", "--kill-child", "--", "/bin/sh", str(_ENTER), kind, str(self.root), *words]

    def as_user(self, *words: str) -> list[str]:
        """The command without any capability, as the image's user: `cap_drop: [ALL]` and `no-new-privileges` of compose.yaml."""
        uid, gid = self.user.split(":")
        less = ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
        return ["/usr/bin/setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", *less, "--", *words]


class Container:
    """`with Container(image, volume, {…}) as c:` runs the image's command, its root read-only, with `volume` as its data."""

    def __init__(self, image: Image, volume: Path, env: Mapping[str, str] | None = None, *, before: list[str] | None = None) -> None:
        self.image, self.volume = image, volume
        self.env = image.env | dict(env or {})
        self._before = before or []
        self.said = volume.with_suffix(".log")

    def __enter__(self) -> Container:
        with self.said.open("wb") as said:
            command = [*self._before, *self.image.entrypoint, *self.image.command]
            self.process = subprocess.Popen(
                self.image.entering("run", *self.image.as_user(*command)),
                env=self.env | {"VOLUME": str(self.volume)},
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            print("--- container", self.said.read_text()[-3000:])
            for log in sorted(self.volume.glob("logs/*.log")):
                print(f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-30:]))
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def first(self) -> int:
        """What is process 1 inside, by its number outside."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(until("process 1", lambda: self.process.poll() is None and children.read_text().split(), 10)[0])

    def exec(self, *words: str) -> subprocess.CompletedProcess[str]:
        """As `docker exec` does."""
        apart = ["/usr/bin/nsenter", "--target", str(self.first), "--mount", "--pid", "--ipc", "--uts", "--net", "--root", "--wd"]
        return subprocess.run([*apart, *self.image.as_user(*words)], env=self.env, capture_output=True, text=True, timeout=60)

    def healthy(self) -> bool:
        """What the image's HEALTHCHECK says."""
        return self.exec(*self.image.healthcheck).returncode == 0

    def python(self, code: str) -> Any:
        """The value, through JSON, of an expression; `call(path, body=None, port=3000)` asks by HTTP. Raises Unreachable."""
        done = self.exec("python", "-c", _CALL + f"print(json.dumps({code}))")
        if done.returncode:
            raise Unreachable(done.stderr[-1000:])
        return json.loads(done.stdout)


_CALL = """
import json, os, urllib.request
def call(path, body=None, port=3000):
    headers = {"Content-Type": "application/json", "Authorization": "Bearer " + open(os.environ["GATEWAY_API_KEY_FILE"]).read()}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers)
    return json.load(urllib.request.urlopen(request, timeout=20))
"""


def _say(command: list[str], env: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
