"""Reading a body that anybody may have written: bounded in bytes, time and number of values, and each field once."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from gateway.api.context import context_of
from gateway.api.errors import Problem, broken_body, name_of_field

#: Seconds that a client may take to send its body.
BODY_TIMEOUT = 30.0
#: Bytes of bodies, of all requests together, that did not come in one piece with their heads: beyond it, try again.
#: Eight batches of the largest kind at the same time; every connection with one of them would be gigabytes.
TOGETHER = 128 << 20
#: Values in one body: a batch of 1,000 with every field has 14,000. 16 MiB of `1,1,1…` made the server 540 MB larger for a second.
VALUES = 20_000
#: Bodies of fewer bytes than this need no counting: what is wrong with them costs milliseconds at most.
SMALL = 16 << 10
#: A whole JSON string, also one that does not end (each is passed once, so the time is linear).
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


async def read(request: web.Request, limit: int) -> bytes | bytearray:
    """The body as it comes. The bytes count as held until release(). Raises Problem: too large, too slow, too many at once, broken."""
    if request.content.is_eof():  # it came with the head: taken as it lies there, for a third of what a loop costs
        try:
            return request.content.read_nowait()
        except (RequestPayloadError, HttpProcessingError):
            raise broken_body() from None
    raw = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            while chunk := await request.content.readany():
                _hold(request, len(chunk))
                raw += chunk
                if len(raw) > limit:
                    break
    except TimeoutError:
        raise Problem(408, "body_too_slow", f"the body did not arrive within {BODY_TIMEOUT:g} seconds: send it again") from None
    except (RequestPayloadError, HttpProcessingError):
        raise broken_body() from None
    return raw


def _hold(request: web.Request, size: int) -> None:
    context = context_of(request)
    if context.body_bytes + size > TOGETHER:
        raise Problem(503, "overloaded", "more large bodies come in at once than are taken: try again", retry_after=1)
    context.body_bytes += size
    context.bodies[id(request)] = context.bodies.get(id(request), 0) + size


def release(request: web.Request) -> None:
    """The request is answered: its body counts no longer."""
    context = context_of(request)
    if context.bodies:
        context.body_bytes -= context.bodies.pop(id(request), 0)


def countable(raw: bytes | bytearray) -> None:
    """Refuse more values than anybody means, before they cost memory. Raises Problem 413."""
    if len(raw) >= SMALL and _STRING.sub(b"", raw).count(b",") > VALUES:
        raise Problem(413, "too_many_values", f"the body holds more than {VALUES} values: send fewer messages in one request")


class _Twice(ValueError):
    pass


def _once(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for name, _ in pairs:
        if name in seen:
            raise _Twice(name)
        seen.add(name)


_ONCE = json.JSONDecoder(object_pairs_hook=_once)


def each_field_once(raw: bytes | bytearray, fields: int) -> None:
    """Refuse an object that names a field twice: which of them was meant? Raises Problem 422.

    `raw` is known to be valid, and `fields` is how many different ones its outermost object has.
    """
    if raw.count(b":") == fields:  # a field needs one, so there are no others, here or further in
        return
    try:
        _ONCE.decode(raw.decode())
    except _Twice as twice:
        field = name_of_field(str(twice))
        raise Problem(422, "field_twice", f"{field} is given twice in one object: give it once", field=field) from None
