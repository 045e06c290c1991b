"""`gateway ready`: whom it asks, what it says, and what it costs."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway import listening, ready
from gateway.settings import load

#: The command, as it is started from `python -m gateway` and from the script that pip installs.
READY = [sys.executable, "-m", "gateway", "ready"]


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A server on a port of its own that gives each request this answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize(
    "answer, status, said",
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", 0, "ready: messages are accepted"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", 1, "`gateway status` says why"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", 1, "is not this gateway (HTTP 404)"),
        (b"SSH-2.0-OpenSSH\r\n", 1, "is not this gateway"),
        (b"", 1, "is not this gateway"),
    ],
)
def test_what_is_answered(capsys: pytest.CaptureFixture[str], answer: bytes, status: int, said: str) -> None:
    with answering(answer) as port:
        assert ready.main({"GATEWAY_LISTEN": f"0.0.0.0:{port}", "http_proxy": "http://127.0.0.1:9"}) == status
    assert said in capsys.readouterr().out


def test_nobody_answers_and_somebody_never_answers(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert ready.main({"GATEWAY_LISTEN": "127.0.0.1:9"}) == 1
    assert "nobody answers at 127.0.0.1:9 (GATEWAY_LISTEN)" in capsys.readouterr().out
    monkeypatch.setattr(ready, "DEADLINE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert ready.main({"GATEWAY_LISTEN": f"127.0.0.1:{silent.getsockname()[1]}"}) == 1
    assert "no answer from" in capsys.readouterr().out


@pytest.mark.parametrize("environ", [{"GATEWAY_LISTEN": "nowhere"}, {"GATEWAY_SETTINGS": "/none.toml"}, {"GATEWAY_DATA": "~nobody-here/x"}])
def test_wrong_settings_are_said(capsys: pytest.CaptureFixture[str], environ: Mapping[str, str]) -> None:
    assert ready.main(environ) == 1
    assert capsys.readouterr().out.startswith("not ready: ")


def test_it_asks_where_the_settings_say(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text('listen = "127.0.0.1:4000"')
    other = tmp_path / "other.toml"
    other.write_text('listen = "127.0.0.1:5000,[::1]:5000"\nsend_interval = 0.5')
    for environ in (
        {"GATEWAY_DATA": str(tmp_path / "none")},
        {"GATEWAY_DATA": str(tmp_path)},
        {"GATEWAY_DATA": str(tmp_path), "GATEWAY_SETTINGS": str(other)},
        {"GATEWAY_DATA": str(tmp_path), "GATEWAY_LISTEN": "localhost:6000"},
        {"GATEWAY_DATA": str(tmp_path), "GATEWAY_LISTEN": ""},
    ):
        assert listening.addresses(environ) == load(dict(environ)).addresses


def test_it_costs_less_than_a_tenth_of_a_second_more_than_an_empty_python() -> None:
    def took(command: list[str]) -> float:
        begun = time.monotonic()
        subprocess.run(command, env={"GATEWAY_LISTEN": "127.0.0.1:9"}, capture_output=True, check=False)
        return time.monotonic() - begun

    pairs = [(took(READY), took([sys.executable, "-c", "pass"])) for _ in range(8)]
    best, empty = (min(times) for times in zip(*pairs, strict=True))
    assert best - empty < 0.1, f"{best:.3f} s, an empty Python {empty:.3f} s"
    imported = subprocess.run([READY[0], "-X", "importtime", *READY[1:]], capture_output=True, text=True, check=False).stderr
    assert "gateway.ready" in imported and not {"pydantic", "click", "structlog"} & {line.split()[-1] for line in imported.splitlines()}
