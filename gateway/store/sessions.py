"""Sessions: who is linked, where a session stands, and the epoch that fences off hosts thought dead."""

# ruff: noqa: S608 (what is put into SQL here are constants of this module, never a value)

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Literal

import structlog

from gateway.pauses import doubling
from gateway.session import State, allowed
from gateway.store import clock, counters, events, holds
from gateway.store.errors import Fenced as Fenced
from gateway.store.errors import NotFound

log = structlog.get_logger()

#: WhatsApp restricts and does not say for how long: seconds until one message tries it out; they double each time, up to the second.
RESTRICTION_GUESS, RESTRICTION_MOST = 60.0, 3600.0
#: Seconds between two checks beyond which the time between them counts as unknown, not as healthy.
CHECK_GAP = 90.0


@dataclass(frozen=True, slots=True)
class Fence:
    """What a host holds: it may write for the session as long as the epoch is this."""

    session: str
    epoch: int


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session. Times are wall-clock seconds; `account` is who is linked now, `last_account` who was last."""

    name: str
    created: float
    desired: Literal["started", "stopped"]
    paused: bool
    state: State
    state_since: float
    detail: str | None
    epoch: int
    account: str | None
    account_lid: str | None
    device: str | None
    last_account: str | None
    incarnation: str | None
    generation: str | None
    restricted_until: float | None
    restricted_everything: bool
    last_accepted: float  #: the last stamp written for it, of whatever kind (clock.py); at first only acceptance moved it
    last_sent_at: float | None
    last_health_at: float | None
    healthy: bool | None
    complaints: list[str]
    restrictions: int  #: in a row; above 0 and past `restricted_until`, one message to a new chat tries whether it has ended
    first_account: str | None
    queue_sorted_for: str | None
    queue_sorted_to: str | None

    @property
    def sorted(self) -> bool:
        """Whether the queue is sorted for the account that is linked: only then may anything be claimed."""
        return self.account is not None and self.account == self.queue_sorted_for

    def ahead(self, now: float) -> bool:
        """Whether a stamp of the session lies in the future: the clock was ahead, and is right again."""
        stamps = (self.last_accepted, self.state_since, self.last_sent_at, self.last_health_at)
        return any(clock.ahead(at, now) for at in stamps) or (self.restricted_until or 0.0) > now + RESTRICTION_MOST + clock.STEP


def ensure(conn: sqlite3.Connection, *, name: str, now: float) -> bool:
    """Create the session if there is none of that name. Returns whether it is new."""
    cursor = conn.execute("INSERT INTO session(name, created, state_since) VALUES (?, ?, ?) ON CONFLICT(name) DO NOTHING", (name, now, now))
    return cursor.rowcount == 1


def attach_host(conn: sqlite3.Connection, *, name: str, now: float) -> Fence:
    """A host starts, under its slot's flock: raise the epoch, so that its predecessors can change nothing any more."""
    ensure(conn, name=name, now=now)
    now = clock.now(conn, name, now)
    row = conn.execute("UPDATE session SET epoch = epoch + 1 WHERE name = ? RETURNING epoch", (name,)).fetchone()
    events.append(conn, kind="session.host", session=name, data={"epoch": row["epoch"]}, now=now)
    return Fence(name, row["epoch"])


def check(conn: sqlite3.Connection, fence: Fence, now: float = 0.0) -> float:
    """First line of every write of a host. Returns the stamp for what happens now, by the wall clock (clock.py). Raises Fenced."""
    row = conn.execute("SELECT epoch, max(last_accepted, ?) FROM session WHERE name = ?", (now, fence.session)).fetchone()
    if row is None or row[0] != fence.epoch:
        raise Fenced(f"epoch {fence.epoch} of session {fence.session} is over: {row[0] if row else 'the session is gone'}")
    return float(row[1])


def get(conn: sqlite3.Connection, name: str) -> SessionRow | None:
    """One session."""
    row = conn.execute("SELECT * FROM session WHERE name = ?", (name,)).fetchone()
    return _session(row) if row else None


def all_(conn: sqlite3.Connection) -> list[SessionRow]:
    """All sessions by name."""
    return [_session(row) for row in conn.execute("SELECT * FROM session ORDER BY name")]


def set_state(conn: sqlite3.Connection, fence: Fence, *, state: State, now: float, detail: str | None = None) -> bool:
    """Move to `state`, guarded by the old one. Returns False if it is there already (the detail is renewed) or may not follow.

    What may not follow is counted and logged. Raises Fenced.
    """
    return _move(conn, fence.session, state, check(conn, fence, now), detail)


def force_state(conn: sqlite3.Connection, *, name: str, state: State, now: float, detail: str | None = None) -> bool:
    """The same for the watchdog, which holds no fence: recovering, quarantined, stopped."""
    return _move(conn, name, state, clock.now(conn, name, now), detail)


def _move(conn: sqlite3.Connection, name: str, state: State, now: float, detail: str | None) -> bool:
    row = conn.execute("SELECT state FROM session WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise NotFound(f"there is no session {name}")
    old = State(row["state"])
    if old is state:
        conn.execute("UPDATE session SET detail = ? WHERE name = ?", (detail, name))
        return False
    if not allowed(old, state):
        counters.bump(conn, "session_transitions_refused_total", {"session": name, "from": old.value, "to": state.value})
        log.error("A session's change of state was refused: a fault of the gateway", session=name, old=old.value, refused=state.value)
        return False
    conn.execute(
        "UPDATE session SET state = ?, state_since = ?, detail = ? WHERE name = ? AND state = ?",
        (state.value, now, detail, name, old.value),
    )
    events.append(conn, kind=f"session.{state.value}", session=name, data={"from": old.value, "detail": detail}, now=now)
    return True


def linked(
    conn: sqlite3.Connection,
    fence: Fence,
    *,
    account: str,
    lid: str | None,
    device: str | None,
    incarnation: str,
    generation: str,
    now: float,
    limit: int = holds.BATCH,
) -> bool:
    """This account is logged in. Call it after each attach, before the first claim. Raises Fenced.

    Rows accepted before any login become its own; those of another account are held (`other_account`), its own held ones
    go free: `limit` rows here. Returns whether that were all; `holds.sort_queue` goes on with the others.
    """
    now = check(conn, fence, now)
    before = get(conn, fence.session)
    assert before is not None
    conn.execute(
        "UPDATE session SET account = ?, account_lid = ?, device = ?, last_account = ?, first_account = ifnull(first_account, ?), "
        "incarnation = ?, generation = ? WHERE name = ?",
        (account, lid, device, account, account, incarnation, generation, fence.session),
    )
    if before.queue_sorted_for != account:
        # a sorting under way ends here, also one for the account before: if that is linked again, half of its rows are held
        account_before = before.account or before.last_account
        to = before.queue_sorted_to if account_before == account else None
        conn.execute("UPDATE session SET queue_sorted_for = NULL, queue_sorted_to = ? WHERE name = ?", (to, fence.session))
    if before.account != account:
        conn.execute(
            "UPDATE session SET restricted_until = NULL, restricted_everything = 0, restrictions = 0 WHERE name = ?", (fence.session,)
        )
        events.append(conn, kind="session.linked", session=fence.session, data={"account": account, "lid": lid}, now=now)
    return holds.sort_queue(conn, session=fence.session, limit=limit, now=now)


def unlinked(conn: sqlite3.Connection, fence: Fence, *, now: float) -> None:
    """Nobody is logged in any more. What is accepted from now on is bound to the last account. Raises Fenced."""
    check(conn, fence)
    cursor = conn.execute(
        "UPDATE session SET account = NULL, account_lid = NULL, device = NULL WHERE name = ? AND account IS NOT NULL", (fence.session,)
    )
    if cursor.rowcount:
        events.append(conn, kind="session.unlinked", session=fence.session, now=clock.now(conn, fence.session, now))


def pause(conn: sqlite3.Connection, name: str, now: float) -> None:
    """Claim nothing until resumed. Raises NotFound."""
    _set(conn, name, "paused", 1, "session.paused", now)


def resume(conn: sqlite3.Connection, name: str, now: float) -> None:
    """The inverse. Raises NotFound."""
    _set(conn, name, "paused", 0, "session.resumed", now)


def set_desired(conn: sqlite3.Connection, name: str, desired: Literal["started", "stopped"], now: float) -> None:
    """What the operator wants of its processes. Raises NotFound."""
    _set(conn, name, "desired", desired, f"session.desired_{desired}", now)


def _set(conn: sqlite3.Connection, name: str, column: Literal["paused", "desired"], value: object, kind: str, now: float) -> None:
    cursor = conn.execute(f"UPDATE session SET {column} = ? WHERE name = ? AND {column} <> ?", (value, name, value))
    if cursor.rowcount:
        events.append(conn, kind=kind, session=name, now=clock.now(conn, name, now))
    elif get(conn, name) is None:
        raise NotFound(f"there is no session {name}")


def restrict(conn: sqlite3.Connection, fence: Fence, *, until: float | None, everything: bool, now: float) -> None:
    """WhatsApp limits the account: until then only chats with history are claimed, or none at all.

    `until` None: WhatsApp did not say; a minute is assumed, and twice as long each time that one message then finds it
    still on. `claims.sent_not` and `claims.nacked` call it by themselves. Raises Fenced.
    """
    stamp = check(conn, fence, now)
    row = get(conn, fence.session)
    assert row is not None
    # what was under way together is refused together, and counts once
    again = row.restricted_until is None or row.restricted_until <= now
    if until is None:
        guess = doubling(row.restrictions + 1, first=RESTRICTION_GUESS, largest=RESTRICTION_MOST)
        until = now + guess if again else row.restricted_until
    conn.execute(
        "UPDATE session SET restricted_until = max(ifnull(restricted_until, 0), ?), restrictions = restrictions + ?, "
        "restricted_everything = CASE WHEN restricted_until > ? THEN max(restricted_everything, ?) ELSE ? END WHERE name = ?",
        (until, int(again), now, int(everything), int(everything), fence.session),
    )
    counters.bump(conn, "restrictions_total", {"session": fence.session})
    events.append(conn, kind="session.restricted", session=fence.session, data={"until": until, "everything": everything}, now=stamp)


def longest_guess(row: SessionRow) -> float:
    """Seconds for which a restriction lasts at most where WhatsApp did not say, by how often in a row it was found."""
    return doubling(max(1, row.restrictions), first=RESTRICTION_GUESS, largest=RESTRICTION_MOST)


def restricted_no_more(conn: sqlite3.Connection, *, session: str, now: float) -> None:
    """WhatsApp took a message to a new chat: if a restriction was being tried out, it has ended."""
    cursor = conn.execute(
        "UPDATE session SET restricted_until = NULL, restricted_everything = 0, restrictions = 0 "
        "WHERE name = ? AND restrictions > 0 AND restricted_until <= ?",
        (session, now),
    )
    if cursor.rowcount:
        events.append(conn, kind="session.unrestricted", session=session, now=now)


def trying_out(conn: sqlite3.Connection, row: SessionRow, now: float) -> bool:
    """Whether one message is finding out if a restriction has ended: until its outcome no other new chat is claimed."""
    if not row.restrictions or row.restricted_until is None or row.restricted_until > now:
        return False
    query = (
        "SELECT EXISTS (SELECT 1 FROM outbox o JOIN recipient r ON r.id = o.recipient "
        "WHERE o.session = ? AND o.state IN (1, 2) AND r.history_at IS NULL AND NOT r.is_group)"
    )
    return bool(conn.execute(query, (row.name,)).fetchone()[0])


def record_health(conn: sqlite3.Connection, *, session: str, healthy: bool, complaints: list[str], now: float) -> bool:
    """The verdict of a full check, or of a change between two. Returns whether the verdict changed. Raises NotFound."""
    before = get(conn, session)
    if before is None:
        raise NotFound(f"there is no session {session}")
    now = max(now, before.last_accepted)
    conn.execute(
        "UPDATE session SET healthy = ?, complaints = ?, last_health_at = ? WHERE name = ?",
        (int(healthy), json.dumps(complaints), now, session),
    )
    if before.last_health_at is not None and 0 < now - before.last_health_at <= CHECK_GAP:
        counters.bump(conn, "session_seconds_total", {"session": session}, now - before.last_health_at)
        if before.healthy:
            counters.bump(conn, "session_healthy_seconds_total", {"session": session}, now - before.last_health_at)
    if before.healthy is not healthy:
        kind = "session.healthy" if healthy else "session.unhealthy"
        events.append(conn, kind=kind, session=session, data={"complaints": complaints}, now=now)
    return before.healthy is not healthy


def _session(row: sqlite3.Row) -> SessionRow:
    values = dict(row)
    for name in ("paused", "restricted_everything"):
        values[name] = bool(values[name])
    values["healthy"] = None if values["healthy"] is None else bool(values["healthy"])
    values["state"] = State(values["state"])
    values["complaints"] = json.loads(values["complaints"] or "[]")
    return SessionRow(**values)
