"""The table of operations: each is declared once, and both the router and the OpenAPI document are made from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json

from gateway.api import bodies
from gateway.api.errors import Problem, of_validation
from gateway.api.json_fault import json_problem, without_mark

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BodyT = TypeVar("BodyT", bound=BaseModel)
QueryT = TypeVar("QueryT", bound=BaseModel)

#: Bytes of a body, and of a batch's: a text at its limit fits four times over, whatever its characters.
BODY_LIMIT = 1 << 20
BATCH_BODY_LIMIT = 16 << 20
#: Names of UTF-8, or of a part of it, in a Content-Type; and those of others that a sentence may name.
_UTF_8 = frozenset({"utf-8", "utf8", "utf-8-sig", "us-ascii", "ascii"})
_OTHER_CHARSETS = frozenset(
    {
        "iso-8859-1",
        "iso-8859-15",
        "latin-1",
        "latin1",
        "windows-1251",
        "windows-1252",
        "cp1252",
        "gbk",
        "gb2312",
        "big5",
        "shift-jis",
        "euc-kr",
    }
    | {f"utf-{bits}{end}" for bits in (7, 16, 32) for end in ("", "le", "be", "-le", "-be")}
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A header or a part of the path, for the document."""

    name: str
    where: str  #: header or path
    description: str
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path. `answers` maps a status to its model, or to a media type for what is no JSON."""

    method: str
    path: str
    handler: Handler
    tag: str
    summary: str
    description: str
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    answers: dict[int, type[BaseModel] | tuple[str, ...]]
    parameters: tuple[Parameter, ...]
    refusals: tuple[int, ...]
    open: bool  #: needs no key

    @property
    def id(self) -> str:
        """operationId: the handler's name."""
        return getattr(self.handler, "__name__", self.path)


class Operations:
    """Operations of one module, declared by decorator: `@operations.post("/api/messages", …)`."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.all: list[Operation] = []

    def add(
        self,
        method: str,
        path: str,
        *,
        answers: dict[int, type[BaseModel] | tuple[str, ...]],
        body: type[BaseModel] | None = None,
        query: type[BaseModel] | None = None,
        parameters: tuple[Parameter, ...] = (),
        refusals: tuple[int, ...] = (),
        open: bool = False,
    ) -> Callable[[Handler], Handler]:
        """Declare the handler; its docstring's first line is the summary, the rest the description."""

        def declare(handler: Handler) -> Handler:
            summary, _, rest = (handler.__doc__ or "").strip().partition("\n")
            description = "\n".join(line.strip() for line in rest.strip().splitlines())
            self.all.append(
                Operation(method, path, handler, self.tag, summary, description, body, query, answers, parameters, refusals, open)
            )
            return handler

        return declare

    def get(self, path: str, **rest: Any) -> Callable[[Handler], Handler]:
        return self.add("GET", path, **rest)

    def post(self, path: str, **rest: Any) -> Callable[[Handler], Handler]:
        return self.add("POST", path, **rest)

    def delete(self, path: str, **rest: Any) -> Callable[[Handler], Handler]:
        return self.add("DELETE", path, **rest)


async def raw_body(request: web.Request, limit: int = BODY_LIMIT) -> bytes | bytearray:
    """The body, empty if there is none. Raises Problem: too large, too slow, or no JSON by its own word."""
    if not request.body_exists:
        return b""
    fault, length = media_fault(request), request.content_length
    if fault is not None and length:  # said before the size: it is what has to be mended first
        raise fault
    if length is not None and length > limit:
        raise _too_large(limit)
    if "Content-Encoding" in request.headers:
        raise Problem(415, "compressed", "a compressed body is not read here: send it without Content-Encoding")
    raw = await bodies.read(request, limit)
    if raw and fault is not None:
        raise fault
    if len(raw) > limit:
        raise _too_large(limit)
    return raw


def _too_large(limit: int) -> Problem:
    return Problem(
        413,
        "body_too_large",
        f"the body is larger than {limit} bytes: send fewer or shorter messages in one request, and UTF-8 instead of \\u escapes",
    )


def media_fault(request: web.Request) -> Problem | None:
    """415 where the Content-Type says that the body is no JSON in UTF-8; None where it says that it is."""
    send = "send it with `Content-Type: application/json`"
    if request.content_type == "application/json":
        charset = (request.charset or "utf-8").lower().replace("_", "-")
        if charset in _UTF_8:
            return None
        named = charset if charset in _OTHER_CHARSETS else "another charset"
        return Problem(
            415, "charset_not_utf8", f"the body is {named} by its Content-Type, and JSON is read as UTF-8: encode it so, and {send}"
        )
    if not request.headers.get("Content-Type", "").strip():
        return Problem(415, "not_json", f"the request has a body and no Content-Type: write the body as JSON and {send}")
    if request.content_type == "application/x-www-form-urlencoded":
        return Problem(415, "not_json", f"the body must be JSON, and it came as a form, as curl's -d sends it by itself: {send}")
    return Problem(415, "not_json", f"the body must be JSON: {send}")


async def body(request: web.Request, model: type[BodyT], limit: int = BODY_LIMIT) -> BodyT:
    """The body, validated; a missing one counts as {}. Raises Problem."""
    return parsed(await raw_body(request, limit), model)


def parsed(raw: bytes | bytearray, model: type[BodyT]) -> BodyT:
    """What a body says, validated; an empty one counts as {}. Raises Problem."""
    raw = without_mark(raw)
    bodies.countable(raw)
    try:
        found: BodyT = model.__pydantic_validator__.validate_json(raw or b"{}")
    except ValidationError as error:
        if error.error_count() == 1 and (only := error.errors(include_url=False, include_input=False)[0])["type"] == "json_invalid":
            raise json_problem(raw, only["ctx"]["error"]) from None
        raise of_validation(error) from None
    if raw:
        bodies.each_field_once(raw, len(found.model_fields_set))
    return found


async def no_body(request: web.Request) -> None:
    """For operations that take no body: nothing, or an empty object. Raises Problem."""
    raw = without_mark(await raw_body(request))
    if not raw.strip():
        return
    bodies.countable(raw)
    try:
        given = from_json(raw)
    except ValueError as error:
        raise json_problem(raw, str(error)) from None
    if given not in ({}, None):
        raise Problem(422, "field_unknown", "this call takes no body: leave it out")


def query(request: web.Request, model: type[QueryT]) -> QueryT:
    """The query string, validated. Raises Problem."""
    given = request.query
    for name in given:
        if len(given.getall(name)) > 1:
            raise Problem(422, "field_invalid", f"{name} is given more than once in the query", field=name)
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        raise of_validation(error) from None


def json_answer(model: BaseModel | dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A model as a JSON response."""
    raw = model.__pydantic_serializer__.to_json(model) if isinstance(model, BaseModel) else to_json(model)
    return web.Response(body=raw, status=status, content_type="application/json", headers=headers)
