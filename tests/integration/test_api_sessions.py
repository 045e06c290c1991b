"""Sessions: what the host and the watchdog are asked for, and how their answers come back."""

from __future__ import annotations

import asyncio
import base64
import time
from pathlib import Path

import pytest
from api_rig import ApiRig, PlayedHost, answer_commands, beating

from gateway.api import asking
from gateway.store import sessions
from gateway.store.commands import Command

CODE = "2@AbCdEf,GhIjKl,MnOpQr,StUvWx"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


def answers(command: Command) -> object:
    """What the real host answers."""
    match command.kind:
        case "qr":
            return {"code": CODE, "expires_at": time.time() + 20}
        case "pairing_code":
            if command.args != {"phone": "4915123456789"}:
                raise ValueError("pairing_code_of_another_number: a code for another number is valid until 2030-01-31T08:00:00.000Z")
            return {"code": "ABCDEFGH", "expires_at": 1_900_000_000.25}
        case "screenshot":
            return {"png": PNG}
        case "contact":
            known = command.args["address"] == "4915123456789@c.us"
            return {"exists": known, "wa_id": command.args["address"] if known else None, "lid": None}
        case "logout":
            return {}
    raise ValueError(f"unknown_command: {command.kind}?")


async def unlink(api: ApiRig, host: PlayedHost) -> None:
    await api.context.write(lambda conn: sessions.unlinked(conn, host.fence, now=time.time()))


async def test_the_one_session_is_there_from_the_start(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api:
        _, listed, _ = await api.get("/api/sessions")
        assert [s["name"] for s in listed["sessions"]] == ["default"]
        assert (await api.post("/api/sessions", {"name": "default"}))[0] == 200
        assert (await api.post("/api/sessions"))[0] == 200
        status, refused, _ = await api.post("/api/sessions", {"name": "second"})
        assert status == 422 and refused["error"]["code"] == "no_slot"
        assert (await api.ask("DELETE", "/api/sessions/default"))[0] == 409


async def test_the_qr_code_in_every_form(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api, PlayedHost(api) as host:
        host.answering(answers)
        status, refused, _ = await api.get("/api/sessions/default/qr")
        assert status == 409 and refused["error"]["code"] == "already_linked"
        await unlink(api, host)
        status, png, headers = await api.get("/api/sessions/default/qr")
        assert status == 200 and png.startswith(b"\x89PNG") and headers["Content-Type"] == "image/png"
        assert headers["Cache-Control"] == "no-store" and headers["X-QR-Expires-At"].endswith("Z")
        _, svg, headers = await api.get("/api/sessions/default/qr", Accept="image/svg+xml,image/*")
        assert b"<svg" in svg and headers["Content-Type"] == "image/svg+xml"
        _, text, headers = await api.get("/api/sessions/default/qr?format=text")
        assert "▄" in text.decode() and headers["Content-Type"].startswith("text/plain")
        assert (await api.get("/api/sessions/default/qr?format=gif"))[0] == 422


async def test_pairing_screenshot_contact_and_logout(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api, PlayedHost(api) as host:
        host.answering(answers)
        _, contact, _ = await api.get("/api/contacts/+49%20151%2023456789")
        assert contact == {"address": "4915123456789@c.us", "on_whatsapp": True, "wa_id": "4915123456789@c.us", "lid": None}
        _, contact, _ = await api.get("/api/contacts/4915100000000")
        assert contact["on_whatsapp"] is False
        assert (await api.get("/api/contacts/hello"))[1]["error"]["code"] == "recipient_invalid"
        _, picture, headers = await api.get("/api/sessions/default/screenshot")
        assert picture.startswith(b"\x89PNG") and headers["Content-Type"] == "image/png"
        assert (await api.post("/api/sessions/default/pairing-code", {"phone": "+4915123456789"}))[0] == 409
        assert (await api.post("/api/sessions/default/logout"))[1] == {"session": "default", "status": "logged_out"}
        await unlink(api, host)
        status, code, _ = await api.post("/api/sessions/default/pairing-code", {"phone": "+49 151 23456789"})
        assert status == 200 and code == {"session": "default", "code": "ABCD-EFGH", "expires_at": "2030-03-17T17:46:40.250Z"}
        status, again, _ = await api.post("/api/sessions/default/pairing-code", {"phone": "tel:+49\u2011151\u201123456789"})
        assert (status, again) == (200, code), "however it is spelt"
        status, refused, _ = await api.post("/api/sessions/default/pairing-code", {"phone": "491700000001@c.us"})
        assert status == 409 and refused["error"]["code"] == "pairing_code_of_another_number"
        assert (await api.post("/api/sessions/default/pairing-code", {"phone": "0151"}))[1]["error"]["code"] == "phone_invalid"


async def test_what_nobody_can_do_is_refused_at_once(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api:
        for method, path in (("GET", "qr"), ("GET", "screenshot"), ("POST", "logout"), ("POST", "stop")):
            status, refused, headers = await asyncio.wait_for(api.ask(method, f"/api/sessions/default/{path}"), 2)
            assert status == 503 and refused["error"]["code"] == "process_down" and headers["Retry-After"]
        _, session, _ = await api.get("/api/sessions/default")
        assert session["desired"] == "started", "a stop that nobody carries out is not noted either"


async def test_a_host_that_does_not_answer_has_its_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PATIENCE", 0.3)
    async with ApiRig(tmp_path) as api, PlayedHost(api):
        status, refused, _ = await api.get("/api/sessions/default/screenshot")
        assert status == 504 and refused["error"]["code"] == "no_answer"


async def test_a_hosts_refusal_is_an_answer(tmp_path: Path) -> None:
    def refuse(command: Command) -> object:
        raise ValueError("not_ready: The page is still loading." if command.kind == "screenshot" else "It does not work.")

    async with ApiRig(tmp_path) as api, PlayedHost(api) as host:
        host.answering(refuse)
        status, refused, _ = await api.get("/api/sessions/default/screenshot")
        assert (status, refused["error"]["code"], refused["error"]["message"]) == (503, "not_ready", "The page is still loading.")
        _, refused, _ = await api.post("/api/sessions/default/logout")
        assert refused["error"]["code"] == "refused"


async def test_start_and_stop_are_the_watchdogs_to_carry_out(tmp_path: Path) -> None:
    seen: list[str] = []

    def note(command: Command) -> object:
        seen.append(command.kind)
        return {}

    async with ApiRig(tmp_path) as api, beating(api.settings, "watchdog"):
        task = asyncio.create_task(answer_commands(api, note, "watchdog"))
        for call, desired in (("stop", "stopped"), ("start", "started"), ("restart", "started")):
            status, _, _ = await api.post(f"/api/sessions/default/{call}")
            assert status == 202
            assert (await api.get("/api/sessions/default"))[1]["desired"] == desired
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert seen == ["stop", "start", "restart"]


async def test_without_doorbells_everything_still_works(tmp_path: Path) -> None:
    async with ApiRig(tmp_path, doorbells=False) as api, PlayedHost(api) as host:
        host.answering(answers)
        assert (await api.get("/api/sessions/default/screenshot"))[0] == 200
        waiting = asyncio.create_task(api.post("/api/messages", {"to": "+4915123456789", "text": "x"}, Prefer="wait=10"))
        await api.until("/api/queue-status", lambda q: q["message_queue_length"] == 1)
        await host.hand_over()
        assert (await waiting)[0] == 200
