"""Messages over real HTTP into a real store: accepted once, shown, taken back, sent again."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from api_rig import ONE, ApiRig, PlayedHost

from gateway.beat import boot_time
from gateway.message import NotSent, Rejected, Unconfirmed
from gateway.store import database, outbox


async def test_accepted_means_written_down(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api:
        status, body, headers = await api.post("/api/messages", ONE)
        assert status == 202
        assert body["status"] == "queued" and body["recipient"] == {"address": "4915123456789@c.us", "wa_id": None}
        assert headers["Location"] == f"/api/messages/{body['id']}" and headers["X-Request-Id"].startswith("req_")
        with sqlite3.connect(api.settings.database) as other:
            assert other.execute("SELECT public FROM outbox").fetchall() == [(body["id"],)]
    async with ApiRig(tmp_path) as api:  # the process ended and came again
        status, shown, _ = await api.get(f"/api/messages/{body['id']}")
        assert status == 200 and shown["text"]["body"] == "Hello" and shown["status"] == "queued"


async def test_a_repeat_with_its_key_is_the_same_message(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api:
        _, first, _ = await api.post("/api/messages", ONE, Idempotency_Key="order-4711")
        # spelt otherwise, the same message
        spelt = {"to": "4915123456789@c.us", "type": "text", "text": {"body": "Hello", "preview_url": False}}
        status, again, _ = await api.post("/api/messages", spelt, Idempotency_Key="order-4711")
        assert status == 202 and again["id"] == first["id"] and again["repeated"] is True and first["repeated"] is False
        status, refused, _ = await api.post("/api/messages", {**ONE, "text": "Other"}, Idempotency_Key="order-4711")
        assert status == 409 and refused["error"]["code"] == "idempotency_key_reused"
        status, refused, _ = await api.post("/api/messages/batch", {"messages": [ONE]}, Idempotency_Key="order-4711")
        assert status == 409, "a batch is another request than a message"
        _, other, _ = await api.post("/api/messages", ONE)
        assert other["id"] != first["id"], "without a key a repeat is a new message"
        assert (await api.get("/api/queue-status"))[1]["message_queue_length"] == 2


async def test_a_repeat_is_recognised_after_the_api_key_was_set_and_changed(tmp_path: Path) -> None:
    """By the short way, by the usual one (Prefer), and as a batch."""
    asked: list[tuple[str, Any, dict[str, str]]] = [
        ("/api/messages", ONE, {"Idempotency_Key": "order-1"}),
        ("/api/messages", ONE, {"Idempotency_Key": "order-2", "Prefer": "wait=0"}),
        ("/api/messages/batch", {"messages": [ONE]}, {"Idempotency_Key": "order-3"}),
    ]
    given: list[Any] = []
    for key in (None, "the-first-key-there-was", "the-key-that-came-after-it", None):
        async with ApiRig(tmp_path, api_key=key) as api:
            named = {"X_Api_Key": key} if key else {}
            answers = [(await api.post(path, body, **headers, **named))[1] for path, body, headers in asked]
            assert {answer["repeated"] for answer in answers} == {bool(given)}
            given.append([a.get("id") or a["messages"][0]["id"] for a in answers])
            assert given[-1] == given[0]
            assert (await api.get("/api/queue-status", **named))[1]["message_queue_length"] == 3


async def test_many_repeats_at_once_are_one_message(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api:
        replies = await asyncio.gather(*(api.post("/api/messages", ONE, Idempotency_Key="same") for _ in range(40)))
        assert {status for status, _, _ in replies} == {202}
        assert len({body["id"] for _, body, _ in replies}) == 1
        assert sum(not body["repeated"] for _, body, _ in replies) == 1


async def test_requests_at_the_same_time_do_not_touch_each_other(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api:
        asked = [
            api.post("/api/messages", [ONE, {**ONE, "session": "nowhere"}, {**ONE, "to": "hello"}, ONE][n % 4], Idempotency_Key=f"k{n}")
            for n in range(80)
        ]
        replies = await asyncio.gather(*asked)
        assert [status for status, _, _ in replies] == [202, 404, 422, 202] * 20
        ids = [body["id"] for status, body, _ in replies if status == 202]
        assert len(set(ids)) == 40
        for id in ids[::7]:
            assert (await api.get(f"/api/messages/{id}"))[1]["status"] == "queued"
        assert (await api.get("/api/queue-status"))[1]["message_queue_length"] == 40


async def test_a_batch_is_taken_all_or_none(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api:
        batch = {"messages": [{"to": f"+4915100000{n:03}", "text": f"number {n}"} for n in range(1000)]}
        status, body, _ = await api.post("/api/messages/batch", batch, Idempotency_Key="campaign")
        assert status == 202 and body["count"] == 1000 and len({m["id"] for m in body["messages"]}) == 1000
        status, again, _ = await api.post("/api/messages/batch", batch, Idempotency_Key="campaign")
        assert again["repeated"] and [m["id"] for m in again["messages"]] == [m["id"] for m in body["messages"]]
        wrong = {"messages": [ONE, ONE, {"to": "hello", "text": "x"}]}
        status, refused, _ = await api.post("/api/messages/batch", wrong)
        assert status == 422 and refused["error"]["details"]["field"] == "messages.2.to"
        status, refused, _ = await api.post("/api/messages/batch", {"messages": [ONE, {**ONE, "session": "elsewhere"}]})
        assert status == 404
        assert (await api.get("/api/queue-status"))[1]["message_queue_length"] == 1000


async def test_beyond_the_queue_limit_nothing_is_taken_but_repeats_are_answered(tmp_path: Path) -> None:
    async with ApiRig(tmp_path, queue_limit=2) as api:
        _, first, _ = await api.post("/api/messages", ONE, Idempotency_Key="a")
        status, refused, headers = await api.post("/api/messages/batch", {"messages": [ONE, ONE]})
        assert status == 503 and refused["error"]["code"] == "queue_full" and int(headers["Retry-After"]) > 0
        await api.send()
        assert (await api.post("/api/messages", ONE))[0] == 503
        status, again, _ = await api.post("/api/messages", ONE, Idempotency_Key="a")
        assert status == 202 and again["id"] == first["id"]
        status, health, _ = await api.get("/api/health")
        assert status == 503 and "GATEWAY_QUEUE_LIMIT" in health["not_accepting_because"]
        assert (await api.get("/readyz"))[0] == 503


async def test_while_another_holds_the_database_nothing_is_promised(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api:
        holder = database.open_database(api.settings.database)
        database.begin(holder, boot_time() + 5)
        try:
            (status, refused, headers), (shown, _, _) = await asyncio.gather(api.post("/api/messages", ONE), api.get("/api/messages"))
            assert status == 503 and refused["error"]["code"] == "database_locked" and "Retry-After" in headers
            assert shown == 200, "reading goes on"
            assert (await api.get("/readyz"))[0] == 503
            assert (await api.get("/healthz"))[0] == 200
        finally:
            holder.execute("ROLLBACK")
            holder.close()
        await api.send()


async def test_wait_answers_when_it_is_sent(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api, PlayedHost(api) as host:
        waiting = [
            asyncio.create_task(api.post("/api/messages", {**ONE, "text": f"{n}"}, Prefer="respond-async, wait=20")) for n in range(5)
        ]
        await api.until("/api/queue-status", lambda q: q["message_queue_length"] == 5)
        for _ in waiting:
            await host.hand_over()
        for status, body, headers in await asyncio.gather(*waiting):
            assert status == 200 and body["status"] in ("sent", "delivered") and headers["Preference-Applied"] == "wait=20"
            assert body["wa_id"].startswith("true_4915123456789@c.us_3EB0") and body["recipient"]["wa_id"] == "4915123456789@c.us"
        status, body, _ = await api.post("/api/messages", ONE, Prefer="wait=0.2")
        assert status == 202 and body["status"] == "queued"
        status, body, _ = await api.post("/api/messages", ONE, Prefer="wait=1")
        assert status == 202 and body["status"] == "queued"


async def test_a_message_that_was_accepted_is_answered_202_although_it_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error would have the client send it again, and without a key that is a second message."""

    def broken(conn: sqlite3.Connection, id: str) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    async with ApiRig(tmp_path) as api:
        monkeypatch.setattr(outbox, "get", broken)
        status, body, headers = await api.post("/api/messages", ONE, Prefer="wait=5")
        monkeypatch.undo()
        assert status == 202 and body["status"] == "queued" and headers["Location"].endswith(body["id"])
        assert (await api.get(f"/api/messages/{body['id']}"))[1]["status"] == "queued"


async def test_a_dead_letter_ends_the_wait_at_once(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api, PlayedHost(api) as host:
        waiting = asyncio.create_task(api.post("/api/messages", ONE, Prefer="wait=30"))
        await api.until("/api/queue-status", lambda q: q["message_queue_length"] == 1)
        await host.fail(await host.claim(), Rejected("nack_400", "WhatsApp refuses this message"))
        status, body, _ = await asyncio.wait_for(waiting, 5)
        assert status == 202 and body["status"] == "failed" and body["reason"] == "rejected"


async def test_a_message_shows_all_that_happened_to_it(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api, PlayedHost(api) as host:
        id = await api.send(priority=3, biz_opaque_callback_data="order-1", ttl=3600)
        await host.fail(await host.claim(), NotSent("session_closed", "Session closed. Most likely the page has been closed."), due=1.0)
        await host.hand_over(ack=3)
        _, shown, _ = await api.get(f"/api/messages/{id}")
        assert shown["status"] == "read" and shown["biz_opaque_callback_data"] == "order-1" and shown["priority"] == 3
        first, second = shown["attempts"]
        assert first["outcome"] == "not_sent" and first["code"] == "session_closed" and "Session closed" in first["error"]
        assert second["outcome"] == "sent" and shown["wa_id"] == second["wa_id"]
        assert [t["state"] for t in shown["transitions"]][:3] == ["queued", "sending", "queued"]
        assert shown["transitions"][-1]["state"] == "read"
        assert shown["accepted_at"].endswith("Z") and len(shown["accepted_at"]) == 24, "RFC 3339 in UTC with milliseconds"


async def test_the_list_filters_and_turns_pages(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api, PlayedHost(api) as host:
        ids = [await api.send(text=str(n)) for n in range(5)]
        other = await api.send(to="+4915199999999")
        await host.hand_over()
        _, page, _ = await api.get("/api/messages?limit=4")
        _, rest, _ = await api.get(f"/api/messages?limit=4&cursor={page['next']}")
        assert [m["id"] for m in page["messages"] + rest["messages"]] == [other, *reversed(ids)] and rest["next"] is None
        _, found, _ = await api.get("/api/messages?recipient=%2B49%20151%2099999999")
        assert [m["id"] for m in found["messages"]] == [other]
        _, found, _ = await api.get("/api/messages?state=delivered&session=default")
        assert len(found["messages"]) == 1
        for query in (
            "state=lost",
            "limit=0",
            "limit=501",
            "cursor=zzz",
            "since=yesterday",
            "sort=up",
            "limit=1&limit=2",
            "recipient=hello",
        ):
            status, refused, _ = await api.get(f"/api/messages?{query}")
            assert status == 422 and refused["error"]["details"]["field"] == query.partition("=")[0], query


async def test_cancel_and_requeue_where_the_state_allows(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api, PlayedHost(api) as host:
        id = await api.send()
        status, body, _ = await api.post(f"/api/messages/{id}/cancel")
        assert status == 200 and body["status"] == "cancelled"
        status, refused, _ = await api.post(f"/api/messages/{id}/cancel")
        assert status == 409 and refused["error"]["code"] == "message_state"
        status, body, _ = await api.post(f"/api/messages/{id}/requeue")
        assert status == 202 and body["status"] == "queued"
        claim = await host.claim()
        status, refused, _ = await api.post(f"/api/messages/{id}/cancel")
        assert status == 409 and refused["error"]["code"] == "outcome_unknown"
        await host.fail(claim, Unconfirmed("timeout", "no answer in time"))
        assert (await api.post(f"/api/messages/{id}/requeue"))[0] == 409
        for call in ("cancel", "requeue"):
            assert (await api.post(f"/api/messages/msg_none/{call}"))[0] == 404


async def test_clear_queue_takes_back_what_waits_and_nothing_else(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api, PlayedHost(api) as host:
        in_flight = await api.send(to="+4915100000001")
        await host.claim()
        waiting = await api.send(to="+4915100000002")
        scheduled = await api.send(to="+4915100000003", send_at="2099-01-01T00:00:00Z")
        status, would, _ = await api.post("/api/clear-queue", {"dry_run": True})
        assert status == 200 and would == {"cancelled": 2, "outcome_unknown": 0, "dry_run": True}
        _, did, _ = await api.post("/api/clear-queue", {"states": ["scheduled"]})
        assert did["cancelled"] == 1
        status, did, _ = await api.post("/api/clear-queue")  # as a person types it: no body, no media type
        assert status == 200 and did["cancelled"] == 1
        states = {id: (await api.get(f"/api/messages/{id}"))[1]["status"] for id in (in_flight, waiting, scheduled)}
        assert states == {in_flight: "sending", waiting: "cancelled", scheduled: "cancelled"}
        assert (await api.post(f"/api/messages/{waiting}/requeue"))[1]["status"] == "queued"


async def test_ttl_comes_from_the_settings_where_none_is_given(tmp_path: Path) -> None:
    async with ApiRig(tmp_path, message_ttl=120) as api:
        _, first, _ = await api.post("/api/messages", ONE, Idempotency_Key="k")
        assert (await api.get(f"/api/messages/{first['id']}"))[1]["ttl"] == 120
        short = await api.send(ttl=0.2)
        await api.until(f"/api/messages/{short}", lambda m: m["status"] == "expired")
    async with ApiRig(tmp_path, message_ttl=240) as api:
        _, again, _ = await api.post("/api/messages", ONE, Idempotency_Key="k")
        assert again["id"] == first["id"], "a changed setting makes no other body"


#: (headers, body, status, code, words of the sentence)
BAD: list[tuple[dict[str, str], Any, int, str, str]] = [
    ({}, b"{", 415, "not_json", "Content-Type: application/json"),
    ({"Content_Type": "text/plain"}, b'{"to":"+4915123456789","text":"x"}', 415, "not_json", "must be JSON"),
    ({"Content_Type": "application/x-www-form-urlencoded"}, b"to=1", 415, "not_json", "must be JSON"),
    ({"Content_Type": "application/json"}, b"{", 400, "json_invalid", "no valid JSON"),
    ({"Content_Type": "application/json"}, b"\xff", 400, "json_invalid", "no valid JSON"),
    ({"Content_Type": "application/json"}, b"[" * 10_000, 400, "json_invalid", "no valid JSON"),
    ({}, None, 422, "field_missing", "to is missing"),
    ({}, {}, 422, "field_missing", "to is missing"),
    ({}, [], 422, "field_invalid", "must be an object"),
    ({}, {"to": "+4915123456789"}, 422, "field_missing", "text is missing"),
    ({}, {**ONE, "to": "0151 23456789"}, 422, "recipient_invalid", "to starts with 0"),
    ({}, {**ONE, "to": "status@broadcast"}, 422, "recipient_invalid", "to is a broadcast address"),
    ({}, {**ONE, "recipient_type": "group"}, 422, "field_invalid", "a group's address ends in @g.us"),
    ({}, {**ONE, "type": "image"}, 422, "not_supported_yet", "cannot be sent yet"),
    ({}, {**ONE, "session": "other"}, 404, "not_found", "no session"),
    ({}, {**ONE, "text": "x" * 70_000}, 422, "field_invalid", "longer than 65536 characters"),
    ({}, {**ONE, "text": "x" * 1_100_000}, 422, "field_invalid", "longer than 65536 characters"),
    ({}, {**ONE, "text": "x" * (16 << 20)}, 413, "body_too_large", "larger than"),
    ({}, {**ONE, "extra": 1}, 422, "field_unknown", "extra is not known here"),
    ({"Idempotency_Key": "x" * 256}, ONE, 400, "idempotency_key_invalid", "1 to 255"),
    ({"Idempotency_Key": "a b"}, ONE, 400, "idempotency_key_invalid", "visible ASCII"),
]


async def test_each_bad_input_gets_its_status_and_a_sentence(tmp_path: Path) -> None:
    async with ApiRig(tmp_path) as api:
        for headers, body, expected, code, words in BAD:
            status, answer, sent = await api.post("/api/messages", body, **headers)
            assert (status, answer["error"]["code"]) == (expected, code), (body if not isinstance(body, bytes) else body[:60], answer)
            assert words in answer["error"]["message"], answer
            assert set(answer["error"]) == {"type", "code", "message", "details", "request_id"}
            assert answer["error"]["request_id"] == sent["X-Request-Id"]
        assert (await api.get("/api/queue-status"))[1]["message_queue_length"] == 0


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/nothing", 404, "no_such_path"),
        ("GET", "/api/messages/msg_none", 404, "message_unknown"),
        ("GET", "/api/messages/%ff%00", 404, "message_unknown"),
        ("PUT", "/api/messages", 405, "method_not_allowed"),
        ("GET", "/api/clear-queue", 405, "method_not_allowed"),
        ("GET", "/api/health?x=1", 422, "field_unknown"),
        ("GET", "/api/queue-status?session=none", 404, "session_unknown"),
        ("GET", "/api/recoveries/7", 404, "recovery_unknown"),
        ("GET", "/api/recoveries/abc", 404, "recovery_unknown"),
        ("GET", "/api/sessions/none", 404, "session_unknown"),
        ("GET", "/api/docs/../../../etc/passwd", 404, "no_such_path"),
        ("GET", "/api/docs/docs.py", 404, "no_such_path"),
    ],
)
async def test_paths_and_methods_that_are_not_there(tmp_path: Path, method: str, path: str, status: int, code: str) -> None:
    async with ApiRig(tmp_path) as api:
        found, answer, headers = await api.ask(method, path)
        assert (found, answer["error"]["code"]) == (status, code)
        assert status != 405 or "Allow" in headers
