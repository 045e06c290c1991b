"""The application: every route, and the gate that each request passes."""

from __future__ import annotations

import structlog
from aiohttp import web

from gateway.api import bodies, events, health, messages, metrics, queue, recoveries, sessions
from gateway.api.auth import admit, challenge
from gateway.api.context import CONTEXT, Context
from gateway.api.docs import add_docs
from gateway.api.errors import ALWAYS, Problem, answer, internal, of_http, of_store, request_id_of
from gateway.api.openapi import document
from gateway.api.operations import BATCH_BODY_LIMIT, Handler, Operation, media_fault, raw_body

log = structlog.get_logger()

#: In the order of the docs page.
OPERATIONS: list[Operation] = [
    *messages.operations.all,
    *queue.operations.all,
    *sessions.operations.all,
    *recoveries.operations.all,
    *health.operations.all,
    *metrics.operations.all,
    *events.operations.all,
]


def make_app(context: Context) -> web.Application:
    """The application around an open context."""
    app = web.Application(middlewares=[gate], client_max_size=BATCH_BODY_LIMIT)
    app[CONTEXT] = context
    root = context.settings.root_path
    for prefix in dict.fromkeys(("", root)):
        for operation in OPERATIONS:
            app.router.add_route(operation.method, prefix + operation.path, operation.handler)
            if operation.method == "GET":
                app.router.add_route("HEAD", prefix + operation.path, operation.handler)
    add_docs(app, document(OPERATIONS, keyed=context.keys.api is not None, root=root), root)
    return app


@web.middleware
async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever comes in passes here: key, media type; and every error leaves in the one shape."""
    request_id = request_id_of(request.headers.get("X-Request-Id"))
    root = request.app[CONTEXT].settings.root_path
    try:
        admit(request, request.app[CONTEXT].keys, root)
        if request.body_exists and media_fault(request) is not None:
            await raw_body(request, BATCH_BODY_LIMIT)  # also where the handler takes no body
        response = await handler(request)
    except Problem as problem:
        response = _refusal(request, problem, request_id)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        response = answer(of_http(error, request.method), request_id, allow, root=root)
    except Exception as error:
        response = _unforeseen(request, error, request_id)
    finally:
        bodies.release(request)
    response.headers["X-Request-Id"] = request_id
    response.headers.update(ALWAYS)
    if "Location" in response.headers:
        response.headers["Location"] = root + response.headers["Location"]
    return response


def _refusal(request: web.Request, problem: Problem, request_id: str) -> web.Response:
    root = request.app[CONTEXT].settings.root_path
    response = answer(problem, request_id, root=root)
    if problem.status == 401:
        response.headers["WWW-Authenticate"] = challenge(request, root)
    if problem.status in (408, 413) or problem.code in ("body_broken", "overloaded"):
        response.force_close()  # the rest of the body is not worth reading
    return response


def _unforeseen(request: web.Request, error: Exception, request_id: str) -> web.Response:
    problem = of_store(error)
    if problem is None:
        log.exception("A request failed", method=request.method, path=_route(request), request_id=request_id)
        problem = internal()
    return answer(problem, request_id, root=request.app[CONTEXT].settings.root_path)


def _route(request: web.Request) -> str:
    """The route's pattern: a path can hold a phone number."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "?"
