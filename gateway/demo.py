"""`gateway demo`: the product's main job, for real, on the sandbox, with Chromium killed in the middle.

It starts everything as a user would (`gateway up --sandbox`), in a data directory of its own, speaks
to it by HTTP alone, and believes nobody but the sandbox's server, which counts every stanza.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from gateway.client import Client, Refused, Unreachable
from gateway.process import PRIVATE, die_with_parent
from gateway.provision import SetupFailed, setup
from gateway.settings import SettingsError, load
from gateway.up import command, write_conf
from gateway.verdict import Verdict, judge

T = TypeVar("T")
#: Seconds that each part may take before the demo gives up; several times what it takes on two cores.
START, LINK, DELIVER = 60.0, 60.0, 180.0
RECIPIENTS = [f"4915550{n:04d}" for n in range(1, 7)]

console = Console(highlight=False)


class DemoFailed(Exception):
    """Something did not come about in time; the text says what."""


def run(*, messages: int, interval: float, keep: bool) -> int:
    """Run the demo and return its exit status: 0 only if every message arrived, once."""
    begun = time.monotonic()
    try:
        data = Path(tempfile.mkdtemp(prefix="gateway-demo-"))
    except OSError as error:
        console.print(f"[bold red]the demo failed:[/] no temporary directory can be made ({error.strerror}): set TMPDIR", soft_wrap=True)
        return 1
    try:
        with _running(data, interval) as (api, sandbox):
            say(f"everything runs after {time.monotonic() - begun:.1f} s")
            _link(api, sandbox)
            verdict = _deliver(api, sandbox, messages)
            console.print(f"\n[bold {'green' if verdict.clean else 'red'}]{verdict}[/]")
            console.print("counted at the sandbox's server: ids, stanzas, and whose they were", style="dim")
            if keep:
                _stay(api, sandbox, data)
        return 0 if verdict.clean else 1
    except (DemoFailed, SetupFailed, SettingsError, Unreachable, Refused) as error:
        console.print(f"[bold red]the demo failed:[/] {error}", soft_wrap=True)
        console.print(f"logs: {data}/logs", style="dim", soft_wrap=True)
        keep = True
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if not keep:
            shutil.rmtree(data, ignore_errors=True)


def say(text: str) -> None:
    console.print(f"[dim]{time.strftime('%H:%M:%S')}[/]  {text}", soft_wrap=True)


@contextmanager
def _running(data: Path, interval: float) -> Iterator[tuple[Client, Client]]:
    """Everything under supervisord; ended with the block."""
    port, sandbox_port = _free(3000), _free(8090)
    environ = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_") or k in ("GATEWAY_CHROMIUM", "GATEWAY_WA_JS")}
    environ |= {"GATEWAY_DATA": str(data), "GATEWAY_LISTEN": f"127.0.0.1:{port}", "GATEWAY_SEND_INTERVAL": str(interval)}
    settings = load(environ)
    setup(settings, say)
    conf = write_conf(settings, sandbox=f"127.0.0.1:{sandbox_port}", environ=environ)
    # in a session of its own: Ctrl-C reaches us, and we end it in order
    process = subprocess.Popen(
        command(conf), env=environ, stdout=subprocess.DEVNULL, umask=PRIVATE, start_new_session=True, preexec_fn=die_with_parent
    )
    api, sandbox = Client(f"http://127.0.0.1:{port}"), Client(f"http://127.0.0.1:{sandbox_port}")
    try:
        until("the API and the sandbox answer", START, lambda: api.get("/readyz") and sandbox.get("/control/state"))
        yield api, sandbox
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free(port: int) -> int:
    """The port if it is free, else any that is."""
    for candidate in (port, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoFailed("no port on 127.0.0.1 is free")


def until(what: str, seconds: float, ask: Callable[[], T]) -> T:
    """Ask each 50 ms until the answer is true. Raises DemoFailed."""
    end = time.monotonic() + seconds
    last: object = ""
    while time.monotonic() < end:
        try:
            if answer := ask():
                return answer
        except (Refused, Unreachable) as error:
            last = error
        time.sleep(0.05)
    raise DemoFailed(f"not within {seconds:.0f} s: {what}. {last}".strip())


def _session(api: Client) -> dict[str, Any]:
    return next((s for s in api.get("/api/sessions")["sessions"] if s["name"] == "default"), {})


def _link(api: Client, sandbox: Client) -> None:
    begun = time.monotonic()
    code = until("a QR code is on show", START, lambda: api.get("/api/sessions/default/qr?format=text", raw=True))
    console.print(str(code).rstrip("\n"), soft_wrap=True)
    say("the QR code of the session; the sandbox's phone scans it")
    until("the phone scans the code", LINK, lambda: sandbox.post("/control/scan"))
    until("the session is healthy", LINK, lambda: _session(api).get("healthy"))
    say(f"linked as {_session(api)['account']} after {time.monotonic() - begun:.1f} s")


def _deliver(api: Client, sandbox: Client, messages: int) -> Verdict:
    """Send, kill Chromium in the middle, watch, and judge."""
    bodies = [f"demo message {n} of {messages}" for n in range(1, messages + 1)]
    ids = {}
    for n, body in enumerate(bodies):
        answer = api.post("/api/messages", {"to": RECIPIENTS[n % len(RECIPIENTS)], "text": body}, {"Idempotency-Key": f"demo-{n}"})
        ids[body] = answer["id"]
    say(f"{len(ids)} messages accepted, each synced to disk before its 202")
    killed_at = 0.0
    next_send: float | None = None
    shown = -1
    end = time.monotonic() + DELIVER
    while True:
        rows = [row for row in sandbox.get("/control/messages?direction=out") if row.get("body") in ids]
        if len(rows) != shown and (len(rows) % 5 == 0 or len(rows) - shown > 4):
            say(f"{len(rows):>3} of {messages} at WhatsApp's server")
            shown = len(rows)
        if not killed_at and len(rows) >= messages // 3:
            killed_at = _kill(api)
        if killed_at and next_send is None:
            later = [row["accepted_at"] for row in rows if row["accepted_at"] > killed_at]
            if later:
                next_send = min(later) - killed_at
                say(f"[bold]{next_send:.2f} s from kill to next send[/]")
        views = {body: api.get(f"/api/messages/{id_}") for body, id_ in ids.items()} if len(rows) == messages else {}
        done = bool(views) and all(v["status"] in ("sent", "delivered", "read", "played", "failed") for v in views.values())
        if done or time.monotonic() > end:
            break
        time.sleep(0.1)
    views = {body: api.get(f"/api/messages/{id_}") for body, id_ in ids.items()}
    verdict = judge(views, sandbox.get("/control/messages?direction=out"))
    if verdict.page_resends:
        say(f"{verdict.page_resends} stanzas were WhatsApp Web's own resends of what it had stored")
    return verdict


def _kill(api: Client) -> float:
    """kill -9 Chromium, by the pid that health reports; returns when (wall clock)."""
    pid: int = until("health names Chromium's pid", 10, lambda: _pid(api, "chromium-default") or 0)
    os.kill(pid, signal.SIGKILL)
    at = time.time()
    say(f"[bold red]kill -9 {pid}[/]: Chromium is dead, messages are in flight")
    return at


def _pid(api: Client, name: str) -> int | None:
    return next((p["pid"] for p in api.get("/api/health")["processes"] if p["name"] == name), None)


def _stay(api: Client, sandbox: Client, data: Path) -> None:
    console.print()
    for name, address in (
        ("API docs", f"{api.base}/api/docs"),
        ("health", f"{api.base}/api/health"),
        ("metrics", f"{api.base}/metrics"),
        ("the sandbox's phone", f"{sandbox.base}/phone"),
        ("processes", shlex.join([sys.executable, "-m", "supervisor.supervisorctl", "-c", f"{data}/supervisor.conf", "status"])),
    ):
        console.print(f"{name:<20} {address}", soft_wrap=True)
    console.print("Ctrl-C ends it.", style="dim")
    try:
        signal.pause()
    except KeyboardInterrupt:
        console.print("ending …")
