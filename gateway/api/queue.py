"""The queue: what waits and why, clear it, let go what is held."""

from __future__ import annotations

import sqlite3
from functools import partial

from aiohttp import web

from gateway.api import answers, schema
from gateway.api.asking import session_row
from gateway.api.context import Context, context_of, wall
from gateway.api.evidence import uses_of, why_unhealthy
from gateway.api.operations import Operations, body, json_answer, query
from gateway.message import Reason, State
from gateway.store import outbox, sessions
from gateway.store.model import QueueStatus
from gateway.vitals import evidence_of

operations = Operations("Queue")

_COPY_NOTE = "If another copy of this gateway still runs, it sends the same messages too: no one can see that from here."


@operations.get("/api/queue-status", query=schema.SessionQuery, answers={200: answers.QueueStatus}, refusals=(404, 422))
async def queue_status(request: web.Request) -> web.Response:
    """What waits, and why

    Counts by state, the age of the oldest, why the first message waits, and when the queue should be empty.
    """
    context, asked = context_of(request), query(request, schema.SessionQuery)
    if asked.session is not None:
        await session_row(context, asked.session)

    def look(conn: sqlite3.Connection) -> tuple[QueueStatus, list[sessions.SessionRow]]:
        every = sessions.all_(conn)
        uses = {row.name: uses_of(context.settings, row.name) for row in every if asked.session in (None, row.name)}
        return outbox.queue_status(conn, now=wall(), session=asked.session, uses=uses), every

    status, rows = await context.read(look)
    reason = status.reason
    if reason == Reason.RATE_LIMITED:  # due, and not gone: either its turn has not come, or nobody is there who could send it
        concerned = [row for row in rows if asked.session in (None, row.name)]
        if all(evidence_of(context.settings, row.name) is None or why_unhealthy(row, context.settings) for row in concerned):
            reason = Reason.SESSION_NOT_READY.value
    return json_answer(_out(status, asked.session, reason))


def _out(status: QueueStatus, session: str | None, reason: str | None) -> answers.QueueStatus:
    return answers.QueueStatus(
        session=session,
        message_queue_length=status.counts.get(State.QUEUED.word, 0),
        processing_queue=status.in_flight > 0,
        counts=status.counts,
        held=status.held,
        in_flight=status.in_flight,
        unconfirmed=status.unconfirmed,
        oldest_age_seconds=None if status.oldest_age is None else round(status.oldest_age, 3),
        head_of_line=answers.Head(
            id=status.head, reason=reason, until=status.reason_until, cap=status.cap if reason == Reason.RATE_LIMITED else None
        ),
        last_sent_at=status.last_sent_at,
        rate_per_second=round(status.rate, 4),
        estimated_drain_seconds=None if status.drain is None else round(status.drain, 1),
    )


@operations.post("/api/clear-queue", body=schema.ClearIn, answers={200: answers.Cleared}, refusals=(404, 422))
async def clear_queue(request: web.Request) -> web.Response:
    """Cancel what waits

    Never touches a message in flight or of unknown outcome. Cancelled messages stay readable and can be requeued.
    """
    context, asked = context_of(request), await body(request, schema.ClearIn)
    if asked.session is not None:
        await session_row(context, asked.session)
    if asked.dry_run:
        would = await context.read(lambda conn: outbox.would_clear(conn, session=asked.session, states=asked.states, now=wall()))
        return json_answer(answers.Cleared(cancelled=would.cancelled, outcome_unknown=would.outcome_unknown, dry_run=True))
    done = await _clear(context, asked)
    return json_answer(answers.Cleared(cancelled=done.cancelled, outcome_unknown=done.outcome_unknown, dry_run=False))


async def _clear(context: Context, asked: schema.ClearIn) -> outbox.Cleared:
    """By batches, each a transaction of its own, so that others get the write lock in between."""
    now, done, after = wall(), outbox.Cleared(0, 0), None
    while True:
        clear = partial(outbox.clear, session=asked.session, states=asked.states, after=after, now=now)
        batch = await context.write(clear, "api")
        done = outbox.Cleared(done.cancelled + batch.cancelled, done.outcome_unknown + batch.outcome_unknown)
        if (after := batch.next) is None:
            return done


@operations.post("/api/queue/release", body=schema.ReleaseIn, answers={200: answers.Released}, refusals=(404, 422))
async def release_held(request: web.Request) -> web.Response:
    """Let go what is held

    `other_account`: what was accepted for the number linked before goes out by the one linked now. `restored`: WhatsApp is
    asked for each message by its id; what it has, is sent; the rest stays held unless you accept duplicates.
    """
    context, asked = context_of(request), await body(request, schema.ReleaseIn)
    await session_row(context, asked.session)
    if asked.dry_run:
        look = partial(outbox.would_release, session=asked.session, hold=asked.hold, accept_duplicate=asked.accept_duplicate)
        released = await context.read(look)
    else:
        released = await _release(context, asked)
    note = _COPY_NOTE if asked.hold == "restored" else None
    return json_answer(
        answers.Released(released=released.released, asked=released.asked, held=released.held, dry_run=asked.dry_run, note=note)
    )


async def _release(context: Context, asked: schema.ReleaseIn) -> outbox.Released:
    """By batches, like _clear. What is still to be held, as another number was linked a moment ago, is held first, and so let go too."""
    now, done, after = wall(), outbox.Released(0, 0, 0), 0
    while asked.hold == "other_account" and not await context.write(partial(outbox.sort_queue, session=asked.session, now=now)):
        pass
    while True:
        release = partial(
            outbox.release, session=asked.session, hold=asked.hold, accept_duplicate=asked.accept_duplicate, after=after, now=now
        )
        batch = await context.write(release, f"browser-{asked.session}", "api")
        done = outbox.Released(done.released + batch.released, done.asked + batch.asked, done.held + batch.held)
        if batch.next is None:
            return done
        after = batch.next
