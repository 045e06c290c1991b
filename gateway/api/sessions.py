"""Sessions: link a phone, start, stop, pause; and is a number on WhatsApp."""

from __future__ import annotations

import base64
import io
import sqlite3
from typing import Any

import segno
from aiohttp import web

from gateway.api import answers, schema
from gateway.api.asking import LONG_PATIENCE, ask, session_row
from gateway.api.context import Context, context_of, wall
from gateway.api.errors import Problem, field_problem
from gateway.api.evidence import session_out
from gateway.api.numbers import RecipientInvalid, address_of, phone_of
from gateway.api.operations import Operations, Parameter, body, json_answer, no_body, query
from gateway.store import recipients, sessions
from gateway.times import rfc3339

operations = Operations("Sessions")

NAME = Parameter("name", "path", "The session's name; the one that needs no naming elsewhere is `default`.")
#: Pixels of one module of a QR code, and modules of white around it (the standard asks for 4).
SCALE, BORDER = 8, 4
_NO_STORE = {"Cache-Control": "no-store"}


@operations.get("/api/sessions", query=schema.NoQuery, answers={200: answers.Sessions})
async def list_sessions(request: web.Request) -> web.Response:
    """List sessions"""
    query(request, schema.NoQuery)
    context = context_of(request)
    rows = await context.read(sessions.all_)
    return json_answer(answers.Sessions(sessions=[session_out(row, context.settings) for row in rows]))


@operations.post("/api/sessions", body=schema.SessionIn, answers={201: answers.SessionOut, 200: answers.SessionOut}, refusals=(422,))
async def create_session(request: web.Request) -> web.Response:
    """Set up a session

    A session needs a slot, that is, a browser host of its own: names without one are refused. 200 if it is there already.
    """
    context, asked = context_of(request), await body(request, schema.SessionIn)
    name = asked.name
    known = await context.read(lambda conn: sessions.get(conn, name))
    if known is None and name != "default" and not context.settings.beat(f"browser-{name}").exists():
        raise field_problem(
            "name", "has no slot on this gateway: no browser host runs for it. So far there is the one session `default`", "no_slot"
        )
    new = await context.write(lambda conn: sessions.ensure(conn, name=name, now=wall()), "watchdog")
    return json_answer(session_out(await session_row(context, name), context.settings), 201 if new else 200)


@operations.get("/api/sessions/{name}", parameters=(NAME,), answers={200: answers.SessionOut}, refusals=(404,))
async def get_session(request: web.Request) -> web.Response:
    """Show a session"""
    context, row = await _named(request)
    return json_answer(session_out(row, context.settings))


@operations.delete("/api/sessions/{name}", parameters=(NAME,), answers={200: answers.Done}, refusals=(404, 409))
async def delete_session(request: web.Request) -> web.Response:
    """Remove a session

    Not possible yet: a session's messages stay readable, and they belong to it. Log it out and stop it instead.
    """
    await no_body(request)
    await _named(request)
    raise Problem(409, "session_has_slot", "a session that has a slot cannot be removed: log it out and stop it instead")


@operations.post("/api/sessions/{name}/start", parameters=(NAME,), answers={202: answers.Done}, refusals=(404, 409, 503))
async def start_session(request: web.Request) -> web.Response:
    """Start a session

    Starts its browser host and its Chromium.
    """
    return await _by_watchdog(request, "start", "started")


@operations.post("/api/sessions/{name}/stop", parameters=(NAME,), answers={202: answers.Done}, refusals=(404, 409, 503))
async def stop_session(request: web.Request) -> web.Response:
    """Stop a session

    Stops its browser host and its Chromium, and they stay stopped. Messages are accepted on, and wait; the login is kept.
    """
    return await _by_watchdog(request, "stop", "stopped")


@operations.post("/api/sessions/{name}/restart", parameters=(NAME,), answers={202: answers.Done}, refusals=(404, 409, 503))
async def restart_session(request: web.Request) -> web.Response:
    """Restart a session

    Its browser host and its Chromium anew. To heal a session, rather use /api/recover-session: it does no more than is needed.
    """
    return await _by_watchdog(request, "restart", "started")


@operations.post("/api/sessions/{name}/logout", parameters=(NAME,), answers={200: answers.Done}, refusals=(404, 409, 503))
async def log_out(request: web.Request) -> web.Response:
    """Unlink the phone

    Messages that wait stay bound to the account they were accepted for: link it again and they go out.
    """
    await no_body(request)
    context, row = await _named(request)
    await ask(context, row.name, "browser", "logout")
    return json_answer(answers.Done(session=row.name, status="logged_out"))


@operations.post("/api/sessions/{name}/pause", parameters=(NAME,), answers={200: answers.SessionOut}, refusals=(404,))
async def pause_session(request: web.Request) -> web.Response:
    """Pause sending

    Nothing more is handed over until it is resumed; messages are accepted on, and wait.
    """
    await no_body(request)
    context, row = await _named(request)
    await context.write(lambda conn: sessions.pause(conn, row.name, wall()), f"browser-{row.name}", "api")
    return json_answer(session_out(await session_row(context, row.name), context.settings))


@operations.post("/api/sessions/{name}/resume", parameters=(NAME,), answers={200: answers.SessionOut}, refusals=(404,))
async def resume_session(request: web.Request) -> web.Response:
    """Resume sending"""
    await no_body(request)
    context, row = await _named(request)
    await context.write(lambda conn: sessions.resume(conn, row.name, wall()), f"browser-{row.name}", "api")
    return json_answer(session_out(await session_row(context, row.name), context.settings))


@operations.get(
    "/api/sessions/{name}/qr",
    parameters=(NAME,),
    query=schema.QrQuery,
    answers={200: ("image/png", "image/svg+xml", "text/plain")},
    refusals=(404, 409, 503),
)
async def get_qr(request: web.Request) -> web.Response:
    """The QR code to scan

    On the phone: WhatsApp, Linked devices, Link a device. It changes every 20 seconds or so: fetch it again until the session is linked.
    """
    context, row = await _named(request)
    asked = query(request, schema.QrQuery)
    if row.account is not None:
        raise Problem(409, "already_linked", "the session is linked, so there is no QR code: POST …/logout first to link another phone")
    result = await ask(context, row.name, "browser", "qr")
    headers = dict(_NO_STORE)
    if result.get("expires_at"):
        headers["X-QR-Expires-At"] = rfc3339(result["expires_at"])
    return _drawn(str(result["code"]), asked.format or _wanted(request.headers.get("Accept", "")), headers)


@operations.post(
    "/api/sessions/{name}/pairing-code",
    parameters=(NAME,),
    body=schema.PairingIn,
    answers={200: answers.PairingCode},
    refusals=(404, 409, 422, 503),
)
async def get_pairing_code(request: web.Request) -> web.Response:
    """A code to type instead of scanning

    On the phone: WhatsApp, Linked devices, Link with phone number instead. WhatsApp knows one code at a time: until `expires_at`
    the same code is answered, and 409 for another phone.
    """
    context, row = await _named(request)
    asked = await body(request, schema.PairingIn)
    try:
        phone = phone_of(asked.phone, context.settings.default_region)
    except RecipientInvalid as error:
        raise field_problem("phone", str(error), "phone_invalid") from None
    if row.account is not None:
        raise Problem(409, "already_linked", "the session is linked: POST …/logout first to link another phone")
    result = await ask(context, row.name, "browser", "pairing_code", {"phone": phone})
    plain = str(result["code"]).replace("-", "")
    # in two halves, as the phone asks for it
    code = answers.PairingCode(session=row.name, code=f"{plain[:4]}-{plain[4:]}", expires_at=result["expires_at"])
    return json_answer(code, headers=_NO_STORE)


@operations.get("/api/sessions/{name}/screenshot", parameters=(NAME,), answers={200: ("image/png",)}, refusals=(404, 409, 503))
async def get_screenshot(request: web.Request) -> web.Response:
    """What the browser shows"""
    context, row = await _named(request)
    result = await ask(context, row.name, "browser", "screenshot")
    return web.Response(body=base64.b64decode(result["png"]), content_type="image/png", headers=_NO_STORE)


@operations.get(
    "/api/contacts/{number}",
    parameters=(Parameter("number", "path", "A number in any spelling that `to` takes."),),
    query=schema.SessionQuery,
    answers={200: answers.Contact},
    refusals=(404, 409, 422, 503),
)
async def get_contact(request: web.Request) -> web.Response:
    """Is a number on WhatsApp, or a group there for us. WhatsApp is asked, unless it said yes within the last minute.

    What it says counts for messages to the same recipient too.
    """
    context, asked = context_of(request), query(request, schema.SessionQuery)
    try:
        address = address_of(request.match_info["number"], context.settings.default_region)
    except RecipientInvalid as error:
        raise field_problem("number", str(error), "recipient_invalid") from None
    row = await session_row(context, asked.session or "default")
    known = await context.read(lambda conn: recipients.look_up(conn, session=row.name, address=address))
    written_to = known is not None and known.known is recipients.Known.RESOLVED
    try:
        result: dict[str, Any] = await ask(context, row.name, "browser", "contact", {"address": address})
    except Problem:
        if known is None or not written_to:
            raise
        # WhatsApp cannot be asked now: what it said when the number was written to
        return json_answer(answers.Contact(address=address, on_whatsapp=True, wa_id=known.wa_id, lid=known.lid))
    if result["exists"] is None:
        raise Problem(503, "look_up_failed", "WhatsApp did not say: try again in a moment", retry_after=15)
    return json_answer(
        answers.Contact(address=address, on_whatsapp=bool(result["exists"]), wa_id=result.get("wa_id"), lid=result.get("lid"))
    )


async def _named(request: web.Request) -> tuple[Context, sessions.SessionRow]:
    context = context_of(request)
    return context, await session_row(context, request.match_info["name"])


async def _by_watchdog(request: web.Request, kind: str, desired: str) -> web.Response:
    await no_body(request)
    context, row = await _named(request)
    await ask(context, row.name, "watchdog", kind, desired=desired, patience=LONG_PATIENCE)
    return json_answer(answers.Done(session=row.name, status="stopping" if kind == "stop" else "starting"), 202)


def _wanted(accept: str) -> str:
    """png, svg or text by the Accept header; the first one that is named wins."""
    for part in accept.split(","):
        match part.partition(";")[0].strip().lower():
            case "image/svg+xml":
                return "svg"
            case "text/plain":
                return "text"
            case "image/png" | "image/*" | "*/*":
                return "png"
    return "png"


def _drawn(code: str, kind: str, headers: dict[str, str]) -> web.Response:
    qr = segno.make_qr(code, error="l")
    if kind == "text":
        text = io.StringIO()
        qr.terminal(out=text, border=BORDER, compact=True)
        return web.Response(text=text.getvalue(), content_type="text/plain", headers=headers)
    raw = io.BytesIO()
    if kind == "svg":
        qr.save(raw, kind="svg", scale=SCALE, border=BORDER, light="white")
        return web.Response(body=raw.getvalue(), content_type="image/svg+xml", headers=headers)
    qr.save(raw, kind="png", scale=SCALE, border=BORDER)
    return web.Response(body=raw.getvalue(), content_type="image/png", headers=headers)


def ensure_default(conn: sqlite3.Connection) -> None:
    """The session that needs no naming is there from the start."""
    sessions.ensure(conn, name="default", now=wall())
