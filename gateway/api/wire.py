"""The connections: what is no HTTP is answered in our shape too, and nobody holds a connection by being slow.

aiohttp answers broken HTTP in plain text, quotes in it what was sent, and logs that at level error; all three are replaced here.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import (
    BadHttpMethod,
    BadStatusLine,
    HttpProcessingError,
    InvalidHeader,
    InvalidURLError,
    LineTooLong,
    PayloadEncodingError,
)
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, RequestPayloadError, _ErrInfo
from aiohttp.web_request import BaseRequest

from gateway.api.bodies import SMALL
from gateway.api.context import CONTEXT
from gateway.api.errors import Problem, answer, broken_body, internal, new_request_id, of_http, written_out
from gateway.api.express import Express

log = structlog.get_logger()

#: Bytes of the request line, and of one header. They differ because aiohttp tells which of them was too long by the limit alone.
LINE_LIMIT, FIELD_LIMIT = 8190, 8192
#: Headers of one request.
HEADERS_LIMIT = 100
#: Bytes of a head that does not come in one piece.
HEAD_LIMIT = 64 << 10
#: Seconds from the first byte of a head to its last.
HEAD_TIMEOUT = 15.0
#: Seconds that an idle connection is kept: longer than reverse proxies keep their own end (docs/deploy.md has the list; the longest
#: that cannot be set is Google's load balancer with 600), so that we never close first, just as the next request comes.
IDLE_TIMEOUT = 620.0
#: Seconds that the rest of a body is read and thrown away after an early answer, so that the client gets to read the answer.
LINGER = 5.0
#: Connections at the same time; fewer where the process may open few files, of which the rest of it needs some.
CONNECTIONS, OTHER_FILES = 1000, 128
#: Connections beyond it that are told so, and for how many seconds they may listen; any more are closed without a word.
TURNED_AWAY, TURNING_AWAY = 64, 1.0

_Handle = Callable[[BaseRequest], Awaitable[web.StreamResponse]]


def of_wire(error: BaseException | None) -> Problem:
    """The answer to what is no HTTP. Never with what was sent in it."""
    match error:
        case LineTooLong() if error.args[1] == LINE_LIMIT:
            return Problem(414, "path_too_long", f"the path and its query are longer than {LINE_LIMIT} bytes: shorten them")
        case LineTooLong():
            return Problem(431, "header_too_long", f"a header is longer than {FIELD_LIMIT} bytes: shorten it, or leave it out")
        case BadHttpMethod() if "HTTPS" in error.message:
            return Problem(400, "https_on_http", "this port speaks HTTP, not HTTPS: ask with http://, or put a proxy with TLS in front")
        case BadHttpMethod() | BadStatusLine():
            return Problem(400, "http_invalid", "the first line is not HTTP/1.1: it reads like `POST /api/messages HTTP/1.1`")
        case InvalidURLError():
            return Problem(400, "path_invalid", "the path is not valid: write it as /api/…, with % before what is no letter or digit")
        case PayloadEncodingError():
            return broken_body()
        case InvalidHeader():
            return Problem(400, "header_invalid", "a header is not valid: names are letters, digits and -; values hold no controls")
        case HttpProcessingError() if "Too many headers" in error.message:
            return Problem(431, "too_many_headers", f"there are more than {HEADERS_LIMIT} headers: leave some out")
        case HttpProcessingError() if "Missing 'Host'" in error.message:
            return Problem(400, "host_missing", "the Host header is missing: every HTTP/1.1 request needs it")
        case HttpProcessingError() if "Duplicate" in error.message:
            return Problem(400, "header_twice", "Host, Content-Length or another header that may come once came twice: send it once")
    return Problem(
        400, "http_invalid", "the request is no valid HTTP/1.1 (its headers, its length or its chunks): let an HTTP library write it"
    )


def connections_limit() -> int:
    """How many connections this process takes."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS if files == resource.RLIM_INFINITY else max(16, min(CONNECTIONS, files - OTHER_FILES))


class Connection(RequestHandler):
    """One connection."""

    __slots__ = ("_body", "_doors", "_express", "_head_bytes", "_head_timer")

    def __init__(self, doors: Doors, **options: Any) -> None:
        super().__init__(doors, **options)
        self._doors = doors
        self._body: StreamReader = EMPTY_PAYLOAD  # of the request that came last
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._express = False  # the request at the front of _messages has gone the short way, and its answer is not there yet

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._doors.full:
            self._force_close = True  # whatever it sends is not looked at
            self._doors.turn_away(cast(asyncio.Transport, transport))
        else:
            super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head_complete()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        waiter, self._waiter = self._waiter, None  # aiohttp wakes its task for whatever comes; here the short way is tried before
        super().data_received(data)
        self._waiter = waiter
        if self._messages:
            self._came(*self._messages[-1])
        idle = waiter is not None and not waiter.done()
        if idle and data and not self._messages:  # it made no request: a part of a head
            self._part_of_head(len(data))
        elif self._head_timer is not None:
            self._head_complete()
        if idle and self._messages and not self._express:
            self._next()

    def _next(self) -> None:
        """Begin with the request at the front, while aiohttp's task sleeps."""
        message, body = self._messages[0]
        if not isinstance(message, _ErrInfo) and self._whole(body) and self._doors.express.take(message, body._buffer[0], self._answered):
            self._express = self._request_in_progress = True  # a stop waits for it
        elif self._waiter is not None:
            self._waiter.set_result(None)

    def _whole(self, body: StreamReader) -> bool:
        """Whether the body is there in one small piece, and nothing is stuck on either side."""
        if self._paused or self._buffer_paused or body is EMPTY_PAYLOAD:
            return False
        return body.is_eof() and body.exception() is None and len(body._buffer) == 1 and body.total_bytes < SMALL

    def _answered(self, answer: bytes | None) -> None:
        """The short way's answer; None: the request has to go the usual way after all."""
        self._express = self._request_in_progress = False
        self._next_keepalive_close_time = self._loop.time() + IDLE_TIMEOUT
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        if self.transport is None or self.transport.is_closing() or self._parser is None:
            return
        idle = self._waiter is not None and not self._waiter.done()
        if answer is not None:
            self._messages.popleft()
            self._parser.message_consumed()
            self.transport.write(answer)
            if self._messages and idle:
                self._next()
        elif self._waiter is not None and idle:
            self._waiter.set_result(None)
        if not idle:  # we were told to stop meanwhile
            self.transport.close()

    def _came(self, message: object, body: StreamReader) -> None:
        if not isinstance(message, _ErrInfo):
            self._body = body
        elif not self._body.is_eof():  # a body broke off: aiohttp leaves who reads it waiting for the rest
            self._body.set_exception(RequestPayloadError("broken"))
            self._body.feed_eof()

    def _process_keepalive(self) -> None:
        if self._express:  # its task sleeps, but the connection is not idle
            self._next_keepalive_close_time = self._loop.time() + IDLE_TIMEOUT
        super()._process_keepalive()

    def _part_of_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_LIMIT:
            self._refuse(Problem(431, "header_too_long", f"the headers are longer than {HEAD_LIMIT} bytes together: leave some out"))
        elif self._head_timer is None:
            late = Problem(408, "head_too_slow", f"the request's headers did not arrive within {HEAD_TIMEOUT:g} seconds: send it again")
            self._head_timer = self._loop.call_later(HEAD_TIMEOUT, self._refuse, late)

    def _head_complete(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, problem: Problem) -> None:
        self._head_complete()
        if self.transport is not None:
            self.transport.write(written_out(problem, new_request_id(), close=True))
        self.force_close()

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to what never reached the application, or escaped from it."""
        request_id = new_request_id()
        if status == HTTPStatus.BAD_REQUEST:
            problem = of_wire(exc)
            log.debug("A request was no HTTP", code=problem.code, request_id=request_id)
        else:
            problem = internal()
            log.error("A request failed outside of the application", exc_info=exc, request_id=request_id)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already: the connection can only be closed")
        response = answer(problem, request_id)
        response.force_close()
        return response


class Doors(web.Server):
    """The server: makes connections, and counts them. `handle` is the application's."""

    def __init__(self, handle: _Handle, express: Express, **options: Any) -> None:
        super().__init__(handle, **options)
        self.express = express
        self._limit = connections_limit()
        self._turned_away = 0

    def __call__(self) -> RequestHandler:
        return Connection(
            self,
            loop=self._loop,
            keepalive_timeout=IDLE_TIMEOUT,
            max_line_size=LINE_LIMIT,
            max_field_size=FIELD_LIMIT,
            max_headers=HEADERS_LIMIT,
            lingering_time=LINGER,
            auto_decompress=False,  # a compressed body is refused: a few bytes could be gigabytes
            **self._kwargs,
        )

    @property
    def full(self) -> bool:
        return len(self._connections) >= self._limit

    def turn_away(self, transport: asyncio.Transport) -> None:
        """Say that there are too many connections, and close this one."""
        if self._turned_away >= TURNED_AWAY:
            transport.abort()
            return
        self._turned_away += 1
        busy = f"{self._limit} connections are open already: use fewer, or close those that you do not use"
        transport.write(written_out(Problem(503, "too_many_connections", busy, retry_after=1), new_request_id(), close=True))
        if transport.can_write_eof():
            transport.write_eof()

        def close() -> None:
            self._turned_away -= 1
            transport.abort()

        # not at once: what the client still sends would reset the connection before it has read the answer
        self._loop.call_later(TURNING_AWAY, close)


class Runner(web.AppRunner):
    """aiohttp's runner with our doors."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return Doors(
            _in_shape(made.request_handler),
            Express(self.app[CONTEXT]),
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )


def _in_shape(handle: Any) -> _Handle:
    """aiohttp refuses an unknown Expect header before any middleware."""

    async def handle_in_shape(request: BaseRequest) -> web.StreamResponse:
        try:
            return cast(web.StreamResponse, await handle(request))
        except web.HTTPException as error:
            if error.status < HTTPStatus.BAD_REQUEST:
                raise
            return answer(of_http(error, request.method), new_request_id())

    return handle_in_shape
