"""Recoveries: ask for one, see what became of it."""

from __future__ import annotations

import sqlite3

from aiohttp import web

from gateway.api import answers, schema
from gateway.api.asking import must_be_heard, session_row
from gateway.api.context import context_of, wall
from gateway.api.errors import Problem
from gateway.api.operations import Operations, Parameter, body, json_answer, query
from gateway.store import commands, recoveries
from gateway.store.recoveries import Recovery

operations = Operations("Recovery")

#: Seconds that the watchdog has to take the request up. It is under way from then on, however long it takes.
TAKE_UP = 30.0


def recovery_out(r: Recovery) -> answers.Recovery:
    """A recovery as it is shown."""
    return answers.Recovery(
        id=r.id,
        session=r.session,
        status=r.status,
        cause=r.cause,
        strategy=r.strategy,
        by=r.by,
        rungs=[answers.RungOut(name=rung.name, at=rung.at) for rung in r.rungs],
        detail=r.detail,
        started_at=r.started_at,
        ended_at=r.ended_at,
    )


@operations.post("/api/recover-session", body=schema.RecoverIn, answers={202: answers.Recovery}, refusals=(404, 409, 422, 503))
async def recover_session(request: web.Request) -> web.Response:
    """Recover a session

    An empty body is fine: the session `default`, and the recovery ladder decides from the evidence. Read the result at
    `/api/recoveries/{id}`. 409 if one is running.
    """
    context, asked = context_of(request), await body(request, schema.RecoverIn)
    row = await session_row(context, asked.session)
    if row.desired == "stopped":
        raise Problem(409, "session_stopped", f"the session is stopped, as its operator wants: POST /api/sessions/{row.name}/start first")
    must_be_heard(context, "watchdog")

    def op(conn: sqlite3.Connection) -> Recovery:
        now = wall()
        id = recoveries.open_(conn, session=row.name, cause="requested", strategy=asked.strategy, by="api", now=now)
        args = {"recovery": id, "strategy": asked.strategy}
        commands.ask(conn, session=row.name, target="watchdog", kind=commands.RECOVER, args=args, now=now, deadline=now + TAKE_UP)
        opened = recoveries.get(conn, id)
        assert opened is not None
        return opened

    opened = await context.write(op, "watchdog", "api")
    return json_answer(recovery_out(opened), 202, {"Location": f"/api/recoveries/{opened.id}"})


@operations.get("/api/recoveries", query=schema.RecoveriesQuery, answers={200: answers.Recoveries}, refusals=(422,))
async def list_recoveries(request: web.Request) -> web.Response:
    """List recoveries

    Newest first: cause, what was tried, how it ended.
    """
    context, asked = context_of(request), query(request, schema.RecoveriesQuery)
    found = await context.read(lambda conn: recoveries.list_(conn, session=asked.session, before=asked.before, limit=asked.limit + 1))
    more = len(found) > asked.limit
    shown = found[: asked.limit]
    return json_answer(answers.Recoveries(recoveries=[recovery_out(r) for r in shown], next=shown[-1].id if more else None))


@operations.get(
    "/api/recoveries/{id}",
    parameters=(Parameter("id", "path", "The recovery's id.", {"type": "integer"}),),
    answers={200: answers.Recovery},
    refusals=(404,),
)
async def get_recovery(request: web.Request) -> web.Response:
    """Show a recovery"""
    text = request.match_info["id"]
    number = int(text) if text.isdigit() and len(text) < 18 else 0
    found = await context_of(request).read(lambda conn: recoveries.get(conn, number))
    if found is None:
        raise Problem(404, "recovery_unknown", "there is no recovery of this id: GET /api/recoveries lists those there were")
    return json_answer(recovery_out(found))
