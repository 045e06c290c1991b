"""The command line's client: which answers are answers, and which are refusals."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from gateway.client import Client, Refused, Unreachable


@contextmanager
def answering(status: int, body: Any) -> Iterator[Client]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Client(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [200, 503])
def test_health_is_an_answer_also_while_nothing_is_accepted(status: int) -> None:
    with answering(status, {"session_health": False, "accepting": status == 200}) as client:
        assert client.health()["accepting"] is (status == 200)


def test_a_refusal_carries_its_sentence_and_its_body() -> None:
    with answering(401, {"error": {"code": "key_missing", "message": "a key is needed"}}) as client, pytest.raises(Refused) as refused:
        client.health()
    assert (refused.value.status, str(refused.value), refused.value.body["error"]["code"]) == (401, "a key is needed", "key_missing")


@pytest.mark.parametrize("body, said", [(b"<h1>Bad gateway</h1>", "is not this gateway (HTTP 502)"), (b"", "HTTP 502"), (b"[1]", "[1]")])
def test_somebody_else_who_answers_is_a_refusal_too(body: bytes, said: str) -> None:
    with answering(502, body) as client, pytest.raises(Refused) as refused:
        client.health()
    assert said in str(refused.value)


@pytest.mark.parametrize("body", [b"<h1>It works!</h1>", b"[1]", b'{"ok": true}', b"", b"\xff"])
def test_somebody_else_who_says_200_is_named_as_such(body: bytes) -> None:
    with answering(200, body) as client, pytest.raises(Refused, match="is not this gateway"):
        client.health()


def test_nobody_there() -> None:
    with pytest.raises(Unreachable, match="nobody answers at"):
        Client("http://127.0.0.1:9").health()
