"""Health, queue, metrics, recoveries: said from evidence, and unhealthy where there is none."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import aiohttp
import pytest
from api_rig import ONE, ApiRig, PlayedHost, beating
from openapi_spec_validator import OpenAPIV31SpecValidator
from prometheus_client.parser import text_string_to_metric_families

from gateway.beat import boot_time
from gateway.message import NotSent
from gateway.pacing import DAY, Use
from gateway.store import recoveries, sessions

SEED_FIELDS = {"session_health": bool, "message_queue_length": int, "processing_queue": bool, "restart_in_progress": bool}


async def test_without_a_host_it_is_unhealthy_and_says_why(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api:
        status, health, _ = await api.get("/api/health")
        assert status == 200, "it can accept messages"
        assert {name: type(health[name]) for name in SEED_FIELDS} == SEED_FIELDS and health["last_health_check"] is None
        assert health["session_health"] is False and health["status"] == "unhealthy" and health["accepting"] is True
        assert health["sessions"][0]["complaints"] == ["the browser host gives no sign of life"]
        assert {p["name"]: p["state"] for p in health["processes"]} == {
            "api": "unknown",  # no beat: this test runs the application without its process
            "watchdog": "unknown",
            "browser-default": "unknown",
            "chromium-default": "unknown",
        }
        assert (await api.get("/readyz"))[0] == 200
        assert (await api.get("/readyz?session=default"))[0] == 503
        assert (await api.get("/readyz?session=none"))[0] == 503


async def test_with_fresh_evidence_it_is_healthy_and_with_bad_evidence_not(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api, PlayedHost(api) as host, beating(api.settings, "watchdog"):
        _, health, _ = await api.get("/api/health")
        assert (health["session_health"], health["last_health_check"]) == (False, None), "nothing is healthy before it was checked"
        assert health["sessions"][0]["complaints"] == ["the watchdog has not checked this session yet"]
        await api.context.write(lambda conn: sessions.record_health(conn, session="default", healthy=True, complaints=[], now=time.time()))
        status, health, _ = await api.get("/api/health")
        assert status == 200 and health["session_health"] is True and health["status"] == "healthy"
        assert health["last_health_check"].endswith("Z")
        states = {p["name"]: p["state"] for p in health["processes"]}
        assert states["watchdog"] == states["browser-default"] == states["chromium-default"] == "running"
        assert all(p["pid"] for p in health["processes"] if p["name"] != "api")
        assert (await api.get("/readyz?session=default"))[0] == 200
        host.healthy = False
        host.beat()
        _, health, _ = await api.get("/api/health")
        assert health["session_health"] is False and "WPP.chat.find is gone" in health["sessions"][0]["complaints"][0]


async def test_a_stopped_session_is_no_illness_of_the_others_and_no_health_of_its_own(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api:
        await api.context.write(lambda conn: sessions.set_desired(conn, "default", "stopped", time.time()))
        _, health, _ = await api.get("/api/health")
        assert health["session_health"] is False and "stopped" in health["sessions"][0]["complaints"][0]
        assert (await api.post("/api/recover-session"))[1]["error"]["code"] == "session_stopped"


async def test_the_queue_says_why_its_head_waits(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api:

        async def reason() -> str | None:
            status, queue, _ = await api.get("/api/queue-status")
            assert status == 200
            return queue["head_of_line"]["reason"]

        assert await reason() is None
        id = await api.send()
        assert await reason() == "session_not_ready"
        checked = {"session": "default", "healthy": True, "complaints": [], "now": time.time()}
        await api.context.write(lambda conn: sessions.record_health(conn, **checked))  # type: ignore[arg-type]
        async with PlayedHost(api) as host:
            assert await reason() == "resolving"
            claim = await host.claim()
            _, queue, _ = await api.get("/api/queue-status?session=default")
            assert queue["processing_queue"] is True and queue["in_flight"] == 1
            await host.fail(claim, NotSent("session_closed", "Session closed."))
            assert await reason() == "retry_backoff"
            _, queue, _ = await api.get("/api/queue-status")
            assert queue["head_of_line"]["id"] == id and queue["head_of_line"]["until"] is not None and queue["oldest_age_seconds"] >= 0
            await api.post("/api/sessions/default/pause")
            assert await reason() == "paused"
            await api.post("/api/sessions/default/resume")
            await api.post("/api/clear-queue")
            await api.send(send_at="2099-01-01T00:00:00Z")
            assert await reason() == "scheduled"
            await api.post("/api/clear-queue")
            await api.send()
            assert await reason() == "rate_limited"
            cap = Use("max_per_day", limit=1, span=DAY, new_chats=False, left=0, until=boot_time() + 600)
            host.pace = [asdict(cap)]
            host.beat()
            _, queue, _ = await api.get("/api/queue-status")
            assert queue["head_of_line"]["cap"] == "max_per_day" and 500 < queue["estimated_drain_seconds"] <= 600
            assert datetime.fromisoformat(queue["head_of_line"]["until"]).timestamp() == pytest.approx(time.time() + 600, abs=30)
            host.pace = []
            host.healthy = False
            host.beat()
            assert await reason() == "session_not_ready", "due, and nobody there who could send it"
            host.healthy = True
            host.beat()
            await host.hand_over()
            _, queue, _ = await api.get("/api/queue-status")
            assert queue["counts"]["delivered"] == 1 and queue["last_sent_at"] is not None and queue["rate_per_second"] > 0


async def test_what_another_account_left_is_held_until_released(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api, PlayedHost(api) as host:
        await api.send()
        link = {"lid": None, "device": None, "incarnation": "i2", "generation": "g2"}
        await api.context.write(
            lambda conn: sessions.linked(conn, host.fence, account="491700000002@c.us", now=time.time(), **link)  # type: ignore[arg-type]
        )
        _, queue, _ = await api.get("/api/queue-status")
        assert queue["head_of_line"]["reason"] == "other_account" and queue["held"] == {"other_account": 1}
        assert queue["message_queue_length"] == 1
        status, would, _ = await api.post("/api/queue/release", {"hold": "other_account", "dry_run": True})
        assert status == 200 and would["released"] == 1
        status, did, _ = await api.post("/api/queue/release", {"hold": "other_account"})
        assert did == {"released": 1, "asked": 0, "held": 0, "dry_run": False, "note": None}
        assert (await api.post("/api/queue/release", {}))[0] == 422
        _, restored, _ = await api.post("/api/queue/release", {"hold": "restored"})
        assert "another copy" in restored["note"]


async def test_metrics_parse_and_count(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api, PlayedHost(api) as host:
        await api.send()
        await host.hand_over()
        await api.send(to="+4915199999999")
        await api.context.write(lambda conn: sessions.record_health(conn, session="default", healthy=True, complaints=[], now=time.time()))
        status, raw, headers = await api.get("/metrics")
        assert status == 200 and headers["Content-Type"].startswith("text/plain")
        families = {f.name: f for f in text_string_to_metric_families(raw.decode())}
        prefix = "whatsapp_gateway_"

        def value(name: str, **labels: str) -> float:
            family = families[prefix + name.removesuffix("_total").removesuffix("_count")]
            return next(s.value for s in family.samples if s.name == prefix + name and labels.items() <= s.labels.items())

        assert value("messages_total", session="default", state="queued") == 2
        assert value("messages_total", session="default", state="delivered") == 1
        assert value("queue_length", session="default") == 1 and value("unconfirmed", session="default") == 0
        assert value("session_healthy", session="default") == 1 and value("queue_oldest_seconds", session="default") >= 0
        assert value("heartbeat_age_seconds", process="browser-default") < 5
        assert value("chromium_memory_bytes", session="default") == 300_000_000 and value("build_info") == 1
        assert value("send_seconds_count", session="default") == 1
        assert value("last_sent_timestamp_seconds", session="default") > time.time() - 60 and value("disk_free_bytes") > 0
        assert value("queue_due_seconds", session="default") >= 0 and value("session_started", session="default") == 1
        assert value("session_logged_out", session="default") == 0 and value("account_restricted", session="default") == 0
        assert value("outcome_unknown_total", session="default") == 0, "there before it counts: increase() misses no first one"
        assert value("recovery_seconds_count", session="default") == 0 and value("messages_total", state="failed") == 0
        assert value("heartbeat_age_seconds", process="watchdog") >= 0, "none has ever run: as old as what asks"
        names = ("session_healthy_seconds", "session_seconds", "recoveries", "recovery_seconds", "handover_seconds", "outcome_unknown")
        assert {prefix + n for n in names} <= set(families)
        assert "49151" not in raw.decode(), "no phone number in a label"
        _, raw, headers = await api.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert headers["Content-Type"].startswith("application/openmetrics-text") and raw.endswith(b"# EOF\n")


async def test_a_recovery_is_asked_for_once_and_can_be_read(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api:
        status, refused, headers = await api.post("/api/recover-session")
        assert status == 503 and refused["error"]["code"] == "process_down" and headers["Retry-After"], "nobody is there to do it"
        async with beating(api.settings, "watchdog"):
            status, begun, headers = await api.post("/api/recover-session")  # as the seed's document types it
            assert status == 202 and begun["status"] == "running" and headers["Location"] == f"/api/recoveries/{begun['id']}"
            status, refused, _ = await api.post("/api/recover-session", {"strategy": "nudge"})
            assert status == 409 and refused["error"]["details"]["recovery"] == begun["id"]
            _, health, _ = await api.get("/api/health")
            assert health["restart_in_progress"] is True and health["recovery"]["running"][0]["id"] == begun["id"]

            def end(conn: object) -> None:
                recoveries.rung(conn, id=begun["id"], rung="reload_page", now=time.time())  # type: ignore[arg-type]
                recoveries.close(conn, id=begun["id"], status="succeeded", detail=None, now=time.time())  # type: ignore[arg-type]

            await api.context.write(end)
            _, ended, _ = await api.get(f"/api/recoveries/{begun['id']}")
            assert ended["status"] == "succeeded" and ended["rungs"][0]["name"] == "reload_page"
            _, second, _ = await api.post("/api/recover-session", {"session": "default", "strategy": "respawn_host"})
            _, listed, _ = await api.get("/api/recoveries?limit=1")
            assert [r["id"] for r in listed["recoveries"]] == [second["id"]] and listed["next"] == second["id"]
            _, rest, _ = await api.get(f"/api/recoveries?before={listed['next']}")
            assert [r["id"] for r in rest["recoveries"]] == [begun["id"]] and rest["next"] is None
            status, refused, _ = await api.post("/api/recover-session", {"strategy": "hammer"})
            assert status == 422 and "relaunch_chromium" in refused["error"]["message"]


async def test_events_go_on_where_a_reader_left(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api, PlayedHost(api) as host:
        _, start, _ = await api.get("/api/events?wait=0")
        assert start["events"] == [] and start["cursor"] > 0
        waiting = asyncio.create_task(api.get(f"/api/events?after={start['cursor']}&kinds=message&wait=20"))
        id = await api.send()
        _, first, _ = await asyncio.wait_for(waiting, 5)
        assert [(e["type"], e["message"]) for e in first["events"]] == [("message.queued", id)]
        await host.hand_over(ack=1)
        _, rest, _ = await api.get(f"/api/events?after={first['cursor']}&kinds=message.sending,message.sent")
        assert [e["type"] for e in rest["events"]] == ["message.sending", "message.sent"]
        _, all_, _ = await api.get("/api/events?after=0&limit=2")
        assert len(all_["events"]) == 2 and all_["cursor"] == all_["events"][-1]["id"] and all_["missed"] is False
        _, none, _ = await api.get(f"/api/events?after={rest['cursor']}&wait=0.1&kinds=session.nothing")
        assert none["events"] == [] and none["cursor"] >= rest["cursor"]


async def test_with_a_key_everything_but_the_probes_asks_for_it(tmp_path: Path) -> None:
    key = "k" * 32
    async with ApiRig(tmp_path, api_key=key, metrics_key="m" * 16) as api:
        for path in ("/", "/api/health", "/api/docs", "/api/openapi.json", "/metrics", "/api/nothing"):
            status, refused, headers = await api.get(path)
            assert status == 401 and refused["error"]["code"] == "key_missing" and "WWW-Authenticate" in headers, path
        for path in ("/healthz", "/readyz"):
            status, told, _ = await api.get(path)
            assert status == 200 and told == {"status": "ok"}
        assert (await api.get("/metrics", X_Api_Key="m" * 16))[0] == 200
        assert (await api.get("/api/health", X_Api_Key="m" * 16))[0] == 403
        assert (await api.post("/api/messages", ONE, Authorization=f"Bearer {key}"))[0] == 202
        assert (await api.post("/api/messages", ONE, Authorization=f"Bearer {key}", Host="gateway.example.com", Via="1.1 p"))[0] == 202


async def test_without_a_key_a_web_page_gets_nothing_done(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api:
        attempts: list[tuple[dict[str, str], bytes | None, int]] = [
            ({"Host": "rebound.example.com"}, None, 403),
            ({"Origin": "https://evil.example"}, None, 403),
            ({"Content_Type": "text/plain"}, b'{"dry_run": false}', 415),
            ({"Content_Type": "multipart/form-data; boundary=x"}, b"--x--", 415),
            ({"X_Forwarded_For": "203.0.113.9"}, None, 403),
        ]
        await api.send()
        for headers, body, expected in attempts:
            for path in ("/api/clear-queue", "/api/sessions/default/pause"):
                status, _, _ = await api.post(path, body, **headers)
                assert status == expected, (headers, path)
        _, queue, _ = await api.get("/api/queue-status")
        assert queue["message_queue_length"] == 1 and queue["head_of_line"]["reason"] != "paused"
        reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
        writer.write(b"GET /api/health HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert b"403" in await reader.readline()
        writer.close()


async def test_the_document_and_the_page_come_from_this_gateway_alone(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api:
        status, document, _ = await api.get("/api/openapi.json")
        OpenAPIV31SpecValidator(document).validate()
        status, page, headers = await api.get("/api/docs")
        assert status == 200 and b"docs.js" in page and "default-src 'self'" in headers["Content-Security-Policy"]
        for name, media in (("docs.js", "text/javascript"), ("docs.css", "text/css"), ("icon.svg", "image/svg+xml")):
            status, _, headers = await api.get(f"/api/docs/{name}")
            assert status == 200 and headers["Content-Type"].startswith(media)
        async with aiohttp.ClientSession() as http, http.get(api.url + "/", allow_redirects=False) as reply:
            assert reply.status == 302 and reply.headers["Location"] == "/api/docs"
