"""What people type: qr, send, status, logs, and the seed document's own curl commands."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_rig import GATEWAY, Gateway, until


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway() as g:
        yield g


def typed(gateway: Gateway, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*GATEWAY, *words], env=gateway.environ, capture_output=True, text=True, timeout=60)


def test_a_phone_is_linked_by_the_qr_code_in_the_terminal(gateway: Gateway) -> None:
    shown = until("a QR code", lambda: (done := typed(gateway, "qr")).returncode == 0 and done.stdout)
    assert "█" in shown or "▀" in shown
    told = typed(gateway, "status")
    assert told.returncode == 1 and "awaiting scan" in told.stdout
    gateway.link()
    told = typed(gateway, "status")
    assert told.returncode == 0, told.stdout
    assert "session default: ready" in told.stdout and "not healthy" not in told.stdout
    assert "already" in typed(gateway, "qr").stderr or "linked" in typed(gateway, "qr").stderr


def test_a_message_is_sent_and_its_repeat_is_the_same_message(gateway: Gateway) -> None:
    first = typed(gateway, "send", "+49 155 5000001", "Hello", "--wait", "20", "--key", "k-1")
    assert first.returncode == 0, first.stderr
    id_, status = first.stdout.split()
    assert status in {"sent", "delivered", "read"}
    assert typed(gateway, "send", "+49 155 5000001", "Hello", "--key", "k-1").stdout.split()[0] == id_
    assert len([r for r in gateway.rows() if r.get("body") == "Hello"]) == 1


def test_a_wrong_number_gets_a_sentence(gateway: Gateway) -> None:
    done = typed(gateway, "send", "12", "Hello")
    assert done.returncode == 1 and done.stderr.startswith("gateway: ")


def test_the_logs_of_all_processes_and_of_one(gateway: Gateway) -> None:
    done = typed(gateway, "logs", "-n", "500")
    assert {line.split()[0] for line in done.stdout.splitlines()} >= {"api", "browser-default", "watchdog"}
    assert "Message sent successfully" in typed(gateway, "logs", "browser-default", "-n", "500").stdout
    assert "there are: " in typed(gateway, "logs", "nobody").stderr


def test_no_body_and_no_whole_number_in_any_log(gateway: Gateway) -> None:
    gateway.sent(gateway.send("a very secret text", "4915550009876"))
    for path in (gateway.data / "logs").glob("*.log"):
        text = path.read_text()
        assert "a very secret text" not in text
        assert "4915550009876" not in text


@pytest.mark.parametrize("method, path", [("GET", "/api/health"), ("POST", "/api/recover-session"), ("GET", "/api/queue-status")])
def test_the_seeds_verification_commands(gateway: Gateway, method: str, path: str) -> None:
    words = ["-X", "POST"] if method == "POST" else []
    done = subprocess.run(["curl", "-s", "-f", *words, gateway.api.base + path], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and json.loads(done.stdout)


def test_no_command_asks_a_proxy(gateway: Gateway) -> None:
    proxied = {**gateway.environ, "http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9"}
    for words in (["ready"], ["queue"]):
        done = subprocess.run([*GATEWAY, *words], env=proxied, capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_terminal_that_cannot_show_all_characters(gateway: Gateway) -> None:
    narrow = {**gateway.environ, "PYTHONIOENCODING": "iso-8859-1", "GATEWAY_WA_JS": "/none"}  # something to be done, so an arrow
    done = subprocess.run([*GATEWAY, "doctor"], env=narrow, capture_output=True, timeout=60)
    assert b"Traceback" not in done.stderr and b"      ? run `gateway setup`" in done.stdout


def test_nobody_there_is_said_with_what_to_do(gateway: Gateway, tmp_path: Path) -> None:
    def said(**environ: str) -> str:
        command = [*GATEWAY, "send", "491701234567", "Hello"]
        done = subprocess.run(command, env={**gateway.environ, **environ}, capture_output=True, text=True, timeout=20)
        assert done.returncode == 3
        return done.stderr

    listens = f"it listens at {gateway.api.base.removeprefix('http://')}: set GATEWAY_LISTEN to that"
    assert listens in said(GATEWAY_LISTEN="127.0.0.1:9")
    assert "there is no data directory" in said(GATEWAY_LISTEN="127.0.0.1:9", GATEWAY_DATA=str(tmp_path / "none"))
    assert "Start it: `gateway up`" in said(GATEWAY_LISTEN="127.0.0.1:9", GATEWAY_DATA=str(tmp_path))


def test_a_second_one_on_the_same_data_is_told_how_to_see_the_first(gateway: Gateway) -> None:
    done = typed(gateway, "up")
    assert done.returncode == 1 and f"runs already with {gateway.data}: `supervisorctl -c " in done.stderr


def test_where_a_program_wrote_no_log_supervisords_is_shown(gateway: Gateway, tmp_path: Path) -> None:
    done = typed(gateway, "logs", "nothing")
    assert done.returncode == 1 and "there are: api, " in done.stderr
    (gateway.data / "logs" / "nothing.log").touch()
    with (gateway.data / "logs" / "supervisord.log").open("a") as log:
        log.write("2026-01-01 00:00:00,000 INFO spawnerr: can't find command '/x y/gateway'\n")
    done = typed(gateway, "logs", "nothing", "-n", "500")
    assert done.returncode == 0 and "can't find command '/x y/gateway'" in done.stdout and "has written nothing" in done.stderr
    elsewhere = {**gateway.environ, "GATEWAY_DATA": str(tmp_path / "none")}
    done = subprocess.run([*GATEWAY, "logs", "api"], env=elsewhere, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "nothing has run yet with the data directory" in done.stderr and "gateway up" in done.stderr
