"""The short way of the one request that has to be fast: a single message that is simply accepted.

For each request aiohttp makes a task, a request, a route and a response, which together cost more
than checking a message and writing it down. So the connection shows a `POST /api/messages` that came
in one piece here first. Nothing is decided differently: the pieces are those of the usual way
(gate.py, messages.send_message), and whatever they would refuse, or answer with more than a plain
202, is declined and goes the usual way, untouched.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import structlog
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE, HttpVersion11, RawRequestMessage
from multidict import istr
from pydantic_core import to_json

from gateway.api import messages, schema
from gateway.api.auth import admit
from gateway.api.context import Context
from gateway.api.errors import ALWAYS, disk_full, internal, of_store, request_id_of, written_out
from gateway.api.operations import parsed
from gateway.store.intake import Outcome
from gateway.store.model import Accepted, Draft

log = structlog.get_logger()

#: Called once with the whole answer as bytes, or with None: then it has to go the usual way after all.
Answer = Callable[[bytes | None], None]

_JSON = frozenset({"application/json", "application/json; charset=utf-8", "application/json;charset=utf-8"})
#: Names that are looked up in each request: an istr is not lowered again each time.
_CONTENT_TYPE, _REQUEST_ID = istr("Content-Type"), istr("X-Request-Id")
_PREFER, _EXPECT, _CONTENT_ENCODING = istr("Prefer"), istr("Expect"), istr("Content-Encoding")
_HEAD = "".join(
    f"{line}\r\n"
    for line in (
        "HTTP/1.1 202 Accepted", "Content-Type: application/json", f"Server: {SERVER_SOFTWARE}", *(f"{k}: {v}" for k, v in ALWAYS.items())
    )
)  # fmt: skip


class Express:
    """One per API process."""

    def __init__(self, context: Context) -> None:
        self._context, self._root = context, context.settings.root_path
        self._paths = frozenset({"/api/messages", f"{self._root}/api/messages"})

    def take(self, head: RawRequestMessage, body: bytes, answer: Answer) -> bool:
        """Whether it goes this way. If so `answer` is called, later; if not, nothing has happened."""
        if head.method != "POST" or head.path not in self._paths or not _plain(head):
            return False
        headers, context = head.headers, self._context
        try:
            admit(head, context.keys, self._root)
            draft = messages.draft_of(parsed(body, schema.MessageIn), context)
            request = messages.single(context, draft, messages.idempotency_key(headers))
            context.intake.submit(request, partial(self._reply, draft, request_id_of(headers.get(_REQUEST_ID)), answer))
        except Exception:  # a refusal, or a bug: the usual way says it
            return False
        return True

    def _reply(self, draft: Draft, request_id: str, answer: Answer, outcome: Outcome | Exception | None) -> None:
        match outcome:
            case Accepted(repeated=True):
                answer(None)  # what became of it meanwhile has to be read
            case Accepted():
                answer(_accepted(outcome.ids[0], draft, request_id, self._root))
            case None:
                answer(written_out(disk_full(), request_id, close=False))
            case Exception():
                problem = of_store(outcome)
                if problem is None:
                    log.error("A request failed", path="/api/messages", request_id=request_id, exc_info=outcome)
                answer(written_out(problem or internal(), request_id, close=False))


def _plain(head: RawRequestMessage) -> bool:
    if head.version != HttpVersion11 or head.should_close or head.upgrade or head.chunked:
        return False
    headers = head.headers
    if _PREFER in headers or _EXPECT in headers or _CONTENT_ENCODING in headers:  # these ask for more
        return False
    return headers.get(_CONTENT_TYPE, "").lower() in _JSON


def _accepted(id: str, draft: Draft, request_id: str, root: str) -> bytes:
    body = to_json(messages.fresh(id, draft))
    date, location = rfc822_formatted_time(), f"{root}/api/messages/{id}"
    rest = f"Date: {date}\r\nLocation: {location}\r\nX-Request-Id: {request_id}\r\nContent-Length: {len(body)}"
    return f"{_HEAD}{rest}\r\n\r\n".encode() + body
