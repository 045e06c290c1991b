"""The event log by long poll: for consumers without a public URL."""

from __future__ import annotations

import sqlite3

from aiohttp import web

from gateway.api import answers, schema
from gateway.api.context import context_of
from gateway.api.operations import Operations, json_answer, query
from gateway.store import events
from gateway.store.events import Event

operations = Operations("Events")


@operations.get("/api/events", query=schema.EventsQuery, answers={200: answers.Events}, refusals=(422,))
async def get_events(request: web.Request) -> web.Response:
    """What happened since

    Answers at once if there is something newer than `after`, else when something happens, or empty after `wait` seconds.
    Go on with `cursor`, and a reconnect loses nothing.
    """
    context, asked = context_of(request), query(request, schema.EventsQuery)
    kinds = [k.strip() for k in asked.kinds.split(",") if k.strip()] if asked.kinds else None
    after = asked.after if asked.after is not None else await context.read(events.last)
    # where the log ended before the look: the cursor passes over what `kinds` leaves out
    seen = after

    def op(conn: sqlite3.Connection) -> list[Event]:
        nonlocal seen
        end = max(after, events.last(conn))
        found = events.after(conn, after, asked.limit, kinds)
        seen = found[-1].id if len(found) == asked.limit else end
        return found

    found = await context.news.until(op, asked.wait)
    first = await context.read(events.first)
    shown = [answers.EventOut(id=e.id, at=e.at, type=e.kind, session=e.session, message=e.message, data=e.data) for e in found]
    return json_answer(answers.Events(events=shown, cursor=seen, missed=asked.after is not None and first > after + 1))
