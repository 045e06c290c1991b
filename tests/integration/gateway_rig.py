"""The whole gateway as a user runs it: supervisord, API, watchdog, host, Chromium, sandbox, in a data directory of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from gateway.client import Client, Refused, Unreachable
from gateway.process import die_with_parent
from gateway.slot import MARK, chromium_processes, started_at
from gateway.verdict import Verdict, judge

T = TypeVar("T")
GATEWAY = [sys.executable, "-m", "gateway"]
SENT = {"sent", "delivered", "read", "played"}


def until(what: str, ask: Callable[[], T], seconds: float = 30.0) -> T:
    """Ask each 20 ms until the answer is true; AssertionError names what never came."""
    end = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < end:
        try:
            if last := ask():
                return last
        except (Refused, Unreachable) as error:
            last = error
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what} (last: {last})")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Gateway:
    """`with Gateway() as g:` runs it and a sandbox beside it; what they said is printed if the block fails."""

    def __init__(self, **settings: str) -> None:
        self.data = Path(tempfile.mkdtemp(prefix="gw-"))  # short: a unix socket's name holds 107 bytes
        self.api = Client(f"http://127.0.0.1:{free_port()}")
        self.sandbox = Client(f"http://127.0.0.1:{free_port()}")
        environ = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")}
        self.environ = environ | {
            "GATEWAY_DATA": str(self.data),
            "GATEWAY_LISTEN": self.api.base.removeprefix("http://"),
            "GATEWAY_SEND_INTERVAL": "0",
            **settings,
        }
        self.environ["GATEWAY_WHATSAPP_URL"] = f"{self.sandbox.base}/"
        self.process: subprocess.Popen[bytes] | None = None
        self.whatsapp: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Gateway:
        # WhatsApp does not die with the gateway's supervisord
        self.whatsapp = self._spawn("sandbox", "--listen", self.sandbox.base.removeprefix("http://"))
        until("the sandbox answers", lambda: self.sandbox.get("/control/state"))
        self.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.print_story()
        self.stop()
        self._end(self.whatsapp)
        shutil.rmtree(self.data, ignore_errors=True)

    def start(self) -> None:
        """`gateway up`; returns when the API answers."""
        self.launch()
        until("the API answers", lambda: self.api.get("/readyz"))

    def launch(self) -> None:
        """`gateway up`; returns at once."""
        self.process = self._spawn("up")

    def stop(self) -> None:
        self._end(self.process)

    def _spawn(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*GATEWAY, *words],
            env=self.environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )

    @staticmethod
    def _end(process: subprocess.Popen[bytes] | None) -> None:
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    # -- what an operator does
    def supervisorctl(self, *words: str) -> str:
        command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(self.data / "supervisor.conf"), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=40).stdout

    def program(self, name: str) -> tuple[str, int | None]:
        """(state, pid) of a program as `supervisorctl status` shows it."""
        line = self.supervisorctl("status", name)
        pid = re.search(r"pid (\d+)", line)
        return line.split()[1], int(pid[1]) if pid else None

    def pid(self, name: str) -> int:
        return until(f"{name} has a pid", lambda: self.program(name)[1])

    def link(self) -> None:
        until("the phone scans", lambda: self.sandbox.post("/control/scan"))
        self.healthy()

    def healthy(self, seconds: float = 30.0) -> None:
        until("session_health", lambda: self.api.get("/api/health")["session_health"], seconds)

    # -- what a tester does
    def health(self) -> dict[str, Any]:
        return dict(self.api.get("/api/health"))

    def recoveries(self) -> list[tuple[str, str]]:
        """(cause, status) of each recovery, as the database has them: also when nothing runs."""
        with contextlib.closing(sqlite3.connect(self.data / "gateway.db")) as conn:
            return list(conn.execute("SELECT cause, status FROM recovery ORDER BY id"))

    def session(self) -> dict[str, Any]:
        """The session as health shows it."""
        return dict(self.health()["sessions"][0])

    def fault(self, kind: str, **more: object) -> str:
        """Something goes wrong at the sandbox; its id, for heal()."""
        return str(self.sandbox.post("/control/faults", {"kind": kind, **more})["id"])

    def heal(self, *ids: str) -> None:
        """End these faults; without any, all."""
        for id_ in ids or [one["id"] for one in self.sandbox.get("/control/state")["faults"]]:
            self.sandbox.delete(f"/control/faults/{id_}")

    # -- messages
    def send(self, body: str, to: str = "4915550001") -> str:
        return str(self.api.post("/api/messages", {"to": to, "text": body})["id"])

    def view(self, id_: str) -> dict[str, Any]:
        return dict(self.api.get(f"/api/messages/{id_}"))

    def sent(self, id_: str, seconds: float = 30.0) -> dict[str, Any]:
        return until(f"{id_} is sent", lambda: (v := self.view(id_))["status"] in SENT and v, seconds)  # type: ignore[return-value]

    def rows(self) -> list[dict[str, Any]]:
        return list(self.sandbox.get("/control/messages?direction=out"))

    def verdict(self, ids: dict[str, str], seconds: float = 60.0) -> Verdict:
        """Wait until each message is final, and judge."""
        for id_ in ids.values():
            until(f"{id_} is final", lambda id_=id_: self.view(id_)["status"] in SENT | {"failed"}, seconds)
        return judge({body: self.view(id_) for body, id_ in ids.items()}, self.rows())

    def chromium(self) -> list[int]:
        """Every process of the session's Chromium, by the process table."""
        return chromium_processes(self.data, "default")

    def left_over(self) -> dict[int, str]:
        """pid → command line of every process that carries the data directory in its environment, its command line, or is in the
        group of such a one; but for WhatsApp's stand-in, which is none of the gateway's. Empty after its end."""
        words = (f"GATEWAY_DATA={self.data}\0".encode(), f"{MARK}={self.data}:".encode(), f"{self.data}/".encode())
        lines: dict[int, str] = {}
        ours, groups = set(), {}
        for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
            with contextlib.suppress(OSError):
                if started_at(pid) is None:  # a zombie
                    continue
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
                groups[pid], lines[pid] = os.getpgid(pid), line.replace(b"\0", b" ").decode(errors="replace")
                if any(word in line + b"\0" + Path(f"/proc/{pid}/environ").read_bytes() + b"\0" for word in words):
                    ours.add(pid)
        ours.discard(self.whatsapp.pid if self.whatsapp else 0)
        marked = {groups[pid] for pid in ours}
        return {pid: lines[pid] for pid, group in groups.items() if pid in ours or group in marked}

    def print_story(self) -> None:
        """What the sandbox saw and what the processes said, for a failed test."""
        for path in sorted((self.data / "logs").glob("*.log")):
            print(f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-40:]))
        try:
            print("--- sandbox", self.sandbox.get("/control/state"), self.sandbox.get("/control/summary"))
            print("--- health", self.api.get("/api/health"))
        except (Refused, Unreachable) as error:
            print("---", error)
