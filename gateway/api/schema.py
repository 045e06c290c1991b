"""What callers may send: bodies and queries, as models. The OpenAPI document is made from these, so they are the one source.

Unknown fields are refused, so that a misspelt `prioriy` is not silently without effect.
"""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from gateway.api.spelling import marks

#: WhatsApp's own limit for the text of one message.
TEXT_LIMIT = 65_536
#: The Cloud API's limit for data that comes back unchanged.
CALLBACK_LIMIT = 512
BATCH_LIMIT = 1000
#: The types of the Cloud API that come later; `interactive` and `template` need Meta's own service.
LATER = frozenset({"image", "video", "audio", "document", "sticker", "location", "contacts", "reaction"})
METAS_OWN = frozenset({"interactive", "template"})
#: A century in seconds: farther than anybody schedules, and still a date that every language can show.
CENTURY = 3_155_760_000.0

#: Characters of a time that are looked at; no time has so many.
TIME_LIMIT = 64
#: A time of day, and the space between it and an offset at the end.
_LOST_PLUS = re.compile(r"([Tt ]\d\d(?::?\d\d){0,2}(?:[.,]\d+)?) (?=\d\d(?::?\d\d)?\s*$)")
#: Characters that no text needs and that devices show as nothing or as rubbish; tab, line and page breaks are text.
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")

SessionName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
StateWord = Literal["queued", "sending", "unconfirmed", "sent", "delivered", "read", "played", "failed", "cancelled", "expired"]
Strategy = Literal["nudge", "reload_page", "respawn_host", "relaunch_chromium", "respawn_both"]


def parse_time(value: Any) -> Any:
    """RFC 3339 with an offset → wall-clock seconds."""
    if not isinstance(value, str):
        raise PydanticCustomError("time", "must be a time as text, for instance 2030-01-31T08:00:00Z")
    try:
        moment = datetime.datetime.fromisoformat("".join(mark.character for mark in marks(value[:TIME_LIMIT])).strip().upper())
    except ValueError:
        raise PydanticCustomError("time", "must be an RFC 3339 time, for instance 2030-01-31T08:00:00Z") from None
    if moment.tzinfo is None:
        raise PydanticCustomError("time", "has no time zone: end it with Z, or with an offset as in +02:00")
    try:
        seconds = moment.timestamp()
    except OverflowError:
        seconds = -1.0
    if not 0 <= seconds <= 2 * CENTURY:
        raise PydanticCustomError("time", "lies too far away")
    return seconds


def parse_query_time(value: Any) -> Any:
    """A time from a query string, where + arrives as a space: one before the offset was a +."""
    if isinstance(value, str):
        value = _LOST_PLUS.sub(r"\1+", value[:TIME_LIMIT])
    try:
        return parse_time(value)
    except PydanticCustomError as error:
        raise PydanticCustomError("time", "{sentence}; in a query write + as %2B", {"sentence": error.message()}) from None


def no_control(value: str | None) -> str | None:
    """The text, if it holds no control characters. Raises PydanticCustomError."""
    if value is not None and (found := _CONTROL.search(value)) is not None:
        raise PydanticCustomError(
            "control_character", "holds a control character (U+{character}) at position {at}: leave it out",
            {"character": f"{ord(found[0]):04X}", "at": found.start()},
        )  # fmt: skip
    return value


#: A time that comes in: seconds inside, RFC 3339 outside.
TimeIn = Annotated[float, BeforeValidator(parse_time, json_schema_input_type=datetime.datetime)]
TimeInQuery = Annotated[float, BeforeValidator(parse_query_time, json_schema_input_type=datetime.datetime)]


class Body(BaseModel):
    """What all bodies have in common: nothing unknown, nothing converted behind the caller's back."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Query(BaseModel):
    """What all query strings have in common. Values arrive as text, so numbers are read from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Text(Body):
    """The text of a message."""

    body: str = Field(
        min_length=1, max_length=TEXT_LIMIT, description="The text, with WhatsApp's own marks (*bold*, _italic_) if you like."
    )
    preview_url: bool = Field(False, description="Let WhatsApp show a preview of the first link.")

    @model_validator(mode="after")
    def _not_blank(self) -> Self:
        if not self.body.strip():
            raise PydanticCustomError("blank", "holds nothing but white space")
        no_control(self.body)
        return self


def _text(value: Any) -> Any:
    return {"body": value} if isinstance(value, str) else value


class MessageIn(Body):
    """One message, as WhatsApp's Cloud API writes it, with a few fields of our own (session, priority, send_at, ttl)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"to": "+49 151 23456789", "text": "Your order is on its way."}],
        }
    )

    to: str = Field(
        max_length=100,
        description="E.164 with or without +, spaces, dashes, brackets; or …@c.us, …@s.whatsapp.net, …@g.us (a group), …@lid. "
        "National numbers only where GATEWAY_DEFAULT_REGION is set. Digits are never guessed.",
        examples=["+49 151 23456789"],
    )
    type: Literal["text"] = Field("text", description="Only text so far.")
    text: Annotated[Text, BeforeValidator(_text, json_schema_input_type=str | Text)] = Field(
        description="The text: a string, or the Cloud API's object."
    )
    messaging_product: Literal["whatsapp"] = Field("whatsapp", description="As clients of the Cloud API send it; may be left out.")
    recipient_type: Literal["individual", "group"] | None = Field(None, description="As clients of the Cloud API send it; may be left out.")
    session: SessionName = Field("default", description="The session that shall send it.")
    priority: int = Field(0, ge=0, le=9, description="9 goes first. Orders chats; inside one chat messages keep their order.")
    send_at: TimeIn | None = Field(None, description="Not before this time (RFC 3339).")
    ttl: float | None = Field(
        None,
        gt=0,
        le=CENTURY,
        description="Seconds that it may wait, from the later of acceptance and send_at; then it expires. Else GATEWAY_MESSAGE_TTL.",
    )
    biz_opaque_callback_data: Annotated[str | None, AfterValidator(no_control)] = Field(
        None, max_length=CALLBACK_LIMIT, description="Comes back unchanged with the message and its events."
    )

    @model_validator(mode="before")
    @classmethod
    def _known_type(cls, data: Any) -> Any:
        if isinstance(data, dict):
            if "messages" in data and "to" not in data:
                raise PydanticCustomError("batch", "is a batch: POST it to /api/messages/batch")
            kind = data.get("type", "text")
            if kind in METAS_OWN:
                raise PydanticCustomError("not_yet", "of type interactive and template need Meta's own service: send text")
            if kind in LATER:
                raise PydanticCustomError("not_yet", "of this type cannot be sent yet: only type text so far")
            if data.get("context") is not None:
                raise PydanticCustomError("not_yet", "with context (replies) cannot be sent yet: leave it out")
        return data


class BatchIn(Body):
    """Up to 1,000 messages, accepted all or none."""

    messages: list[MessageIn] = Field(min_length=1, max_length=BATCH_LIMIT, description="In the order in which they shall go out.")


class RequeueIn(Body):
    """How a dead letter goes back into the queue."""

    accept_duplicate: bool = Field(
        False, description="Send it even where nobody knows whether it went out before: the recipient may get it twice."
    )


class RecoverIn(Body):
    """What shall be recovered, and how."""

    session: SessionName = Field("default", description="The session.")
    strategy: Strategy | None = Field(None, description="The rung to begin with; without one the ladder decides from the evidence.")


class ClearIn(Body):
    """Which waiting messages shall be cancelled."""

    session: SessionName | None = Field(None, description="Only this session's; without it all sessions'.")
    states: list[Literal["waiting", "backoff", "scheduled", "held"]] | None = Field(
        None, min_length=1, description="Only these; without it all four."
    )
    dry_run: bool = Field(False, description="Count, and change nothing.")


class ReleaseIn(Body):
    """Which held messages shall be let go."""

    session: SessionName = Field("default", description="The session.")
    hold: Literal["restored", "other_account"] = Field(
        description="restored: held after a backup was restored; other_account: another number was linked."
    )
    accept_duplicate: bool = Field(False, description="restored: send also what WhatsApp cannot account for; it may arrive twice.")
    dry_run: bool = Field(False, description="Count, and change nothing.")


class SessionIn(Body):
    """A session to set up."""

    name: SessionName = Field("default", description="Lower-case letters, digits, - and _.")


class PairingIn(Body):
    """Link by a code typed on the phone instead of a QR code."""

    phone: str = Field(
        max_length=100,
        description="The number of the phone that shall be linked, in any spelling that `to` takes for a person.",
        examples=["+49 151 23456789"],
    )


class SessionQuery(Query):
    """Which session."""

    session: SessionName | None = Field(None, description="Only this session; without it all together.")


class QrQuery(Query):
    """How the QR code shall be drawn."""

    format: Literal["png", "svg", "text"] | None = Field(
        None, description="png (default), svg, or text for a terminal; else the Accept header decides."
    )


class MessagesQuery(Query):
    """Which messages, newest first."""

    state: StateWord | None = Field(None, description="Only messages in this state.")
    session: SessionName | None = Field(None, description="Only this session's.")
    recipient: str | None = Field(None, max_length=100, description="Only to this recipient, in any spelling that `to` takes.")
    since: TimeInQuery | None = Field(None, description="Accepted at or after this time (RFC 3339).")
    until: TimeInQuery | None = Field(None, description="Accepted before this time (RFC 3339).")
    cursor: str | None = Field(None, max_length=200, description="`next` of the page before.")
    limit: int = Field(50, ge=1, le=500, description="Messages a page.")


class RecoveriesQuery(Query):
    """Which recoveries, newest first."""

    session: SessionName | None = Field(None, description="Only this session's.")
    before: int | None = Field(None, ge=1, description="`next` of the page before.")
    limit: int = Field(50, ge=1, le=500, description="Recoveries a page.")


class EventsQuery(Query):
    """From where in the event log, and how long to wait for more."""

    after: int | None = Field(
        None, ge=0, description="The cursor read last: 0 from the oldest event kept; without it only what happens from now on."
    )
    kinds: str | None = Field(None, max_length=500, description="Only these kinds or families, comma separated: message,session.ready")
    wait: float = Field(25, ge=0, le=60, description="Seconds to wait while there is nothing new.")
    limit: int = Field(100, ge=1, le=1000, description="Events a page.")


class ReadyQuery(Query):
    """Readiness of what."""

    session: SessionName | None = Field(None, description="Also ask whether this session is healthy.")


class NoQuery(Query):
    """No query string is understood here."""
