"""What the API answers, as models: each answer is made from one, and the OpenAPI document shows the same ones."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from gateway.api.schema import StateWord
from gateway.times import rfc3339

#: A time that goes out: RFC 3339 outside, seconds inside.
Time = Annotated[
    float,
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]


class Answer(BaseModel):
    """What all answers have in common."""

    model_config = ConfigDict(frozen=True)


class ErrorBody(Answer):
    """What went wrong."""

    type: str = Field(description="The kind of refusal.", examples=["invalid_request"])
    code: str = Field(description="Finer than the type, and stable.", examples=["recipient_invalid"])
    message: str = Field(description="A sentence that says what to do.")
    details: dict[str, Any] = Field(description="`field` where one field is to blame.")
    request_id: str = Field(description="Also in the header X-Request-Id and in the log.")


class Error(Answer):
    """The one shape of every error."""

    error: ErrorBody


class RecipientOut(Answer):
    """Who gets it."""

    address: str = Field(description="What `to` came to.", examples=["4915123456789@c.us"])
    wa_id: str | None = Field(description="Who that is on WhatsApp; null until it has been looked up.")


class Accepted(Answer):
    """An accepted message: written down and synced before this answer."""

    id: str = Field(examples=["msg_4f8a1c0de2b94a7cb1d0e6f2"])
    status: StateWord = Field(description="`queued`, unless it is the repeat of an earlier request or was waited for.")
    session: str
    recipient: RecipientOut
    repeated: bool = Field(False, description="The Idempotency-Key was used before: this is the message of then.")
    wa_id: str | None = Field(None, description="WhatsApp's id of the message, once it was handed over.")
    reason: str | None = Field(None, description="Why it is a dead letter, or waits.")


class BatchItem(Answer):
    """One message of a batch."""

    id: str
    status: StateWord


class BatchAccepted(Answer):
    """An accepted batch."""

    messages: list[BatchItem] = Field(description="In the order of the request.")
    count: int
    repeated: bool


class AttemptOut(Answer):
    """One hand-over to WhatsApp."""

    number: int
    outcome: str | None = Field(description="sent, not_sent, rejected, restricted, unconfirmed, lost; null while it is open.")
    code: str | None = Field(description="A short word for what went wrong.")
    error: str | None = Field(description="The text that came with it.")
    wa_id: str = Field(description="The WhatsApp id that it was handed over under.")
    claimed_at: Time
    placed_at: Time | None = Field(description="When the page confirmed that it has the message.")
    ended_at: Time | None


class TransitionOut(Answer):
    """One step of its history."""

    state: str
    at: Time


class Message(Answer):
    """A message."""

    id: str
    status: StateWord
    session: str
    recipient: RecipientOut
    type: str
    text: dict[str, Any] | None = Field(None, description="The content, for type text.")
    priority: int
    accepted_at: Time
    send_at: Time | None
    ttl: float | None
    expires_at: Time | None
    due_at: Time | None = Field(description="Queued: not before this time.")
    status_since: Time
    hold: str | None = Field(description="restored or other_account: see /api/queue/release.")
    reason: str | None = Field(description="Why it is a dead letter.")
    error: str | None = Field(description="The last error, as text.")
    wa_id: str | None = Field(description="WhatsApp's id of the last hand-over.")
    biz_opaque_callback_data: str | None
    attempts_counted: int = Field(description="Hand-overs proven not sent; at GATEWAY_MAX_ATTEMPTS it is a dead letter.")


class MessageDetail(Message):
    """A message with all that happened to it."""

    attempts: list[AttemptOut]
    transitions: list[TransitionOut]


class Messages(Answer):
    """A page of messages, newest first."""

    messages: list[Message]
    next: str | None = Field(description="`cursor` of the next page; null at the end.")


class Head(Answer):
    """The message that goes next, and why it waits."""

    id: str | None
    reason: str | None = Field(
        description="rate_limited, session_not_ready, retry_backoff, resolving, scheduled, paused, account_restricted, "
        "other_account, restored, in_flight."
    )
    until: Time | None = Field(description="When that ends, where known.")
    cap: str | None = Field(description="With rate_limited: the setting that holds it back, such as max_per_day, where known.")


class QueueStatus(Answer):
    """The queue."""

    session: str | None = Field(description="Whose queue; null: all together.")
    message_queue_length: int = Field(description="All in state queued: waiting, in back-off, scheduled and held.")
    processing_queue: bool = Field(description="A hand-over is under way.")
    counts: dict[str, int] = Field(description="Messages by state.")
    held: dict[str, int] = Field(description="Of the queued ones: held, by what holds them.")
    in_flight: int
    unconfirmed: int
    oldest_age_seconds: float | None
    head_of_line: Head
    last_sent_at: Time | None
    rate_per_second: float = Field(description="Sent per second over the last five minutes.")
    estimated_drain_seconds: float | None = Field(description="Until the queue is empty at that rate; null if unknown.")


class Cleared(Answer):
    """What clear-queue did."""

    cancelled: int = Field(description="How many (with dry_run: would be).")
    outcome_unknown: int = Field(description="Left alone, because they may have been sent.")
    dry_run: bool


class Released(Answer):
    """What a release did."""

    released: int = Field(description="Let go (with dry_run: would be).")
    asked: int = Field(description="WhatsApp is asked for these first, one by one; what is not found stays held.")
    held: int = Field(description="Still held.")
    dry_run: bool
    note: str | None = Field(None, description="What you should know before you go on.")


class SessionOut(Answer):
    """A session."""

    name: str
    state: str = Field(
        description="stopped, starting, awaiting_scan, awaiting_passkey, syncing, ready, degraded, recovering, quarantined, logged_out."
    )
    since: Time
    desired: Literal["started", "stopped"] = Field(description="What the operator wants.")
    paused: bool
    healthy: bool = Field(description="By evidence that is at most 5 s old.")
    complaints: list[str] = Field(description="Why it is not healthy, one sentence each.")
    remarks: list[str] = Field(description="What its operator should know although it is healthy, one sentence each.")
    account: str | None = Field(description="The number that is linked.")
    restricted_until: Time | None = Field(description="WhatsApp limits the account until then.")
    last_sent_at: Time | None
    detail: str | None


class Sessions(Answer):
    """All sessions."""

    sessions: list[SessionOut]


class Done(Answer):
    """It was done, or is being done."""

    session: str
    status: str = Field(examples=["starting"])


class PairingCode(Answer):
    """Type this on the phone: WhatsApp, Linked devices, Link with phone number."""

    session: str
    code: str = Field(examples=["ABCD-EFGH"])
    expires_at: Time = Field(description="Until then a request for the same phone gets the same code.")


class Contact(Answer):
    """Whether a number is on WhatsApp."""

    address: str
    on_whatsapp: bool
    wa_id: str | None
    lid: str | None


class RungOut(Answer):
    """A rung of the recovery ladder."""

    name: str
    at: Time


class Recovery(Answer):
    """A recovery."""

    id: int
    session: str
    status: Literal["running", "succeeded", "failed", "interrupted"]
    cause: str
    strategy: str | None = Field(description="The rung it was asked to begin with.")
    by: str = Field(description="watchdog or api.")
    rungs: list[RungOut] = Field(description="What was tried, in order.")
    detail: str | None
    started_at: Time
    ended_at: Time | None


class Recoveries(Answer):
    """A page of recoveries, newest first."""

    recoveries: list[Recovery]
    next: int | None = Field(description="`before` of the next page; null at the end.")


class RecoveryState(Answer):
    """Recoveries in short."""

    running: list[Recovery]
    last: Recovery | None
    attempts: int = Field(description="Recoveries begun, ever.")


class ProcessOut(Answer):
    """A process of the gateway."""

    name: str
    state: Literal["running", "silent", "gone", "unknown"] = Field(
        description="running: a beat not older than 5 s; silent: an older one; gone: its process has ended; "
        "unknown: it never gave a sign of life."
    )
    pid: int | None
    beat_age_seconds: float | None
    memory_bytes: int | None
    uptime_seconds: float | None


class Health(Answer):
    """The gateway's health. 200 while it can accept messages, even when WhatsApp is down."""

    status: Literal["healthy", "unhealthy"] = Field(description="healthy: messages are accepted, and every started session is healthy.")
    session_health: bool = Field(description="All started sessions are healthy, by evidence that is at most 5 s old.")
    last_health_check: Time | None = Field(description="When the watchdog judged last.")
    message_queue_length: int = Field(description="All in state queued: waiting, in back-off, scheduled and held.")
    processing_queue: bool = Field(description="A hand-over is under way.")
    restart_in_progress: bool = Field(description="A recovery is open.")
    accepting: bool = Field(description="Messages are accepted now.")
    not_accepting_because: str | None = None
    recovery: RecoveryState
    uptime_seconds: float = Field(description="Of the API process.")
    version: str
    sessions: list[SessionOut]
    processes: list[ProcessOut]


class EventOut(Answer):
    """Something that happened."""

    id: int = Field(description="The cursor.")
    at: Time
    type: str = Field(description="noun.verb: message.sent, session.ready, recovery.succeeded.")
    session: str | None
    message: str | None
    data: dict[str, Any]


class Events(Answer):
    """A page of the event log, oldest first."""

    events: list[EventOut]
    cursor: int = Field(description="`after` of the next call.")
    missed: bool = Field(description="Older events than the first of these were dropped by retention since `after`.")


class Plain(Answer):
    """A probe's answer."""

    status: Literal["ok", "unavailable"]
