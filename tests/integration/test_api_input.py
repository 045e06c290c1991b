"""Input as people and clients really write it: byte order marks, charsets, + in a query string, our own answers given back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from api_rig import ONE, ApiRig, PlayedHost

from gateway.api.gate import OPERATIONS

MARK = b"\xef\xbb\xbf"
POSTS = [o.path.replace("{name}", "default").replace("{id}", "msg_none") for o in OPERATIONS if o.method == "POST"]


async def test_a_byte_order_mark_is_skipped_at_every_endpoint(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api:
        for path in POSTS:
            bare = await api.post(path, b"{}", Content_Type="application/json")
            marked = await api.post(path, MARK + b"{}", Content_Type="application/json")
            # a second attempt may find what the first one did (200 for 201); neither may be told that it is no JSON
            assert marked[0] == bare[0] != 400, (path, marked)
            assert (await api.post(path, MARK, Content_Type="application/json"))[0] == bare[0], path
        raw = MARK + json.dumps({**ONE, "text": "\ufeff kept in the text"}).encode()
        status, sent, _ = await api.post("/api/messages", raw, Content_Type="application/json", Prefer="wait=0")
        assert status == 202, sent
        assert (await api.get(f"/api/messages/{sent['id']}"))[1]["text"]["body"] == "\ufeff kept in the text"


@pytest.mark.parametrize(
    "media", ["application/json; charset=utf-8", 'Application/JSON; Charset="UTF8"', "application/json; charset=us-ascii"]
)
async def test_utf_8_by_any_of_its_names_is_read(tmp_path: Path, media: str) -> None:
    async with ApiRig(tmp_path) as api:
        assert (await api.post("/api/messages", json.dumps(ONE).encode(), Content_Type=media))[0] == 202


async def test_a_plus_in_a_query_is_a_plus(tmp_path: Path) -> None:
    async with ApiRig(tmp_path, default_region="BR") as api:
        abroad, national = await api.send(to="+1 1987654321"), await api.send(to="(11) 98765-4321")

        async def listed(query: str) -> list[str]:
            status, body, _ = await api.get(f"/api/messages?{query}")
            assert status == 200, body
            return [m["id"] for m in body["messages"]]

        for asked in ("+11987654321", "%2B11987654321", "%2011987654321", "+1+198+765-4321", "11987654321@c.us", "+11987654321@c.us"):
            assert await listed(f"recipient={asked}") == [abroad], asked
        for asked in ("11987654321", "(11)+98765-4321", "%2B5511987654321", "+5511987654321"):
            assert await listed(f"recipient={asked}") == [national], asked
        for asked in ("since", "until"):
            wanted = [national, abroad] if asked == "since" else []
            for time in ("2020-01-01T00:00:00+02:00", "2020-01-01T00:00:00%2B02:00", "2020-01-01+00:00:00.5+0200", "2020-01-01t00:00z"):
                assert await listed(f"{asked}={time}") == wanted, time
        _, page, _ = await api.get("/api/messages?limit=1")
        assert await listed(f"cursor={page['next']}") == [abroad]
        assert len((await api.get("/api/events?after=+0&wait=0&limit=+5"))[1]["events"]) == 2


def _addresses(found: Any) -> set[str]:
    """Every address in an answer."""
    if isinstance(found, dict):
        return set().union(*(_addresses(value) for value in found.values()), set())
    if isinstance(found, list):
        return set().union(*(_addresses(value) for value in found), set())
    return {found} if isinstance(found, str) and "@" in found and "_" not in found else set()


@pytest.mark.parametrize("wa_id", ["22541091002@c.us", "123456789012345@lid", "551187654321@c.us"])
async def test_what_we_hand_out_we_take_back(tmp_path: Path, wa_id: str) -> None:
    """Each address that an answer holds is a recipient, a filter and a number to look up."""
    async with ApiRig(tmp_path) as api, PlayedHost(api) as host:
        host.answering(lambda command: {"exists": True, "wa_id": command.args["address"], "lid": "123456789012345@lid"})
        first = await api.send(to=wa_id)
        await host.hand_over()
        answers = [(await api.get(path))[1] for path in (f"/api/messages/{first}", "/api/sessions", f"/api/contacts/{wa_id}")]
        handed_out = _addresses(answers)
        assert wa_id in handed_out and "491700000001@c.us" in handed_out
        for address in handed_out:
            assert (await api.post("/api/messages", {**ONE, "to": address}))[0] == 202, address
            assert (await api.get(f"/api/messages?recipient={address}"))[1]["messages"], address
            assert (await api.get(f"/api/contacts/{address}"))[0] == 200, address
