"""The one shape of every error, and how each refusal of ours, the store's and aiohttp's comes to it."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web
from pydantic import ValidationError
from pydantic_core import to_json

from gateway.api.root_path import under
from gateway.store.database import Full, Locked
from gateway.store.errors import AlreadyRunning, Conflict, IdempotencyConflict, NotFound, QueueLimit
from gateway.store.writer import Closed, QueueFull

#: HTTP status → the `type` that clients switch on; `code` says it finer.
TYPES = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    414: "too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
    429: "too_many_requests",
    431: "too_large",
    500: "internal",
    503: "unavailable",
    504: "timeout",
}

#: Request ids are counted within a process: dice for each one would hand the interpreter over to the writer's thread each time.
_PROCESS = secrets.token_hex(5)
_NUMBERS = itertools.count(1)
#: A field's name as we would write one; anything else may be the text of a message that went astray.
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: Headers of every answer: a browser shall not guess what it is, and no page of another origin shall read it.
ALWAYS = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}


def request_id_of(given: str | None) -> str:
    """The X-Request-Id that a request brings, if it is fit to be logged; else a new one."""
    return given if given is not None and _REQUEST_ID.fullmatch(given) else new_request_id()


def new_request_id() -> str:
    """An id for a request that brings none."""
    return f"req_{_PROCESS}{next(_NUMBERS):06x}"


class Problem(Exception):
    """An answer that is not 2xx.

    `message` is a sentence that says what to do and never repeats what the caller sent;
    `retry_after` is in seconds.
    """

    def __init__(self, status: int, code: str, message: str, *, retry_after: int | None = None, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.details = details


def answer(problem: Problem, request_id: str, headers: Mapping[str, str] | None = None, *, root: str = "") -> web.Response:
    """The problem as a response. `root` is GATEWAY_ROOT_PATH."""
    body = {
        "error": {
            "type": TYPES.get(problem.status, "invalid_request"),
            "code": problem.code,
            "message": under(root, problem.message),
            "details": problem.details,
            "request_id": request_id,
        }
    }
    response = web.Response(status=problem.status, body=to_json(body), content_type="application/json", headers=headers)
    response.headers["X-Request-Id"] = request_id
    response.headers.update(ALWAYS)
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(problem.retry_after)
    return response


def written_out(problem: Problem, request_id: str, *, close: bool) -> bytes:
    """The whole answer as bytes, for where there is no request of aiohttp's to answer. `close`: it is the connection's last."""
    response = answer(problem, request_id)
    body = response.body
    assert isinstance(body, bytes)
    head = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}", *(f"{k}: {v}" for k, v in response.headers.items())]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", *(["Connection: close"] if close else []), "", ""]).encode() + body


def field_problem(field: str, sentence: str, code: str = "field_invalid") -> Problem:
    """422 for one field; `sentence` goes on after the field's name."""
    return Problem(422, code, f"{field} {sentence}", field=field)


def of_store(error: Exception) -> Problem | None:
    """The answer to what the store refuses; None for an error that is nobody's refusal."""
    match error:
        case NotFound():
            return Problem(404, "not_found", f"{error}; look at the list for what there is")
        case Conflict():
            return Problem(409, error.code, str(error))
        case IdempotencyConflict():
            return Problem(
                409,
                "idempotency_key_reused",
                "this Idempotency-Key was used for another body: repeat that body, or send this one with a new key",
            )
        case AlreadyRunning():
            return Problem(
                409,
                "recovery_running",
                f"recovery {error.recovery} is running already: read it at /api/recoveries/{error.recovery}",
                recovery=error.recovery,
            )
        case QueueLimit():
            return Problem(503, "queue_full", f"{error}: try again later with the same Idempotency-Key", retry_after=30)
        case QueueFull():
            return Problem(503, "overloaded", "more requests wait to be written down than the disk can follow: try again", retry_after=1)
        case Locked():
            return Problem(503, "database_locked", "another process holds the database; nothing was accepted: try again", retry_after=2)
        case Full():
            return disk_full()
        case Closed():
            return Problem(503, "stopping", f"the gateway is going down: {error}", retry_after=5)
    return None


def disk_full() -> Problem:
    """503: nothing is accepted that may not be kept."""
    return Problem(
        503, "disk_full", "the disk is almost full, so nothing is accepted: make room in the data directory, then try again", retry_after=60
    )


def broken_body() -> Problem:
    """400: the body ends or is cut up otherwise than its headers say."""
    return Problem(400, "body_broken", "the body is not what Content-Length or Transfer-Encoding say: let an HTTP library write both")


def internal() -> Problem:
    """500: a bug of ours."""
    return Problem(
        500, "internal", "something went wrong in the gateway; its log says more under this id: repeat with the same Idempotency-Key"
    )


def of_http(error: web.HTTPException, method: str) -> Problem:
    """aiohttp's own refusals (no such route, wrong method, body too large) in our shape."""
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return Problem(
                405, "method_not_allowed", f"{method} is not possible here; possible: {allowed}", allowed=sorted(error.allowed_methods)
            )
        case web.HTTPNotFound():
            return Problem(404, "no_such_path", "there is nothing at this path: /api/docs shows what there is")
        case web.HTTPRequestEntityTooLarge():
            return Problem(413, "body_too_large", "the body is too large: send fewer or shorter messages in one request")
        case web.HTTPExpectationFailed():
            return Problem(417, "expect_unknown", "of Expect only 100-continue is understood here: leave the header out")
    return Problem(error.status, TYPES.get(error.status, "invalid_request"), error.reason)


def of_validation(error: ValidationError) -> Problem:
    """422 with the first wrong field, and all of them (20 at most) in the details."""
    found = error.errors(include_url=False, include_input=False)
    problems = [{"field": _path(e["loc"]), "message": sentence(e)} for e in found[:20]]
    first = problems[0]
    code = str(found[0].get("ctx", {}).get("code") or "field_invalid") if found[0]["type"] not in _CODES else _CODES[found[0]["type"]]
    details: dict[str, Any] = {"field": first["field"]}
    if len(problems) > 1:
        details["problems"] = problems
    return Problem(422, code, f"{first['field']} {first['message']}", **details)


_CODES = {
    "extra_forbidden": "field_unknown",
    "missing": "field_missing",
    "not_yet": "not_supported_yet",
    "control_character": "control_character",
}


def _path(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(part) if isinstance(part, int) else name_of_field(part) for part in loc) or "body"


def name_of_field(name: str) -> str:
    """The caller's name of a field, if it looks like one."""
    return name if _FIELD.fullmatch(name) else "(a name that is none)"


#: pydantic's type of error → how the sentence goes on after the field's name; never with the caller's input in it.
_SENTENCES = {
    "missing": "is missing",
    "extra_forbidden": "is not known here: see /api/docs for the fields there are",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "list_type": "must be a list",
    "finite_number": "must be a finite number",
    "string_unicode": "must be valid Unicode text",
}


def sentence(error: Mapping[str, Any]) -> str:
    """How the sentence about one of pydantic's errors goes on after the field's name."""
    kind, ctx = str(error["type"]), error.get("ctx", {})
    if kind in _SENTENCES:
        return _SENTENCES[kind]
    match kind:
        case "string_too_short":
            return "is empty" if ctx["min_length"] == 1 else f"must have at least {ctx['min_length']} characters"
        case "string_too_long":
            return f"is longer than {ctx['max_length']} characters"
        case "too_short":
            return f"must hold at least {ctx['min_length']}"
        case "too_long":
            return f"holds more than {ctx['max_length']}"
        case "greater_than_equal":
            return f"must be at least {ctx['ge']:g}"
        case "greater_than":
            return f"must be more than {ctx['gt']:g}"
        case "less_than_equal":
            return f"must be at most {ctx['le']:g}"
        case "literal_error" | "enum":
            return f"must be {ctx['expected']}"
    # pydantic's own words name a type, never the input, for all that is left; ours come as value errors
    return str(error["msg"]).removeprefix("Value error, ")
