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

    def run(self, command: str) -> None:
        """Carry a shell's command out in the root, as root."""
        self._run(command)

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
        """A command in the root, with namespaces of its own; to `run` or to `boot`, without the network of this machine too."""
        apart = ["--mount", "--pid", "--ipc", "--uts", *(["--net", "--cgroup"] if kind != "build" else [])]
        return ["/usr/bin/unshare", *apart, "--fork", "--kill-child", "--", "/bin/sh", str(_ENTER), kind, str(self.root), *words]

    def as_user(self, *words: str) -> list[str]:
        """The command without any capability, as the image's user: `cap_drop: [ALL]` and `no-new-privileges` of compose.yaml."""
        uid, gid = self.user.split(":")
        less = ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
        return ["/usr/bin/setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", *less, "--", *words]


def _say(command: list[str], env: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
