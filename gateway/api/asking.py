"""Asking the browser host or the watchdog for something: a command row, and the wait for its answer."""

from __future__ import annotations

import re
import sqlite3
from typing import Any

from gateway import beat
from gateway.api.context import Context, wall
from gateway.api.errors import Problem
from gateway.beat import SILENT
from gateway.store import commands, sessions
from gateway.store.commands import CommandRow, Target
from gateway.store.sessions import SessionRow

#: Seconds that a caller waits for the host's or the watchdog's answer.
PATIENCE = 15.0
#: Seconds for stop and restart: Chromium and its host each get the time that supervisord gives them.
LONG_PATIENCE = 35.0
#: Refusals that pass by themselves.
_PASSING = frozenset(
    {"page_unavailable", "no_qr", "not_ready", "no_library", "library_broken", "other_document", "deadline", "interrupted"}
)
#: Seconds after a command's deadline in which its answer may still come in.
GRACE = 0.5
#: An answer's error is a sentence, perhaps with a short word before it: `already_linked: The session is linked.`
_CODED = re.compile(r"([a-z][a-z_]+): (.+)", re.DOTALL)


async def session_row(context: Context, name: str) -> SessionRow:
    """The session. Raises Problem 404."""
    found = await context.read(lambda conn: sessions.get(conn, name))
    if found is None:
        raise Problem(404, "session_unknown", "there is no session of this name: GET /api/sessions lists those there are")
    return found


def must_be_heard(context: Context, process: str) -> None:
    """Refuse at once what nobody is there to carry out. Raises Problem 503."""
    found = beat.read(context.settings.beat(process))
    if found is None or found.age() > SILENT:
        raise Problem(
            503,
            "process_down",
            f"the process {process} gives no sign of life: see /api/health, and try again",
            retry_after=5,
            process=process,
        )


async def ask(
    context: Context,
    session: str,
    target: Target,
    kind: str,
    args: dict[str, Any] | None = None,
    *,
    desired: str | None = None,
    patience: float | None = None,
) -> Any:
    """The result of a command; `desired` (started, stopped) is written in the same transaction.

    `patience` is seconds, PATIENCE where it is None. Raises Problem 409, 503, 504.
    """
    seconds = PATIENCE if patience is None else patience
    process = f"browser-{session}" if target == "browser" else "watchdog"
    must_be_heard(context, process)

    def op(conn: sqlite3.Connection) -> int:
        now = wall()
        if desired is not None:
            sessions.set_desired(conn, session, "started" if desired == "started" else "stopped", now)
        return commands.ask(conn, session=session, target=target, kind=kind, args=args or {}, now=now, deadline=now + seconds)

    id = await context.write(op, process)
    row = await context.news.until(lambda conn: _answered(conn, id), seconds + GRACE)
    if row is None:
        raise Problem(
            504, "no_answer", f"{process} did not answer within {seconds:g} seconds: see /api/health, and try again", retry_after=5
        )
    if row.error is not None:
        raise _refused(row.error, process)
    return row.result


def _answered(conn: sqlite3.Connection, id: int) -> CommandRow | None:
    row = commands.get(conn, id)
    return row if row is not None and row.answered_at is not None else None


def _refused(error: str, process: str) -> Problem:
    if error == "deadline":
        return Problem(504, "no_answer", f"{process} came too late to it: see /api/health, and try again", retry_after=5)
    coded = _CODED.fullmatch(error)
    if coded is None:
        return Problem(409, "refused", error)
    if coded[1] in _PASSING:
        return Problem(503, coded[1], coded[2], retry_after=2)
    return Problem(409, coded[1], coded[2])
