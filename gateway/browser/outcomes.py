"""What WhatsApp says of a message, written down; used by receiver and reconciler alike."""

from __future__ import annotations

import random
import sqlite3
import time

import structlog

from gateway.browser.translate import refusal_of
from gateway.message import ACKED, Reason, Restricted, State, backoff, error_of_nack
from gateway.pauses import doubling
from gateway.settings import Settings
from gateway.store import claims
from gateway.store.sessions import Fence

log = structlog.get_logger()

#: Seconds before a message to a chat with history is tried again after WhatsApp refused it to a restricted account: first, and at most.
RESTRICTED_DELAY, RESTRICTED_DELAY_MOST = 60.0, 3_600.0


def acked(conn: sqlite3.Connection, fence: Fence, *, hex: str, ack: int, at: float) -> str | None:
    """Write an ack ≥ 1. Returns the message's public id if it is the first: now it is sent."""
    row = claims.by_hex(conn, fence, hex)
    if row is None or not claims.acked(conn, fence, hex=hex, ack=ack, at=at, now=time.time()):
        return None
    return None if State(row["state"]) in ACKED else str(row["public"])


def nacked(
    conn: sqlite3.Connection, fence: Fence, settings: Settings, *, hex: str, code: int | None, why: str | None = None
) -> tuple[str, Reason | None] | None:
    """Write an ack −1; `why` is what the page says of it. Returns the message's public id and the refusal, if that says anything new."""
    row = claims.by_hex(conn, fence, hex)
    if row is None:
        return None
    refusal = refusal_of(why)
    error, now = error_of_nack(code, refusal), time.time()
    if isinstance(error, Restricted):
        delay = doubling(claims.ended(conn, row, "restricted") + 1, first=RESTRICTED_DELAY, largest=RESTRICTED_DELAY_MOST)
    else:
        delay = backoff(row["attempts"] + 1, first=settings.retry_delay, largest=settings.retry_max_delay, random=random.random())
    new = claims.nacked(conn, fence, hex=hex, error=error, due=now + delay, now=now, max_attempts=settings.max_attempts)
    return (str(row["public"]), refusal) if new else None


def refused(
    conn: sqlite3.Connection, fence: Fence, settings: Settings, *, hex: str, code: int | None, why: str | None
) -> tuple[str, Reason | None] | None:
    """Write what WhatsApp's code threw for a message that it had taken, and shows as failed or not at all.

    Any other words than those of a refusal prove nothing: then it stays as it is. Returns as `nacked` does.
    """
    return None if refusal_of(why) is None else nacked(conn, fence, settings, hex=hex, code=code, why=why)


def say_sent(session: str, messages: list[str]) -> None:
    """The line that people grep for, once for each message."""
    for message in messages:
        log.info("Message sent successfully", message=message, session=session)


def say_refused(session: str, message: str, code: int | None, refusal: Reason | None) -> None:
    log.warning("WhatsApp refused a message", message=message, session=session, nack=code, refusal=refusal)
