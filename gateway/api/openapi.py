"""The OpenAPI 3.1 document, made from the table of operations and the models that check and write what goes over the wire."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from gateway import __version__
from gateway.api import answers
from gateway.api.operations import Operation

_REF = "#/components/schemas/{model}"

#: What each refusal means, wherever it may come.
REFUSALS = {
    400: "Malformed: no valid JSON, or no valid HTTP.",
    401: "No key, or an unknown one.",
    403: "The key lacks the scope; or no key is set, and the request did not come directly from this machine.",
    404: "Unknown.",
    409: "The state does not allow it; or the Idempotency-Key was used for another body.",
    413: "Too large.",
    415: "The body is not JSON.",
    422: "Valid JSON, but a field is wrong: `details.field` names it.",
    503: "Not now (queue full, disk full, database locked, no host): repeat after Retry-After seconds.",
}

TAGS = {
    "Messages": "Send, follow, take back.",
    "Queue": "What waits, why, and how to clear it.",
    "Sessions": "Link a phone, start, stop, pause.",
    "Recovery": "Heal a session by hand, and see what healed it.",
    "Health": "Probes, health, metrics.",
    "Events": "What happened, in order.",
}

_DESCRIPTION = """\
A self-hosted WhatsApp gateway that heals itself and loses nothing.

**Send a message**: `POST /api/messages` with `{"to": "+49 151 23456789", "text": "Hello"}`.
A 2xx answer means: committed and synced to disk. After a 5xx, or no answer at all, repeat with the same `Idempotency-Key`:
the repeat gets the same message. Without a key a repeat is a new message.

**All times** are RFC 3339 in UTC with milliseconds. **All errors** have one shape, with a sentence that says what to do.

Any call may also answer 405 (the path has other methods), 408 (head or body came too slowly), 414 and 431 (path or headers too
long), 417 (an `Expect` other than 100-continue), 500 (a bug of ours), 503 (too many connections, or large bodies, at once).
"""


def document(operations: Iterable[Operation], *, keyed: bool, root: str = "") -> dict[str, Any]:
    """The whole document. `keyed`: an API key is set, so calls ask for it. `root` is GATEWAY_ROOT_PATH."""
    operations = list(operations)
    schemas, references = _schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "WhatsApp gateway",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": root or "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "security": [{"bearer": []}, {"header": []}] if keyed else [],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "GATEWAY_API_KEY"},
                "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "GATEWAY_API_KEY"},
            },
        },
    }


_References = dict[tuple[Any, JsonSchemaMode], dict[str, Any]]  # by (model, mode)


def _schemas(operations: list[Operation]) -> tuple[dict[str, Any], _References]:
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(answers.Error, "serialization"): None}
    for operation in operations:
        if operation.body is not None:
            wanted[(operation.body, "validation")] = None
        for model in operation.answers.values():
            if not isinstance(model, tuple):
                wanted[(model, "serialization")] = None
    references, definitions = models_json_schema(list(wanted), ref_template=_REF)
    return definitions.get("$defs", {}), references


def _operation(operation: Operation, references: _References) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "responses": _responses(operation, references),
    }
    if operation.description:
        described["description"] = operation.description
    parameters = [
        {"name": p.name, "in": p.where, "required": p.where == "path", "description": p.description, "schema": p.schema}
        for p in operation.parameters
    ] + _query_parameters(operation.query)
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        required = any(field.is_required() for field in operation.body.model_fields.values())
        described["requestBody"] = {
            "required": required,
            "content": {"application/json": {"schema": references[(operation.body, "validation")]}},
        }
    if operation.open:
        described["security"] = []
    return described


def _responses(operation: Operation, references: _References) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, model in operation.answers.items():
        if isinstance(model, tuple):
            content: dict[str, Any] = {media: {} for media in model}
        else:
            content = {"application/json": {"schema": references[(model, "serialization")]}}
        responses[str(status)] = {"description": _reason(status), **({"content": content} if content else {})}
    error = {"application/json": {"schema": references[(answers.Error, "serialization")]}}
    common = () if operation.open else (401, 403)
    for status in sorted({*operation.refusals, *common, *((413, 415) if operation.method == "POST" else ())}):
        if str(status) not in responses:
            responses[str(status)] = {"description": REFUSALS[status], "content": error}
    return responses


def _reason(status: int) -> str:
    return {
        200: "Done.",
        201: "Created.",
        202: "Accepted: committed and synced.",
        204: "Nothing to say.",
        503: REFUSALS[503],
    }[status]


def _query_parameters(query: type[BaseModel] | None) -> list[dict[str, Any]]:
    if query is None:
        return []
    schema = query.model_json_schema(mode="validation", ref_template=_REF)
    required = schema.get("required", [])
    parameters = []
    for name, found in schema.get("properties", {}).items():
        shown = {k: v for k, v in found.items() if k not in ("title", "description")}
        choices = [c for c in shown.get("anyOf", []) if c.get("type") != "null"]
        if len(choices) == 1:  # an absent parameter is absent, not null
            shown = {**{k: v for k, v in shown.items() if k not in ("anyOf", "default")}, **choices[0]}
        parameters.append(
            {"name": name, "in": "query", "required": name in required, "description": found.get("description", ""), "schema": shown}
        )
    return parameters
