"""What bodies are taken, and the sentence for each that is not."""

import datetime
import json

import pytest
from pydantic import ValidationError

from gateway.api.bodies import each_field_once
from gateway.api.errors import Problem, of_validation
from gateway.api.messages import fingerprint
from gateway.api.schema import BatchIn, MessageIn, MessagesQuery, RecoverIn
from gateway.store.model import Draft

GOOD = {"to": "+4915123456789", "text": "Hello"}


def test_the_shortest_message() -> None:
    message = MessageIn.model_validate(GOOD)
    assert message.text.body == "Hello"
    assert (message.session, message.priority, message.type, message.text.preview_url) == ("default", 0, "text", False)


def test_the_cloud_apis_message_as_it_stands_in_its_docs() -> None:
    message = MessageIn.model_validate_json(
        json.dumps(
            {
                "messaging_product": "whatsapp",
                "recipient_type": "individual",
                "to": "+16505551234",
                "type": "text",
                "text": {"preview_url": True, "body": "As requested, here's the link"},
                "biz_opaque_callback_data": "order-4711",
            }
        )
    )
    assert message.text.preview_url and message.biz_opaque_callback_data == "order-4711"


@pytest.mark.parametrize("text", ["2030-01-31T08:00:00Z", "2030-01-31T09:00:00+01:00", "2030-01-31 08:00:00.000Z"])
def test_send_at_is_a_time_with_a_zone(text: str) -> None:
    assert MessageIn.model_validate({**GOOD, "send_at": text}).send_at == 1896076800.0


@pytest.mark.parametrize(
    ("change", "field", "code", "says"),
    [
        ({"to": None}, "to", "field_invalid", "must be a string"),
        ({"to": 4915123456789}, "to", "field_invalid", "must be a string"),
        ({"to": "1" * 101}, "to", "field_invalid", "longer than 100 characters"),
        ({"text": ""}, "text.body", "field_invalid", "is empty"),
        ({"text": " \n"}, "text", "field_invalid", "nothing but white space"),
        ({"text": {"body": "x" * 65_537}}, "text.body", "field_invalid", "longer than 65536 characters"),
        ({"text": {}}, "text.body", "field_missing", "is missing"),
        ({"text": {"body": "x", "html": "x"}}, "text.html", "field_unknown", "not known here"),
        ({"text": 7}, "text", "field_invalid", "must be an object"),
        ({"prioriy": 3}, "prioriy", "field_unknown", "not known here"),
        ({"priority": 10}, "priority", "field_invalid", "must be at most 9"),
        ({"priority": -1}, "priority", "field_invalid", "must be at least 0"),
        ({"priority": "3"}, "priority", "field_invalid", "must be a whole number"),
        ({"priority": True}, "priority", "field_invalid", "must be a whole number"),
        ({"ttl": 0}, "ttl", "field_invalid", "must be more than 0"),
        ({"send_at": "tomorrow"}, "send_at", "field_invalid", "RFC 3339"),
        ({"send_at": "2030-01-31T08:00:00"}, "send_at", "field_invalid", "no time zone"),
        ({"send_at": 1896076800}, "send_at", "field_invalid", "time as text"),
        ({"send_at": "9999-01-01T00:00:00Z"}, "send_at", "field_invalid", "too far away"),
        ({"session": "../etc"}, "session", "field_invalid", "pattern"),
        ({"type": "image"}, "body", "not_supported_yet", "cannot be sent yet"),
        ({"type": "template"}, "body", "not_supported_yet", "Meta's own service"),
        ({"type": "fax"}, "type", "field_invalid", "must be 'text'"),
        ({"context": {"message_id": "wamid.x"}}, "body", "not_supported_yet", "replies"),
        ({"messaging_product": "sms"}, "messaging_product", "field_invalid", "must be 'whatsapp'"),
    ],
)
def test_each_wrong_field_is_named_in_a_sentence(change: dict[str, object], field: str, code: str, says: str) -> None:
    with pytest.raises(ValidationError) as found:
        MessageIn.model_validate_json(json.dumps({**GOOD, **change}))
    problem = of_validation(found.value)
    assert (problem.status, problem.code, problem.details["field"]) == (422, code, field)
    assert says in problem.message


def test_errors_never_repeat_what_was_sent() -> None:
    secret = "the text of a private message"
    with pytest.raises(ValidationError) as found:
        BatchIn.model_validate_json(
            json.dumps({"messages": [{"to": secret, "text": {"body": [secret]}, secret: secret, "type": secret, "session": secret}]})
        )
    problem = of_validation(found.value)
    told = json.dumps([problem.message, [p["message"] for p in problem.details["problems"]]])
    assert secret not in told.replace(f"messages.0.{secret} ", "")


def test_what_is_no_json_is_malformed() -> None:
    for raw in (b"{", b"to=1", b"\xff\xfe", b'{"to": NaN}', b"[" * 5000):
        with pytest.raises(ValidationError) as found:
            MessageIn.model_validate_json(raw)
        assert of_validation(found.value).status in (400, 422)


def test_a_batch_holds_1_to_1000() -> None:
    assert len(BatchIn.model_validate({"messages": [GOOD] * 1000}).messages) == 1000
    for count, says in ((0, "at least 1"), (1001, "more than 1000")):
        with pytest.raises(ValidationError) as found:
            BatchIn.model_validate({"messages": [GOOD] * count})
        assert says in of_validation(found.value).message


def test_an_empty_body_recovers_the_default_session() -> None:
    assert RecoverIn.model_validate_json(b"{}") == RecoverIn(session="default", strategy=None)


def test_numbers_in_a_query_are_read_from_text() -> None:
    assert MessagesQuery.model_validate({"limit": "7", "since": "2030-01-31T08:00:00Z"}).limit == 7


def test_fingerprints_tell_bodies_apart_and_know_repeats() -> None:
    def draft(**change: object) -> Draft:
        return Draft(
            **{"session": "default", "address": "49@c.us", "type": "text", "content": {"body": "a", "preview_url": False}, **change}
        )  # type: ignore[arg-type]

    one = fingerprint([draft()], b"one")
    assert one == fingerprint([draft()], b"one") and len(one) == 32
    others = [
        fingerprint([draft()], b"batch"),
        fingerprint([draft(), draft()], b"one"),
        fingerprint([draft(priority=1)], b"one"),
        fingerprint([draft(content={"body": "b", "preview_url": False})], b"one"),
        fingerprint([draft(address="50@c.us")], b"one"),
    ]
    assert len({one, *others}) == 6


@pytest.mark.parametrize(
    "raw",
    [
        b'{"to": "+4915123456789", "to": "+4915123456780", "text": "Hello"}',
        b'{"to": "+4915123456789", "text": {"body": "a", "body": "b"}}',
        b'{"to": "+4915123456789", "text": "a: b", "te\\u0078t": "Hello"}',
        b'{"to":"+4915123456789","text":"1","text":"2","text":"3"}',
    ],
)
def test_a_field_given_twice_is_refused_wherever_it_is(raw: bytes) -> None:
    with pytest.raises(Problem, match="twice"):
        each_field_once(raw, len(MessageIn.model_validate_json(raw).model_fields_set))


@pytest.mark.parametrize("text", ['"Hello"', '"at 10:30: now"', '{"body": "Hello", "preview_url": true}'])
def test_fields_given_once_are_taken_colons_or_not(text: str) -> None:
    raw = f'{{"to": "+4915123456789", "text": {text}, "priority": 3}}'.encode()
    each_field_once(raw, len(MessageIn.model_validate_json(raw).model_fields_set))


@pytest.mark.parametrize(
    ("text", "as_sent"),
    [
        ("2030-01-31T08:00:00 02:00", "2030-01-31T08:00:00+02:00"),
        ("2030-01-31 08:00:00 02:00", "2030-01-31T08:00:00+02:00"),
        ("2030-01-31T08:00:00.123 0200", "2030-01-31T08:00:00.123+02:00"),
        ("2030-01-31T08:00 02", "2030-01-31T08:00:00+02:00"),
        ("20300131T080000 0200", "2030-01-31T08:00:00+02:00"),
        ("2030-01-31t08:00:00z", "2030-01-31T08:00:00Z"),
        ("\u200e2030-01-31T08:00:00\u221202:00", "2030-01-31T08:00:00-02:00"),
    ],
)
def test_a_time_in_a_query_has_its_plus_back(text: str, as_sent: str) -> None:
    wanted = datetime.datetime.fromisoformat(as_sent).timestamp()
    assert MessagesQuery.model_validate({"since": text}).since == wanted
    assert MessagesQuery.model_validate({"until": as_sent}).until == wanted


@pytest.mark.parametrize("text", ["2030-01-31T08:00:00", "2030-01-31 08:00", "2030-01-31 02:00", "0001-01-01T00:00:00+23:59", "x" * 1000])
def test_a_time_in_a_query_that_cannot_be_read_says_how_a_plus_is_written(text: str) -> None:
    with pytest.raises(ValidationError, match="write \\+ as %2B"):
        MessagesQuery.model_validate({"since": text})
