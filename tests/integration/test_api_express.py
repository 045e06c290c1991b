"""The short way of a message: nobody can tell by an answer which way a request went, whatever comes before, behind or between.

The requests go out as bytes, in pieces that the test decides on; a wrapper around Express.take counts which of them it took.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_rig import ONE, ApiRig

from gateway.api import wire
from gateway.api.app import listening
from gateway.api.express import Express
from gateway.api.gate import make_app

#: Bytes that a kernel keeps of what nobody reads.
BUFFER = 4096
Answer = tuple[int, dict[str, str], Any]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiRig]:
    async with ApiRig(tmp_path) as one:
        yield one


@pytest.fixture
def took(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What Express.take said, for each request that it was shown."""
    said: list[bool] = []
    take = Express.take

    def counted(self: Express, *args: Any) -> bool:
        said.append(take(self, *args))
        return said[-1]

    monkeypatch.setattr(Express, "take", counted)
    return said


def request(body: Any = ONE, *headers: str, method: str = "POST", path: str = "/api/messages", media: str = "application/json") -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Type: {media}", f"Content-Length: {len(raw)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + raw


class Wire:
    """One connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def write(self, raw: bytes) -> None:
        self.writer.write(raw)

    async def answer(self) -> Answer:
        async with asyncio.timeout(15):
            status, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            headers = dict(line.split(": ", 1) for line in lines)
            body = await self.reader.readexactly(int(headers["Content-Length"]))
        return int(status.split()[1]), headers, json.loads(body) if body else None

    async def ask(self, *pieces: bytes) -> Answer:
        for piece in pieces:
            self.write(piece)
            if piece is not pieces[-1]:
                await asyncio.sleep(0.05)  # so that it leaves as a packet of its own
        return await self.answer()

    async def ended(self) -> bool:
        async with asyncio.timeout(15):
            return await self.reader.read() == b""


@contextlib.asynccontextmanager
async def connected(port: int, buffer: int | None = None) -> AsyncIterator[Wire]:
    """`buffer`: bytes that the client's kernel takes in before the client reads."""
    sock = socket.socket()
    sock.setblocking(False)
    if buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


def port_of(api: ApiRig) -> int:
    return int(api.url.rsplit(":", 1)[1])


@contextlib.contextmanager
def locked(api: ApiRig) -> Iterator[None]:
    """A stranger holds the database's write lock."""
    conn = sqlite3.connect(api.settings.database, isolation_level=None)
    try:
        conn.execute("BEGIN IMMEDIATE")
        yield
        conn.execute("ROLLBACK")
    finally:
        conn.close()


async def messages_of(api: ApiRig) -> int:
    found = await api.context.read(lambda conn: conn.execute("SELECT count(*) FROM outbox").fetchone()[0])
    return int(found)


async def test_both_ways_give_the_same_answer(api: ApiRig, took: list[bool]) -> None:
    async with connected(port_of(api)) as client:
        for headers in ([], ["Idempotency-Key: one"], ["X-Request-Id: of-the-caller"], ["Idempotency-Key: bad key", "X-Request-Id: !"]):
            short = await client.ask(request(ONE, *headers))
            usual = await client.ask(request(ONE, *(h.replace("one", "two") for h in headers), "Prefer: wait=0"))
            for status, named, body in (short, usual):  # what differs from request to request
                if status == 202:
                    assert named.pop("Location") == f"/api/messages/{body.pop('id')}"
                else:
                    assert named["X-Request-Id"] == body["error"].pop("request_id")
                if "of-the-caller" not in str(headers):
                    assert named.pop("X-Request-Id").startswith("req_")
                del named["Date"]
            assert short == usual
    assert took == [True, False] * 3 + [False, False]


async def test_what_is_more_than_plain_goes_the_usual_way(api: ApiRig, took: list[bool]) -> None:
    plain = request()
    head, body = plain[: plain.index(b"{")], plain[plain.index(b"{") :]
    async with connected(port_of(api)) as client:
        for pieces, status in (
            ([head, body], 202),
            ([plain[:-5], plain[-5:]], 202),
            ([request(ONE, "Prefer: wait=0")], 202),
            ([request(ONE, "Content-Encoding: gzip")], 415),
            ([request(ONE, media="text/plain")], 415),
            ([request({**ONE, "text": "x" * 20_000})], 202),
            ([request(b"")], 422),
            ([request(b"{")], 400),
            ([request({**ONE, "to": "nobody"})], 422),
            ([request({**ONE, "session": "other"})], 404),
            ([request({"messages": [ONE]}, path="/api/messages/batch")], 202),
            ([request(b"", method="GET", path="/healthz")], 200),
            ([request(ONE, "X-Forwarded-For: 1.2.3.4")], 403),
            ([request(ONE, "Idempotency-Key: a", "Idempotency-Key: b")], 400),
            ([request(path="/api/messages?x=1")], 202),
        ):
            assert (await client.ask(*pieces))[0] == status, pieces
    # a session that is not there is known to the store alone: the one of them that was taken
    assert took.count(True) == 1


async def test_both_ways_skip_a_byte_order_mark_and_read_the_same_spellings(api: ApiRig, took: list[bool]) -> None:
    marked = b"\xef\xbb\xbf" + json.dumps({**ONE, "to": "+4\ufe0f9 ١٥١ २३४५६७८९"}).encode()
    async with connected(port_of(api)) as client:
        for headers in ([], ["Prefer: wait=0"]):
            status, _, body = await client.ask(request(marked, *headers))
            assert (status, body["recipient"]["address"]) == (202, "4915123456789@c.us")
    assert took == [True, False]


async def test_a_repeat_answers_with_the_message_of_then(api: ApiRig, took: list[bool]) -> None:
    async with connected(port_of(api)) as client:
        _, _, first = await client.ask(request(ONE, "Idempotency-Key: k"))
        status, headers, again = await client.ask(request(ONE, "Idempotency-Key: k"))
        assert (status, again["id"], again["repeated"]) == (202, first["id"], True)
        assert headers["Location"].endswith(first["id"])
        status, _, other = await client.ask(request({**ONE, "text": "other"}, "Idempotency-Key: k"))
        assert (status, other["error"]["code"]) == (409, "idempotency_key_reused")
        assert (await client.ask(request()))[0] == 202
    assert took == [True] * 4
    assert await messages_of(api) == 2


async def test_requests_behind_each_other_are_answered_in_their_order(api: ApiRig, took: list[bool]) -> None:
    kinds = [
        (request({**ONE, "text": "short way"}), 202),
        (request(b"", method="GET", path="/healthz"), 200),
        (request({**ONE, "text": ""}), 422),
        (request({**ONE, "text": "usual way"}, "Prefer: wait=0"), 202),
    ]
    dice = random.Random(3)
    async with connected(port_of(api)) as client:
        for round_ in range(40):
            sent = [(*dice.choice(kinds), f"{round_}-{n}") for n in range(dice.randrange(1, 8))]
            raw = b"".join(r.replace(b"Host:", f"X-Request-Id: {name}\r\nHost:".encode(), 1) for r, _, name in sent)
            while raw:  # cut anywhere, and at any moment
                size = dice.randrange(1, 1500)
                client.write(raw[:size])
                raw = raw[size:]
                await asyncio.sleep(dice.choice((0, 0.001, 0.01)))
            answers = [await client.answer() for _ in sent]
            assert [(status, headers["X-Request-Id"]) for status, headers, _ in answers] == [(status, name) for _, status, name in sent]
    print(f"{took.count(True)} of {len(took)} went the short way")
    assert took.count(True) > 10 and took.count(False) > 10


async def test_a_client_that_does_not_read_is_not_answered_without_bound(api: ApiRig, monkeypatch: pytest.MonkeyPatch) -> None:
    made = wire.Connection.connection_made

    def with_small_buffer(self: wire.Connection, transport: asyncio.BaseTransport) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        made(self, transport)

    monkeypatch.setattr(wire.Connection, "connection_made", with_small_buffer)
    async with connected(port_of(api), buffer=BUFFER) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        count = 1_000
        for n in range(count):
            client.write(request({**ONE, "text": str(n)}))

        async def accepted() -> int:
            return await messages_of(api)

        seen = -1
        while (now := await accepted()) > seen:  # until nothing more is taken
            seen = now
            await asyncio.sleep(0.5)
        assert 0 < seen < count
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        ids = {(await client.answer())[2]["id"] for _ in range(count)}
    assert len(ids) == count == await messages_of(api)


async def test_a_locked_database_is_said_and_the_connection_lives(api: ApiRig, took: list[bool]) -> None:
    async with connected(port_of(api)) as client:
        with locked(api):
            status, headers, body = await client.ask(request())
        assert (status, body["error"]["code"], headers["Retry-After"]) == (503, "database_locked", "2")
        assert "Connection" not in headers
        assert (await client.ask(request()))[0] == 202
    assert took == [True, True]
    assert await messages_of(api) == 1


async def test_a_full_disk_is_said(api: ApiRig, took: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.api.context.ACCEPT_ROOM", 1 << 62)
    async with connected(port_of(api)) as client:
        status, _, body = await client.ask(request())
    assert (status, body["error"]["code"], took) == (503, "disk_full", [True])


async def test_a_client_that_leaves_before_its_answer_harms_nobody(api: ApiRig, took: list[bool]) -> None:
    with locked(api):
        async with connected(port_of(api)) as client:
            client.write(request())
            await taken(took)
    async with connected(port_of(api)) as client:
        assert (await client.ask(request()))[0] == 202
    assert await messages_of(api) == 2


async def test_a_stop_waits_for_the_answer(api: ApiRig, took: list[bool]) -> None:
    listener = listening(make_app(api.context))
    ((_, port),) = await listener.__aenter__()
    async with connected(port) as client:
        with locked(api):
            client.write(request())
            await taken(took)
            stop = asyncio.ensure_future(listener.__aexit__(None, None, None))
            with pytest.raises(ConnectionError):  # it has begun to stop
                while True:
                    async with connected(port):
                        await asyncio.sleep(0.01)
        assert (await client.answer())[0] == 202
        assert await client.ended()
        await stop


async def test_a_connection_that_waits_for_its_answer_is_not_idle(api: ApiRig, took: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "IDLE_TIMEOUT", 0.4)
    async with connected(port_of(api)) as one, connected(port_of(api)) as idle:
        with locked(api):
            one.write(request())
            assert await idle.ended()
        assert (await one.answer())[0] == 202
        assert await one.ended()


async def taken(took: list[bool]) -> None:
    async with asyncio.timeout(10):
        while not took:
            await asyncio.sleep(0.01)
    assert took == [True]
