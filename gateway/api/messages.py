"""Messages: accept, show, take back, send again."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sqlite3
from contextlib import suppress

import structlog
from aiohttp import web
from multidict import CIMultiDictProxy
from pydantic_core import to_json

from gateway.api import answers, schema
from gateway.api.context import Context, context_of, wall
from gateway.api.errors import Problem, disk_full, field_problem
from gateway.api.numbers import RecipientInvalid, address_of
from gateway.api.operations import BATCH_BODY_LIMIT, Operations, Parameter, body, json_answer, no_body, query
from gateway.beat import boot_time
from gateway.message import ACKED, State
from gateway.store import outbox
from gateway.store.intake import Request
from gateway.store.model import Accepted, Draft, MessageView

log = structlog.get_logger()
operations = Operations("Messages")

#: The scope of all idempotency keys. It never depends on the API key: a repeat after the key was changed is still one message.
SCOPE = "gateway"
#: The longest that `Prefer: wait` keeps a connection, in seconds.
WAIT_LIMIT = 60.0
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})")

IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "header",
    "1 to 255 visible ASCII characters (! to ~) without a space, your own for each request. "
    "The repeat of a request gets the same answer and sends nothing twice.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
)
PREFER = Parameter(
    "Prefer",
    "header",
    "`wait=10`: answer when it is sent, within so many seconds (60 at most).",
    {"type": "string", "examples": ["wait=10"]},
)
ID = Parameter("id", "path", "The message's id.")


@operations.post(
    "/api/messages",
    body=schema.MessageIn,
    parameters=(IDEMPOTENCY_KEY, PREFER),
    answers={202: answers.Accepted, 200: answers.Accepted},
    refusals=(400, 404, 409, 422, 503),
)
async def send_message(request: web.Request) -> web.Response:
    """Send a message

    Answers 202 when it is written down and synced. With `Prefer: wait=10` it answers 200, with WhatsApp's id, once
    WhatsApp's server has it; 202 with the state of then if that takes longer, or if the message became a dead letter.
    """
    context = context_of(request)
    key, seconds = idempotency_key(request.headers), _seconds_to_wait(request)
    draft = draft_of(await body(request, schema.MessageIn, BATCH_BODY_LIMIT), context)
    accepted = await _accept(context, single(context, draft, key))
    id = accepted.ids[0]
    headers = {"Location": f"/api/messages/{id}"}
    if seconds > 0:
        try:
            return await _answer_when_sent(context, id, accepted.repeated, seconds, headers)
        except sqlite3.Error as error:
            # It is accepted. An error here would have a client without an Idempotency-Key send it once more.
            if accepted.repeated:
                raise
            log.warning("A message was accepted, and what became of it could not be read", message=id, reason=str(error))
    if accepted.repeated:
        return json_answer(_accepted_out(await _message(context, id), repeated=True), 202, headers)
    return json_answer(fresh(id, draft), 202, headers)


@operations.post(
    "/api/messages/batch",
    body=schema.BatchIn,
    parameters=(IDEMPOTENCY_KEY,),
    answers={202: answers.BatchAccepted},
    refusals=(400, 404, 409, 422, 503),
)
async def send_batch(request: web.Request) -> web.Response:
    """Send up to 1,000 messages

    All are accepted, or none: one wrong recipient refuses the whole batch and says which. One Idempotency-Key covers it all.
    """
    context = context_of(request)
    key = idempotency_key(request.headers)
    batch = await body(request, schema.BatchIn, BATCH_BODY_LIMIT)
    drafts = [draft_of(message, context, f"messages.{i}.") for i, message in enumerate(batch.messages)]
    accepted = await _accept(context, _request(context, drafts, key, b"batch"))
    items = [answers.BatchItem(id=id, status="queued") for id in accepted.ids]
    if accepted.repeated:
        found = await context.read(lambda conn: [outbox.get(conn, id) for id in accepted.ids])
        items = [answers.BatchItem.model_construct(id=m.id, status=m.state.word) for m in found if m is not None]
    return json_answer(answers.BatchAccepted(messages=items, count=len(items), repeated=accepted.repeated), 202)


@operations.get("/api/messages/{id}", parameters=(ID,), query=schema.NoQuery, answers={200: answers.MessageDetail}, refusals=(404,))
async def get_message(request: web.Request) -> web.Response:
    """Show a message

    Its state, every hand-over with its error, the time of each transition, its WhatsApp id.
    """
    query(request, schema.NoQuery)
    return json_answer(detail(await _message(context_of(request), request.match_info["id"])))


@operations.get("/api/messages", query=schema.MessagesQuery, answers={200: answers.Messages}, refusals=(422,))
async def list_messages(request: web.Request) -> web.Response:
    """List messages

    Newest first; go on with `cursor`.
    """
    context, asked = context_of(request), query(request, schema.MessagesQuery)
    address = None
    if asked.recipient is not None:
        address = _address(asked.recipient, context, "recipient", form=True)
    try:
        page = await context.read(
            lambda conn: outbox.list_(
                conn,
                states=[State[asked.state.upper()]] if asked.state else None,
                session=asked.session,
                recipient=address,
                since=asked.since,
                until=asked.until,
                cursor=asked.cursor,
                limit=asked.limit,
            )
        )
    except ValueError:
        raise field_problem("cursor", "is none of ours: take `next` of the page before") from None
    return json_answer(answers.Messages(messages=[message_out(m) for m in page.messages], next=page.cursor))


@operations.post("/api/messages/{id}/cancel", parameters=(ID,), answers={200: answers.Accepted}, refusals=(404, 409))
async def cancel_message(request: web.Request) -> web.Response:
    """Cancel a message

    Only while it waits, and only if it cannot have gone out; else 409.
    """
    await no_body(request)
    context, id = context_of(request), request.match_info["id"]
    await context.write(lambda conn: outbox.cancel(conn, id=id, now=wall()), "api")
    return json_answer(_accepted_out(await _message(context, id)))


@operations.post(
    "/api/messages/{id}/requeue", parameters=(ID,), body=schema.RequeueIn, answers={202: answers.Accepted}, refusals=(404, 409, 422)
)
async def requeue_message(request: web.Request) -> web.Response:
    """Send a dead letter again

    Failed, cancelled and expired messages go back into the queue. Where nobody knows whether it went out before,
    WhatsApp is asked first; `accept_duplicate` sends it even then.
    """
    context, id = context_of(request), request.match_info["id"]
    asked = await body(request, schema.RequeueIn)
    before = await _message(context, id)
    await context.write(
        lambda conn: outbox.requeue(conn, id=id, accept_duplicate=asked.accept_duplicate, now=wall()), f"browser-{before.session}", "api"
    )
    return json_answer(_accepted_out(await _message(context, id)), 202)


def idempotency_key(headers: CIMultiDictProxy[str]) -> str | None:
    """The request's key, None without one. Raises Problem."""
    given = headers.getall("Idempotency-Key", [])
    if not given:
        return None
    if len(given) > 1 or _KEY.fullmatch(given[0]) is None:
        raise Problem(
            400, "idempotency_key_invalid", "Idempotency-Key must be one header of 1 to 255 visible ASCII characters, without a space"
        )
    return given[0]


def _seconds_to_wait(request: web.Request) -> float:
    prefer = request.headers.get("Prefer")
    found = _WAIT.search(prefer) if prefer else None
    return min(float(found[1]), WAIT_LIMIT) if found else 0.0


def _address(text: str, context: Context, field: str, *, form: bool = False) -> str:
    try:
        return address_of(text, context.settings.default_region, form=form)
    except RecipientInvalid as error:
        raise field_problem(field, str(error), "recipient_invalid") from None


def draft_of(message: schema.MessageIn, context: Context, prefix: str = "") -> Draft:
    """The message as the store takes it; `prefix` is put before the field's name in a refusal. Raises Problem."""
    address = _address(message.to, context, f"{prefix}to")
    if message.recipient_type is not None and (message.recipient_type == "group") != address.endswith("@g.us"):
        raise field_problem(f"{prefix}recipient_type", "does not fit `to`: a group's address ends in @g.us")
    return Draft(
        session=message.session,
        address=address,
        type=message.type,
        content={"body": message.text.body, "preview_url": message.text.preview_url},
        priority=message.priority,
        send_at=message.send_at,
        ttl=message.ttl,
        callback_data=message.biz_opaque_callback_data,
    )


def fingerprint(drafts: list[Draft], kind: bytes) -> bytes:
    """SHA-256 of the validated request in canonical form; `kind` keeps a batch of one apart from a single message."""
    rows = [
        [d.session, d.address, d.type, d.content["body"], d.content["preview_url"], d.priority, d.send_at, d.ttl, d.callback_data]
        for d in drafts
    ]
    return hashlib.sha256(kind + b"\0" + to_json(rows)).digest()


def single(context: Context, draft: Draft, key: str | None) -> Request:
    """The request for one message."""
    return _request(context, [draft], key, b"one")


def _request(context: Context, drafts: list[Draft], key: str | None, kind: bytes) -> Request:
    mark = fingerprint(drafts, kind) if key is not None else b""
    if ttl := context.settings.message_ttl:  # after the fingerprint: a changed setting makes no other body
        drafts = [d if d.ttl is not None else _with_ttl(d, ttl) for d in drafts]
    return Request(drafts, SCOPE, key, mark)


async def _accept(context: Context, request: Request) -> Accepted:
    """Accept, together with what comes at the same time. A repeat is answered even where nothing new is taken."""
    accepted = await context.intake.accept(request)
    if accepted is None:
        raise disk_full()
    return accepted


def _with_ttl(draft: Draft, ttl: float) -> Draft:
    return Draft(draft.session, draft.address, draft.type, draft.content, draft.priority, draft.send_at, ttl, draft.callback_data)


async def _message(context: Context, id: str) -> MessageView:
    found = await context.read(lambda conn: outbox.get(conn, id))
    if found is None:
        raise Problem(404, "message_unknown", "there is no message of this id: it was never accepted here, or is older than what is kept")
    return found


async def _answer_when_sent(context: Context, id: str, repeated: bool, seconds: float, headers: dict[str, str]) -> web.Response:
    deadline = boot_time() + seconds
    with context.news.watching(id) as event:
        while True:
            event.clear()
            found = await _message(context, id)
            settled = found.state in ACKED or found.state in (State.FAILED, State.CANCELLED, State.EXPIRED)
            left = deadline - boot_time()
            if settled or left <= 0:
                sent = found.state in ACKED
                headers["Preference-Applied"] = f"wait={seconds:g}"
                return json_answer(_accepted_out(found, repeated=repeated), 200 if sent else 202, headers)
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await event.wait()


def fresh(id: str, draft: Draft) -> dict[str, object]:
    """answers.Accepted of a message that was just accepted, written out: this is the one answer that has to be fast."""
    recipient = {"address": draft.address, "wa_id": None}
    return {
        "id": id,
        "status": "queued",
        "session": draft.session,
        "recipient": recipient,
        "repeated": False,
        "wa_id": None,
        "reason": None,
    }


def _accepted_out(m: MessageView, *, repeated: bool = False) -> answers.Accepted:
    return answers.Accepted.model_validate(
        {
            "id": m.id,
            "status": m.state.word,
            "session": m.session,
            "recipient": {"address": m.address, "wa_id": m.recipient_wa_id},
            "repeated": repeated,
            "wa_id": m.wa_id,
            "reason": m.reason or m.hold,
        }
    )


def _fields(m: MessageView) -> dict[str, object]:
    return {
        "id": m.id,
        "status": m.state.word,
        "session": m.session,
        "recipient": {"address": m.address, "wa_id": m.recipient_wa_id},
        "type": m.type,
        "text": m.content if m.type == "text" else None,
        "priority": m.priority,
        "accepted_at": m.accepted,
        "send_at": m.send_at,
        "ttl": m.ttl,
        "expires_at": m.expires_at,
        "due_at": m.due if m.state is State.QUEUED else None,
        "status_since": m.state_since,
        "hold": m.hold,
        "reason": m.reason,
        "error": m.error,
        "wa_id": m.wa_id,
        "biz_opaque_callback_data": m.callback_data,
        "attempts_counted": m.attempts_counted,
    }


def message_out(m: MessageView) -> answers.Message:
    """A message as a list shows it."""
    return answers.Message.model_validate(_fields(m))


def detail(m: MessageView) -> answers.MessageDetail:
    """A message with all that happened to it."""
    attempts = [
        {
            "number": a.number,
            "outcome": a.outcome,
            "code": a.code,
            "error": a.error,
            "wa_id": a.key,
            "claimed_at": a.claimed_at,
            "placed_at": a.placed_at,
            "ended_at": a.ended_at,
        }
        for a in m.attempts
    ]
    transitions = [{"state": t.state, "at": t.at} for t in m.transitions]
    return answers.MessageDetail.model_validate({**_fields(m), "attempts": attempts, "transitions": transitions})
