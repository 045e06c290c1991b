"""The control API without a page: what it refuses and how it says so; and the sandbox as a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from gateway.sandbox.faults import MOST_ACTIVE
from gateway.sandbox.server import Sandbox, main


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as running:
        yield running


async def call(sandbox: Sandbox, method: str, path: str, body: Any = None, raw: bytes | None = None) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, f"{sandbox.url}/control/{path}", json=body if raw is None else None, data=raw) as answer,
    ):
        return answer.status, await answer.json()


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("scan", {"account": "no number"}, "'account' must be a phone number"),
        ("scan", {"number": "491700000001"}, "Unknown field 'number'. Known here: account, code."),
        ("incoming", {"text": "hi"}, "'from' is missing."),
        ("incoming", {"from": "4915550001"}, "'text' is missing."),
        ("incoming", {"from": "4915550001", "type": "smoke", "text": "x"}, "'type' must be one of: text"),
        ("incoming", {"from": "4915550001", "type": "image", "media": "%%"}, "'media' must be base64."),
        ("ack", {"id": "3EB0", "ack": 7}, "'ack' must be a whole number from 1 to 4."),
        ("ack", {"id": 5, "ack": 1}, "'id' must be a string."),
        ("faults", {"kind": "earthquake"}, "'kind' must be one of: lost_stanza"),
        ("faults", {"kind": "nack", "count": 0}, "'count' must be a whole number from 1"),
        ("faults", {"kind": "nack", "code": 7}, "'code' must be a whole number from 100 to 999."),
        ("faults", {"kind": "slow_ack", "seconds": -1}, "'seconds' must be a number of seconds"),
        ("faults", {"kind": "reload", "count": 3}, "Unknown field 'count'."),
        ("contacts", {}, "'number' is missing."),
        ("contacts", {"number": "4915550001", "on_whatsapp": "yes"}, "'on_whatsapp' must be true or false."),
        ("groups", {"id": "nonsense"}, "'id' must end in @g.us."),
        ("groups", {"participants": "everybody"}, "'participants' must be a list"),
        ("settings", {"slow_load": "very"}, "'slow_load' must be a number of seconds"),
        ("settings", {"lid_migration": 1}, "'lid_migration' must be true or false."),
        ("settings", {"group_participant": "both"}, "'group_participant' must be one of: as sent, lid, pn."),
        ("settings", {"colour": "green"}, "Unknown field 'colour'."),
    ],
)
async def test_what_is_wrong_is_refused_with_a_sentence(sandbox: Sandbox, path: str, body: dict[str, Any], sentence: str) -> None:
    status, said = await call(sandbox, "POST", path, body)
    assert status == 400 and sentence in said["error"]["message"]


async def test_bodies_that_are_no_objects(sandbox: Sandbox) -> None:
    for raw in (b"{", b"[]", b"\xff", b'"text"'):
        status, said = await call(sandbox, "POST", "settings", raw=raw)
        assert status == 400 and said["error"]["code"] == "invalid_request", raw
    assert (await call(sandbox, "POST", "reset", raw=b""))[0] == 200
    assert (await call(sandbox, "GET", "messages?after=x"))[0] == 400
    assert (await call(sandbox, "GET", "messages?direction=up"))[0] == 400


async def test_what_does_not_exist_and_what_cannot_be_now(sandbox: Sandbox) -> None:
    assert (await call(sandbox, "DELETE", "faults/f99"))[0] == 404
    assert (await call(sandbox, "POST", "ack", {"id": "3EB000", "ack": 2}))[0] == 404
    assert (await call(sandbox, "POST", "incoming", {"from": "4915550001", "text": "x", "group": "1@g.us"}))[0] == 404
    assert (await call(sandbox, "POST", "scan"))[0] == 409
    assert (await call(sandbox, "POST", "unlink"))[0] == 409
    assert (await call(sandbox, "POST", "faults", {"kind": "reload"}))[0] == 409


async def test_a_setting_refused_changes_none_of_the_others(sandbox: Sandbox) -> None:
    assert (await call(sandbox, "POST", "settings", {"receipts": False, "slow_sync": "x"}))[0] == 400
    assert (await call(sandbox, "GET", "settings"))[1]["settings"]["receipts"] is True
    status, values = await call(sandbox, "POST", "settings", {"slow_sync": True})
    assert status == 200 and values["slow_sync"] == 5.0


async def test_faults_are_bounded_expire_and_every_kind_has_its_sentence(sandbox: Sandbox) -> None:
    said = (await call(sandbox, "GET", "faults"))[1]
    assert all(k["sentence"].endswith(".") for k in said["kinds"])
    for _ in range(MOST_ACTIVE):
        assert (await call(sandbox, "POST", "faults", {"kind": "no_ack", "seconds": 0.2}))[0] == 200
    status, refused = await call(sandbox, "POST", "faults", {"kind": "no_ack"})
    if status == 400:  # unless the first ones are over already
        assert "faults are on already" in refused["error"]["message"]
    async with asyncio.timeout(5):
        while any("seconds" in f for f in (await call(sandbox, "GET", "state"))[1]["faults"]):
            await asyncio.sleep(0.02)


async def test_incoming_media_are_kept_by_their_hash_and_never_served_as_a_page(sandbox: Sandbox) -> None:
    body = {"from": "+49 1555 0001", "type": "document", "media": "PGI+aGk8L2I+", "mimetype": "text/html", "text": "look"}
    assert (await call(sandbox, "POST", "incoming", body))[0] == 200
    (row,) = (await call(sandbox, "GET", "messages?direction=in"))[1]
    assert row["caption"] == "look" and row["chat"] == "4915550001@c.us"
    async with aiohttp.ClientSession() as http, http.get(f"{sandbox.url}/mms/{row['media_sha256']}") as answer:
        assert await answer.read() == b"<b>hi</b>" and answer.headers["Content-Type"] == "application/octet-stream"


async def test_a_watcher_is_woken_by_a_change(sandbox: Sandbox) -> None:
    now = (await call(sandbox, "GET", "changes"))[1]["version"]
    waiting = asyncio.create_task(call(sandbox, "GET", f"changes?since={now}&wait=20"))
    await call(sandbox, "POST", "incoming", {"from": "4915550001", "text": "wake up"})
    _, news = await asyncio.wait_for(waiting, 5)
    assert [m["body"] for m in news["messages"]] == ["wake up"] and news["version"] > now


async def test_nonsense_on_the_socket_ends_the_line_and_harms_nobody(sandbox: Sandbox) -> None:
    async with aiohttp.ClientSession() as http:
        for text in ("{", "[]", "{}", '{"t": "cut"}', '{"t": "exists"}', '{"t": "send"}', '{"t": "hello", "token": [1]}'):
            async with http.ws_connect(f"{sandbox.url}/ws/chat") as socket:
                assert (await socket.receive_json())["t"] == "settings"
                await socket.send_str(text)
                await socket.send_json({"t": "refs"})
                await asyncio.wait_for(socket.receive(), 5)
    assert (await call(sandbox, "GET", "summary"))[1]["stanzas"] == 0


async def _as_process(listen: str) -> asyncio.subprocess.Process:
    code = f"from gateway.sandbox.server import main; raise SystemExit(main({listen!r}))"
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=pipe, stderr=pipe, env=paths)


async def test_as_a_process_it_serves_until_sigterm() -> None:
    process = await _as_process("127.0.0.1:0")
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
        url = next(word for word in line.split() if word.startswith("http"))
        async with aiohttp.ClientSession() as http, http.get(f"{url}control/summary") as answer:
            assert (await answer.json())["ids"] == 0
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 5) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_an_address_that_cannot_be_is_refused_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("here") == 2
    assert "must be HOST:PORT" in capsys.readouterr().err


async def test_an_address_that_is_taken_is_refused_with_a_sentence(sandbox: Sandbox) -> None:
    process = await _as_process(f"127.0.0.1:{sandbox.port}")
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1 and b"cannot listen on" in errors
