"""What waits for a session's host, in one look: all that a host at rest asks the store."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from gateway.store import commands, reading, recipients, reconciling, sessions
from gateway.store.model import Unacked
from gateway.store.sessions import Fence, SessionRow


@dataclass(frozen=True, slots=True)
class Chores:
    """As the store says it at one moment; whether the page can do any of it is for the host to know."""

    session: SessionRow
    unacked: Unacked
    due: float | None  #: when a claim may find something (wall clock; reading.next_due)
    unresolved: bool  #: recipients are to be looked up now
    doubtful: bool  #: the page may be asked what became of messages
    asked: bool  #: commands wait


def look(conn: sqlite3.Connection, fence: Fence, *, now: float, new_chats: bool) -> Chores:
    """`now` by the wall clock; `new_chats` as for the claim. Raises Fenced."""
    sessions.check(conn, fence)
    name = fence.session
    session = sessions.get(conn, name)
    assert session is not None
    return Chores(
        session=session,
        unacked=reading.unacked(conn, session=name),
        due=reading.next_due(conn, session=name, now=now, new_chats=new_chats),
        unresolved=bool(recipients.unresolved(conn, session=name, now=now, limit=1)),
        doubtful=reconciling.doubtful(conn, session=name),
        asked=commands.asked(conn, target="browser", session=name),
    )
