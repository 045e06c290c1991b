"""The API as a process of its own: the commands of the seed's document as typed, its end, and a silent watchdog's end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway import beat
from gateway.api.guardian import Guardian
from gateway.beat import Heart, boot_time
from gateway.settings import Settings
from gateway.supervision import Supervisor


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextlib.contextmanager
def running(data: Path, port: int, **more: str) -> Iterator[subprocess.Popen[str]]:
    environ = {**os.environ, "GATEWAY_DATA": str(data), "GATEWAY_LISTEN": f"127.0.0.1:{port},[::1]:{port}", **more}
    process = subprocess.Popen([sys.executable, "-m", "gateway", "api"], env=environ, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def until(ready: Callable[[], Any], seconds: float = 15.0) -> Any:
    deadline = boot_time() + seconds
    while not (found := ready()):
        assert boot_time() < deadline
        await asyncio.sleep(0.05)
    return found


def curl(*words: str) -> Any:
    found = subprocess.run(["curl", "-s", *words], capture_output=True, text=True, timeout=20)
    return json.loads(found.stdout) if found.stdout else None


async def test_the_seeds_commands_as_typed_and_a_quick_end(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, port) as api:
        await until(lambda: curl(f"http://localhost:{port}/healthz"))
        health = curl(f"http://localhost:{port}/api/health")
        assert health["session_health"] is False and health["restart_in_progress"] is False
        assert {"last_health_check", "message_queue_length", "processing_queue", "version", "uptime_seconds"} <= set(health)
        own = next(p for p in health["processes"] if p["name"] == "api")
        assert (own["state"], own["pid"]) == ("running", api.pid) and own["memory_bytes"] > 0
        assert curl(f"http://localhost:{port}/api/queue-status")["message_queue_length"] == 0
        assert curl("-X", "POST", f"http://localhost:{port}/api/recover-session")["error"]["code"] == "process_down"
        assert curl("-X", "POST", f"http://localhost:{port}/api/clear-queue")["cancelled"] == 0
        assert curl("-g", f"http://[::1]:{port}/healthz") in ({"status": "ok"}, None), "None where a machine has no IPv6"
        begun = boot_time()
        poll = subprocess.Popen(["curl", "-s", f"http://localhost:{port}/api/events?wait=60"], stdout=subprocess.DEVNULL)
        api.send_signal(signal.SIGTERM)
        out, _ = await asyncio.to_thread(api.communicate, timeout=10)
        poll.wait(10)
        assert api.returncode == 0 and boot_time() - begun < 8
        assert "no key is set" in out


async def test_killed_at_any_moment_what_was_promised_is_there(tmp_path: Path) -> None:
    port = free_port()
    message = json.dumps({"to": "+4915123456789", "text": "x"})
    send = ("-X", "POST", "-H", "Content-Type: application/json", "-d", message, f"http://localhost:{port}/api/messages")
    with running(tmp_path, port) as api:
        await until(lambda: curl(f"http://localhost:{port}/healthz"))
        ids = [curl(*send)["id"] for _ in range(5)]
        api.kill()
    with running(tmp_path, port):
        await until(lambda: curl(f"http://localhost:{port}/healthz"))
        assert [curl(f"http://localhost:{port}/api/messages/{id}")["status"] for id in ids] == ["queued"] * 5


async def test_an_address_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with running(tmp_path, port) as api:
            out, _ = await asyncio.to_thread(api.communicate, timeout=20)
        assert api.returncode == 1 and f"127.0.0.1:{port}" in out and "GATEWAY_LISTEN" in out


# -- the watchdog's watchdog, with a real supervisord

CONF = """\
[supervisord]
nodaemon=true
logfile={here}/supervisord.log
pidfile={here}/supervisord.pid
[unix_http_server]
file={here}/run/supervisor.sock
chmod=0700
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:watchdog]
command={python} -c "import time; time.sleep(600)"
startsecs=0
"""


@pytest.fixture
async def supervised() -> AsyncIterator[Settings]:
    with tempfile.TemporaryDirectory(prefix="api-") as directory:  # short: a Unix address holds 107 bytes
        settings = Settings(data=Path(directory))
        settings.make_directories()
        conf = Path(directory) / "supervisord.conf"
        conf.write_text(CONF.format(here=directory, python=sys.executable))
        with subprocess.Popen([sys.executable, "-m", "supervisor.supervisord", "-c", str(conf)], stdout=subprocess.DEVNULL) as process:
            try:
                await until(lambda: (Path(directory) / "run" / "supervisor.sock").exists())
                yield settings
            finally:
                process.terminate()
                process.wait(20)


async def test_a_silent_watchdog_is_killed_and_comes_back(supervised: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.api.guardian.SILENCE", 1.0)
    supervisor, guardian = Supervisor(supervised.supervisor_socket), Guardian(supervised)
    old = (await supervisor.program("watchdog")).pid
    assert old is not None
    heart = Heart(supervised.beat("watchdog"))
    try:
        heart.beat()
        assert await guardian.look() is False
        os.kill(old, signal.SIGSTOP)
        deadline = boot_time() + 15
        while not await guardian.look():
            assert boot_time() < deadline
            await asyncio.sleep(0.1)
    finally:
        heart.close()
    deadline = boot_time() + 15
    while (await supervisor.program("watchdog")).pid in (None, old):
        assert boot_time() < deadline
        await asyncio.sleep(0.1)
    assert beat.read(supervised.beat("watchdog")) is not None


async def test_without_a_supervisord_nothing_is_killed(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    settings.make_directories()
    assert await Guardian(settings).look() is False
