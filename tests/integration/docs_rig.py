"""Runs what the docs say, as a reader would type it: in a checkout, in one shell, on a network of its own.

In a Markdown file each ```console block is typed: a line that begins with `$ ` is a command, and the lines below it are
what it must print; `…` stands for anything, and a line that is only `…` for any lines. A command must end with status 0.
Comments of HTML, which no reader sees, say the rest:
    <!-- until: COMMAND -->   typed again and again until it ends with status 0
    <!-- then: COMMAND -->    typed once; for what happens outside, such as the phone that scans
    <!-- not typed: WHY -->   the next block is left out
"""

from __future__ import annotations

import contextlib
import doctest
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gateway.process import die_with_parent

ROOT = Path(__file__).resolve().parents[2]
#: Seconds that one command may take, and that `until` goes on asking.
COMMAND, UNTIL = 90.0, 60.0
_PIECE = re.compile(r"<!-- (until|then|not typed): (.*?) -->|^```console\n(.*?)^```$", re.S | re.M)
#: A loopback of its own: the ports that the docs name are free, and nothing gets out.
_LOOPBACK = (
    "import fcntl, os, socket, struct\n"
    "with socket.socket() as s: fcntl.ioctl(s, 0x8914, struct.pack('16sh', b'lo', 0x49))\n"  # SIOCSIFFLAGS: IFF_UP | IFF_RUNNING
    "os.execvp('bash', ['bash', '--noprofile', '--norc'])\n"
)
_END = "---ended with "


@dataclass(frozen=True)
class Command:
    """What is typed. `prints` is None where nothing is promised; `again` until it succeeds."""

    text: str
    prints: str | None = None
    again: bool = False


def commands(markdown: str) -> Iterator[Command]:
    """All that a reader of the file would type, in its order."""
    left_out = False
    for kind, said, block in _PIECE.findall(markdown):
        if kind == "not typed":
            left_out = True
        elif kind:
            yield Command(said, again=kind == "until")
        else:
            if not left_out:
                yield from _typed(block)
            left_out = False


def _typed(block: str) -> Iterator[Command]:
    """The commands of one block; a line that ends with a backslash goes on below."""
    for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
        lines = part.splitlines(keepends=True)
        own = next(i for i, line in enumerate(lines, 1) if not line.endswith("\\\n"))
        yield Command("".join(lines[:own]).rstrip(), "".join(lines[own:]) or None)


def fits(prints: str, printed: str) -> bool:
    """Whether it printed what the docs say."""
    wanted = re.sub(r"^\s*…$\n?", "...", prints, flags=re.M).replace("…", "...")
    return doctest.OutputChecker().check_output(wanted, printed, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)


@dataclass
class Reader:
    """Somebody in a fresh checkout. `with reading(…) as reader: reader.follow(text)`."""

    shell: subprocess.Popen[bytes]
    said: Path
    story: list[str] = field(default_factory=list)

    def follow(self, markdown: str) -> int:
        """Type all of it; returns how many commands there were. AssertionError with the story so far."""
        count = 0
        for count, command in enumerate(commands(markdown), 1):  # noqa: B007 - counted
            begun = time.monotonic()
            status, printed = self.type(command.text)
            while command.again and status and time.monotonic() - begun < UNTIL:
                time.sleep(0.1)
                status, printed = self.type(command.text)
            self.story.append(f"$ {command.text}\n{printed}")
            assert status == 0, f"ended with {status}:\n" + "\n".join(self.story[-6:])
            if command.prints is not None:
                assert fits(command.prints, printed), f"the docs promise:\n{command.prints}\nof:\n" + "\n".join(self.story[-2:])
        return count

    def type(self, text: str) -> tuple[int, str]:
        """One command in the shell: its status, and what it printed on either stream."""
        assert self.shell.stdin is not None
        at = self.said.stat().st_size
        self.shell.stdin.write(f"{text}\nprintf '\\n{_END}%s\\n' $?\n".encode())
        self.shell.stdin.flush()
        end = time.monotonic() + COMMAND
        while True:
            with self.said.open("rb") as file:
                file.seek(at)
                printed = file.read().decode(errors="replace")
            if found := re.search(rf"\n{_END}(\d+)\n", printed):
                return int(found[1]), re.sub(r"\x1b\[[0-9;]*m", "", printed[: found.start()])
            assert self.shell.poll() is None and time.monotonic() < end, f"no end of: {text}\n{printed}"
            time.sleep(0.02)


@contextlib.contextmanager
def reading(**environ: str) -> Iterator[Reader]:
    """A fresh checkout with its `make install` done, a shell in it, and its end: nothing is left running."""
    home = Path(tempfile.mkdtemp(prefix="docs-"))
    checkout = home / "gateway"
    ignored = shutil.ignore_patterns(".*", "data", "build", "*.egg-info", "node_modules", "__pycache__")
    shutil.copytree(ROOT, checkout, ignore=ignored)
    (checkout / ".venv").symlink_to(Path(sys.prefix))
    (home / ".curlrc").write_text("silent\nshow-error\n")  # on a terminal it shows no progress either
    namespace = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    said = home / "said"
    with said.open("wb") as out:
        shell = subprocess.Popen(
            [*namespace, sys.executable, "-c", _LOOPBACK],
            cwd=checkout,
            env={**{k: v for k, v in os.environ.items() if not k.startswith("MAKE")}, "HOME": str(home), "TERM": "dumb", **environ},
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
    reader = Reader(shell, said)
    try:
        yield reader
    finally:
        with contextlib.suppress(AssertionError):
            reader.type("kill $(jobs -p) 2>/dev/null; .venv/bin/supervisorctl -c supervisor.conf shutdown; wait")
            reader.type("while [ -S data/run/supervisor.sock ]; do sleep 0.1; done")
        shell.kill()
        shell.wait()
        shutil.rmtree(home, ignore_errors=True)
