"""Health, honestly: from evidence that is at most 5 s old, never a constant, never only "the process is up"."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from aiohttp import web

from gateway import __version__
from gateway.api import answers, schema
from gateway.api.context import context_of
from gateway.api.evidence import processes, session_out
from gateway.api.operations import Operations, json_answer, query
from gateway.api.recoveries import recovery_out
from gateway.beat import boot_time
from gateway.message import State
from gateway.store import counters, recoveries, sessions
from gateway.store.recoveries import Recovery
from gateway.store.sessions import SessionRow
from gateway.vitals import recovering

operations = Operations("Health")


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the database knows of it, read in one snapshot."""

    sessions: list[SessionRow]
    queued: int
    sending: int
    running: list[Recovery]
    last: Recovery | None


def _stored(conn: sqlite3.Connection) -> _Stored:
    rows = sessions.all_(conn)

    def count(state: State) -> int:
        return sum(int(counters.value(conn, "messages", {"session": row.name, "state": state.word})) for row in rows)

    running = [r for row in rows if (r := recoveries.running(conn, row.name)) is not None]
    newest = recoveries.list_(conn, limit=1)
    return _Stored(rows, count(State.QUEUED), count(State.SENDING), running, newest[0] if newest else None)


@operations.get("/api/health", query=schema.NoQuery, answers={200: answers.Health, 503: answers.Health})
async def health(request: web.Request) -> web.Response:
    """Health of everything

    200 while messages can be accepted, even when WhatsApp is down: look at `session_health` for that.
    """
    query(request, schema.NoQuery)
    context = context_of(request)
    refusing = await context.refusing()
    stored = await context.read(_stored)
    shown = [session_out(row, context.settings) for row in stored.sessions]
    started = [s for s in shown if s.desired == "started"]
    healthy = bool(started) and all(s.healthy for s in started)
    checks = [row.last_health_at for row in stored.sessions if row.last_health_at is not None]
    answer = answers.Health(
        status="healthy" if healthy and refusing is None else "unhealthy",
        session_health=healthy,
        last_health_check=max(checks, default=None),
        message_queue_length=stored.queued,
        processing_queue=stored.sending > 0,
        restart_in_progress=bool(stored.running) or bool(recovering(context.settings)),
        accepting=refusing is None,
        not_accepting_because=refusing,
        recovery=answers.RecoveryState(
            running=[recovery_out(r) for r in stored.running],
            last=recovery_out(stored.last) if stored.last else None,
            attempts=stored.last.id if stored.last else 0,
        ),
        uptime_seconds=round(boot_time() - context.started_at, 3),
        version=__version__,
        sessions=shown,
        processes=processes(context.settings, [row.name for row in stored.sessions]),
    )
    headers = {"Cache-Control": "no-store"}
    if refusing is not None:
        headers["Retry-After"] = "5"
    return json_answer(answer, 200 if refusing is None else 503, headers)


@operations.get("/healthz", answers={200: answers.Plain}, open=True)
async def healthz(request: web.Request) -> web.Response:
    """Liveness

    The process answers. Needs no key.
    """
    return json_answer({"status": "ok"})


@operations.get("/readyz", query=schema.ReadyQuery, answers={200: answers.Plain, 503: answers.Plain}, open=True)
async def readyz(request: web.Request) -> web.Response:
    """Readiness

    Messages can be accepted durably; with `session`, that session is healthy too. Needs no key, and tells nothing but its status.
    """
    context, asked = context_of(request), query(request, schema.ReadyQuery)
    ready = await context.refusing() is None
    if ready and asked.session is not None:
        name = asked.session
        row = await context.read(lambda conn: sessions.get(conn, name))
        ready = row is not None and session_out(row, context.settings).healthy
    if ready:
        return json_answer({"status": "ok"})
    return json_answer({"status": "unavailable"}, 503, {"Retry-After": "5"})
