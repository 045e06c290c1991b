"""Bad input: whatever is sent, the answer is the documented one and helps, and the server and its queue stay as they were.

The requests go out as bytes, as no HTTP library would write most of them; the server is a process of its
own, so that its memory can be measured. Its deadlines are shortened, nothing else is changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.beat import boot_time

#: Stands in every message: no answer and no line of the log may hold it.
SECRET = "Tell-nobody"
KEY = "a-key-of-more-than-sixteen-characters"
#: Seconds of the server's shortened deadlines (long enough for 14 MB on a busy machine), and how many connections it takes.
SHORT, CONNECTIONS = 2.0, 40
#: Connections beyond those that are told so at the same time, each for SHORT seconds.
TOLD = 8
#: Bytes that the server may be larger after all of it. The bodies sent are more than 40 MB.
GROWTH = 24 << 20
SERVER = f"""
import sys
from gateway import process
from gateway.api import bodies, wire
from gateway.api.app import main
from gateway.settings import load
bodies.BODY_TIMEOUT = wire.HEAD_TIMEOUT = wire.LINGER = {SHORT}
wire.CONNECTIONS, wire.TURNED_AWAY, wire.TURNING_AWAY = {CONNECTIONS}, {TOLD}, {SHORT}
settings = load()
process.start(settings, "api")
sys.exit(main(settings))
"""


@dataclass(frozen=True)
class Bad:
    """What is sent and what has to come back. `later` is a body that is sent only when the server asks for it."""

    name: str
    raw: bytes
    status: int
    code: str
    helps: str  #: a part of the sentence
    later: bytes = b""


def http(
    body: Any = None,
    *headers: str,
    method: str = "POST",
    path: str = "/api/messages",
    host: str = "localhost",
    media: str = "application/json",
) -> bytes:
    """A request as bytes; a body that is no bytes becomes JSON."""
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    if body is not None:
        head += [f"Content-Length: {len(raw)}"] + ([f"Content-Type: {media}"] if media else [])
    return "\r\n".join([*head, "", ""]).encode("utf-8", "surrogateescape") + raw


def raw(*lines: str, body: bytes = b"") -> bytes:
    """A request by its lines; `body` follows the empty one."""
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def message(**change: Any) -> dict[str, Any]:
    return {"to": "+49 151 23456789", "text": SECRET, **change}


def but(name: str) -> dict[str, Any]:
    return {k: v for k, v in message().items() if k != name}


def get(path: str, *headers: str) -> bytes:
    return http(None, *headers, method="GET", path=path)


TEXT = SECRET.encode()
JSON = "Content-Type: application/json"
START = ("POST /api/messages HTTP/1.1", "Host: localhost", JSON)
CHUNKED = (*START, "Transfer-Encoding: chunked")
CHUNKED_RECOVERY = ("POST /api/recover-session HTTP/1.1", *CHUNKED[1:])
ASKED_FOR = raw(*CHUNKED, "Expect: 100-continue")
GOOD = json.dumps(message()).encode()
FLAT = b'{"messages":[' + b"1," * 7_000_000 + b"1]}"

NOT_JSON = [
    Bad("no JSON", http(TEXT), 400, "json_invalid", "no valid JSON"),
    Bad("half an object", http(b'{"to":"+4915123456789","text":"' + TEXT), 400, "json_invalid", "no valid JSON"),
    Bad("single quotes", http(b"{'text':'" + TEXT + b"'}"), 400, "json_invalid", "no valid JSON"),
    Bad("a comma too many", http(GOOD[:-1] + b",}"), 400, "json_invalid", "trailing comma"),
    Bad("something behind it", http(GOOD + b"x"), 400, "json_invalid", "trailing"),
    Bad("no UTF-8", http(b'{"text":"' + TEXT + b'\xff\xfe"}'), 400, "json_invalid", "byte 0xFF at position 20"),
    Bad("Latin-1", http('{"text":"Grüße"}'.encode("latin-1")), 400, "json_invalid", "is not UTF-8 (byte 0xFC at position 11)"),
    Bad("Latin-1 in a batch", http('{"messages":["ü"]}'.encode("latin-1"), path="/api/messages/batch"), 400, "json_invalid", "Latin-1"),
    Bad("UTF-16", http(GOOD.decode().encode("utf-16")), 400, "json_invalid", "encoded as UTF-16: encode it as UTF-8"),
    Bad("UTF-16 without a mark", http(GOOD.decode().encode("utf-16-be")), 400, "json_invalid", "encoded as UTF-16"),
    Bad("UTF-32", http(GOOD.decode().encode("utf-32")), 400, "json_invalid", "encoded as UTF-32"),
    Bad("UTF-16 where no body belongs", http("{}".encode("utf-16"), path="/api/sessions/default/pause"), 400, "json_invalid", "UTF-16"),
    Bad(
        "a raw line break", http(b'{"to":"1",\n "text":"' + TEXT + b'\nmore"}'), 400, "json_invalid", r"(line 2, column 21): write it as \n"
    ),
    Bad("a raw line break of Windows", http(b'{"text":"' + TEXT + b'\r\n"}'), 400, "json_invalid", "a line break stands inside a string"),
    Bad("a raw tab behind an escape", http(b'{"text":"\\"\t' + TEXT + b'"}'), 400, "json_invalid", "a tab stands inside a string"),
    Bad(
        "a raw line break where no body belongs",
        http(b'{"a":"\n"}', path="/api/sessions/default/pause"),
        400,
        "json_invalid",
        "a line break",
    ),
    Bad("half a string behind a mark", http(b'\xef\xbb\xbf{"text":"' + TEXT), 400, "json_invalid", "EOF while parsing a string"),
    Bad("half a surrogate", http(b'{"to":"+4915123456789","text":"\\ud800"}'), 400, "json_invalid", "no valid JSON"),
    Bad("a raw control character", http(b'{"text":"' + TEXT + b'\x01"}'), 400, "json_invalid", "control character"),
    Bad("deep lists", http(b'{"text":' + b"[" * 500_000), 400, "json_invalid", "recursion"),
    Bad("deep objects", http(b'{"a":' * 150_000 + b"1" + b"}" * 150_000), 400, "json_invalid", "recursion"),
    Bad("deep where no body belongs", http(b"[" * 900_000, path="/api/sessions/default/pause"), 400, "json_invalid", "recursion"),
    Bad("a number of 5,000 digits", http(b'{"priority":' + b"9" * 5_000 + b"}"), 400, "json_invalid", "number out of range"),
    Bad("a number of a million digits", http(b'{"priority":' + b"9" * 1_000_000 + b"}"), 400, "json_invalid", "number out of range"),
    Bad("a list", http([message()]), 422, "field_invalid", "must be an object"),
    Bad("null", http(b"null"), 422, "field_invalid", "must be an object"),
    Bad("an empty body", http(b""), 422, "field_missing", "to is missing"),
]
FIELDS = [
    Bad("no recipient", http(but("to")), 422, "field_missing", "to is missing"),
    Bad("no text", http(but("text")), 422, "field_missing", "text is missing"),
    Bad("recipient as number", http(message(to=4915123456789)), 422, "field_invalid", "to must be a string"),
    Bad("recipient of letters", http(message(to=f"{SECRET}!")), 422, "recipient_invalid", "is no phone number"),
    Bad("recipient without country", http(message(to="0151 23456789")), 422, "recipient_invalid", "GATEWAY_DEFAULT_REGION"),
    Bad("recipient too long", http(message(to="1" * 200)), 422, "field_invalid", "longer than 100"),
    Bad("recipient with NUL", http(message(to="+49151\x0023456789")), 422, "recipient_invalid", "U+0000 at position 6"),
    Bad("recipient with a letter", http(message(to="+49 151 2345678O")), 422, "recipient_invalid", "U+004F (LATIN CAPITAL LETTER O) at"),
    Bad("recipient with 00", http(message(to="0049 151 23456789")), 422, "recipient_invalid", "write + in place of 00"),
    Bad("group with a letter", http(message(to="12036301234567890x@g.us")), 422, "recipient_invalid", "U+0078"),
    Bad("a batch for one", http({"messages": [message()]}), 422, "field_invalid", "POST it to /api/messages/batch"),
    Bad(
        "a large batch for one",
        http({"messages": [message(text="é" * 60_000)] * 4}),
        422,
        "field_invalid",
        "POST it to /api/messages/batch",
    ),
    Bad("text too long, escaped", http(message(text="\U0001f600" * 90_000)), 422, "field_invalid", "longer than 65536"),
    Bad("text as list", http(message(text=[SECRET])), 422, "field_invalid", "must be an object"),
    Bad("text empty", http(message(text="")), 422, "field_invalid", "is empty"),
    Bad("text blank", http(message(text=" \n ")), 422, "field_invalid", "white space"),
    Bad("text with NUL", http(message(text=f"{SECRET}\x00")), 422, "control_character", "U+0000"),
    Bad("text with escape", http(message(text=f"{SECRET}\x1b[31m")), 422, "control_character", "leave it out"),
    Bad("callback data with bell", http(message(biz_opaque_callback_data="\x07")), 422, "control_character", "U+0007"),
    Bad("callback data too long", http(message(biz_opaque_callback_data=SECRET * 99)), 422, "field_invalid", "longer than 512"),
    Bad("text too long", http(message(text=SECRET * 6_000)), 422, "field_invalid", "longer than 65536"),
    Bad("unknown field", http(message(prioriy=3)), 422, "field_unknown", "prioriy is not known here"),
    Bad("text as a field's name", http({**message(), f"{SECRET}, he said": 1}), 422, "field_unknown", "is not known here"),
    Bad("unknown field inside", http(message(text={"body": SECRET, "colour": 1})), 422, "field_unknown", "text.colour"),
    Bad("300 unknown fields", http({f"x{i}": i for i in range(300)}), 422, "field_missing", "to is missing"),
    Bad("priority as text", http(message(priority="3")), 422, "field_invalid", "whole number"),
    Bad("priority of a half", http(message(priority=0.5)), 422, "field_invalid", "whole number"),
    Bad("priority 10", http(message(priority=10)), 422, "field_invalid", "at most 9"),
    Bad("priority true", http(message(priority=True)), 422, "field_invalid", "whole number"),
    Bad("priority 1e400", http(GOOD[:-1] + b',"priority":1e400}'), 422, "field_invalid", "whole number"),
    Bad("ttl NaN", http(GOOD[:-1] + b',"ttl":NaN}'), 422, "field_invalid", "finite"),
    Bad("ttl negative", http(message(ttl=-1)), 422, "field_invalid", "more than 0"),
    Bad("ttl of ages", http(message(ttl=1e300)), 422, "field_invalid", "at most"),
    Bad("send_at without zone", http(message(send_at="2030-01-31T08:00:00")), 422, "field_invalid", "time zone"),
    Bad("send_at as number", http(message(send_at=1)), 422, "field_invalid", "time as text"),
    Bad("send_at no date", http(message(send_at=SECRET)), 422, "field_invalid", "RFC 3339"),
    Bad("a type for Meta", http(message(type="template")), 422, "not_supported_yet", "Meta's own service"),
    Bad("a type that is none", http(message(type=SECRET)), 422, "field_invalid", "must be 'text'"),
    Bad("session with ../", http(message(session="../../etc")), 422, "field_invalid", "session"),
    Bad("session unknown", http(message(session="nobody")), 404, "not_found", "session"),
    Bad("a field twice", http(GOOD[:-1] + b',"to":"+4915123456780"}'), 422, "field_twice", "to is given twice"),
    Bad("a field twice, escaped", http(GOOD[:-1] + b',"\\u0074o":"+4915123456780"}'), 422, "field_twice", "give it once"),
    Bad("a body where none belongs", http(message(), path="/api/sessions/default/pause"), 422, "field_unknown", "takes no body"),
    Bad("a rung that is none", http({"strategy": "hit it"}, path="/api/recover-session"), 422, "field_invalid", "must be"),
    Bad("states as text", http({"states": "waiting"}, path="/api/clear-queue"), 422, "field_invalid", "must be a list"),
    Bad("a clear-queue misspelt", http({"dryrun": True}, path="/api/clear-queue"), 422, "field_unknown", "dryrun"),
]
BATCH = "/api/messages/batch"
BATCHES = [
    Bad("one bad of three", http({"messages": [message(), but("to"), message()]}, path=BATCH), 422, "field_missing", "messages.1.to"),
    Bad("one bad recipient", http({"messages": [message(), message(to="1")]}, path=BATCH), 422, "recipient_invalid", "messages.1.to"),
    Bad("one unknown session", http({"messages": [message(), message(session="no")]}, path=BATCH), 404, "not_found", "session"),
    Bad("a field twice in one", http(b'{"messages":[' + GOOD[:-1] + b',"ttl":1,"ttl":2}]}', path=BATCH), 422, "field_twice", "ttl"),
    Bad("none in it", http({"messages": []}, path=BATCH), 422, "field_invalid", "at least 1"),
    Bad("1,001 in it", http({"messages": [message()] * 1_001}, path=BATCH), 422, "field_invalid", "more than 1000"),
    Bad("7 million numbers", http(FLAT, path=BATCH), 413, "too_many_values", "send fewer messages"),
    Bad("17 MB", http(b" " * (17 << 20), path=BATCH), 413, "body_too_large", "16777216 bytes"),
]
KEYS = [
    Bad("key for another body", http(message(text="other"), "Idempotency-Key: used"), 409, "idempotency_key_reused", "new key"),
    Bad("key for a batch", http({"messages": [message()]}, "Idempotency-Key: used", path=BATCH), 409, "idempotency_key_reused", "new key"),
    Bad("two keys", http(message(), "Idempotency-Key: a", "Idempotency-Key: b"), 400, "idempotency_key_invalid", "one header"),
    Bad("an empty key", http(message(), "Idempotency-Key: "), 400, "idempotency_key_invalid", "1 to 255"),
    Bad("a key with a space", http(message(), "Idempotency-Key: a b"), 400, "idempotency_key_invalid", "visible ASCII"),
    Bad("a key with an umlaut", http(message(), "Idempotency-Key: \u00fc"), 400, "idempotency_key_invalid", "without a space"),
    Bad("a key of 300", http(message(), "Idempotency-Key: " + "k" * 300), 400, "idempotency_key_invalid", "1 to 255"),
]
PATHS = [
    Bad("no such path", http(message(), path="/api/message"), 404, "no_such_path", "/api/docs"),
    Bad("two slashes", get("//api/health"), 404, "no_such_path", "/api/docs"),
    Bad("up and out", get("/api/docs/..%2f..%2f..%2fetc%2fpasswd"), 404, "no_such_path", "/api/docs"),
    Bad("percent and nothing", get("/api/%zz%"), 404, "no_such_path", "/api/docs"),
    Bad("a message that is none", get("/api/messages/%00"), 404, "message_unknown", "never accepted here"),
    Bad("a recovery that is none", get("/api/recoveries/" + "9" * 400), 404, "recovery_unknown", "/api/recoveries lists"),
    Bad("a session that is none", get("/api/sessions/%F0%9F%92%A9"), 404, "session_unknown", "/api/sessions"),
    Bad("an unknown query", get("/api/messages?stat=failed"), 422, "field_unknown", "stat"),
    Bad("a query twice", get("/api/messages?limit=1&limit=2"), 422, "field_invalid", "more than once"),
    Bad("a limit of letters", get("/api/messages?limit=many"), 422, "field_invalid", "whole number"),
    Bad("a time without zone", get("/api/messages?since=2030-01-31T08:00:00"), 422, "field_invalid", "write + as %2B"),
    Bad("a time that is none", get(f"/api/messages?until={SECRET}"), 422, "field_invalid", "write + as %2B"),
    Bad(
        "a recipient that is none",
        get("/api/messages?recipient=%2B49151x"),
        422,
        "recipient_invalid",
        "U+0078 (LATIN SMALL LETTER X) at position 6",
    ),
    Bad("a cursor that is none", get(f"/api/messages?cursor={SECRET}"), 422, "field_invalid", "page before"),
    Bad("wrong method", http(message(), method="PUT"), 405, "method_not_allowed", "possible: GET, HEAD, POST"),
    Bad("GET for POST", get("/api/clear-queue"), 405, "method_not_allowed", "possible: POST"),
    Bad("DELETE", http(None, method="DELETE", path="/api/messages/x"), 405, "method_not_allowed", "possible"),
    Bad("a long path", get("/api/messages?cursor=" + "x" * 9_000), 414, "path_too_long", "shorten"),
]
MEDIA = [
    Bad("plain text", http(message(), media="text/plain"), 415, "not_json", "Content-Type: application/json"),
    Bad(
        "no media type",
        http(message(), media=""),
        415,
        "not_json",
        "no Content-Type: write the body as JSON and send it with `Content-Type: app",
    ),
    Bad("an empty media type", http(message(), "Content-Type: ", media=""), 415, "not_json", "no Content-Type"),
    Bad("a form", http(b"to=1&text=" + TEXT, media="application/x-www-form-urlencoded"), 415, "not_json", "must be JSON"),
    Bad(
        "Latin-1 by its word",
        http(message(), media="application/json; charset=ISO-8859-1"),
        415,
        "charset_not_utf8",
        "is iso-8859-1 by its",
    ),
    Bad("UTF-16 by its word", http(message(), media='application/json;charset="utf-16"'), 415, "charset_not_utf8", "is utf-16 by its"),
    Bad("a charset of its own", http(message(), media=f"application/json; charset={SECRET}"), 415, "charset_not_utf8", "another charset"),
    Bad(
        "a charset on recover",
        http({}, path="/api/recover-session", media="application/json; charset=cp1252"),
        415,
        "charset_not_utf8",
        "cp1252",
    ),
    Bad("a large form", http(b"x" * 3_000_000, media="application/x-www-form-urlencoded"), 415, "not_json", "must be JSON"),
    Bad("multipart", http(b"--x", media="multipart/form-data; boundary=x"), 415, "not_json", "must be JSON"),
    Bad("a form on recover", http(b"a=b", path="/api/recover-session", media="text/plain"), 415, "not_json", "must be JSON"),
    Bad("a bomb", http(zlib.compress(b" " * 50_000_000), "Content-Encoding: deflate"), 415, "compressed", "without Content-Encoding"),
    Bad("expects what is none", http(message(), "Expect: a-miracle"), 417, "expect_unknown", "leave the header out"),
    Bad("1.2 MB of text", http(message(text=SECRET * 110_000)), 422, "field_invalid", "longer than 65536"),
    Bad("1.2 MB", http(b" " * 1_200_000, path="/api/recover-session"), 413, "body_too_large", "1048576 bytes"),
    Bad(
        "1.2 MB in chunks",
        raw(*CHUNKED_RECOVERY, body=b"124f80\r\n" + b" " * 1_200_000 + b"\r\n0\r\n\r\n"),
        413,
        "body_too_large",
        "1048576",
    ),
    Bad("a petabyte, it says", raw(*START, "Content-Length: 1000000000000000"), 413, "body_too_large", "16777216 bytes"),
]
FOREIGN = [
    Bad("foreign host", http(message(), host="evil.example"), 403, "host_not_loopback", "GATEWAY_API_KEY"),
    Bad("host that begins well", http(message(), host="localhost.evil.example"), 403, "host_not_loopback", "GATEWAY_API_KEY"),
    Bad("foreign origin", http(message(), "Origin: https://evil.example"), 403, "origin_foreign", "GATEWAY_API_KEY"),
    Bad("origin null", http(message(), "Origin: null"), 403, "origin_foreign", "GATEWAY_API_KEY"),
    Bad("another site's fetch", get("/api/health", "Sec-Fetch-Site: cross-site"), 403, "origin_foreign", "GATEWAY_API_KEY"),
    Bad("X-Forwarded-For", http(message(), "X-Forwarded-For: 10.0.0.1"), 403, "forwarded", "proxy"),
    Bad("Forwarded", http(message(), "Forwarded: for=10.0.0.1"), 403, "forwarded", "proxy"),
    Bad("X-Real-IP", http(message(), "X-Real-IP: 10.0.0.1"), 403, "forwarded", "proxy"),
    Bad("Via", http(message(), "Via: 1.1 proxy"), 403, "forwarded", "proxy"),
    Bad("HTTP/1.0", raw("GET /api/health HTTP/1.0", "Host: localhost"), 403, "http_1_0", "proxies"),
]
BROKEN = [
    Bad("no HTTP at all", TEXT + b"\r\n\r\n", 400, "http_invalid", "POST /api/messages HTTP/1.1"),
    Bad("HTTPS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40, 400, "https_on_http", "http://"),
    Bad("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "http_invalid", "HTTP/1.1"),
    Bad("HTTP/9.9", raw("GET / HTTP/9.9", "Host: localhost"), 400, "http_invalid", "HTTP/1.1"),
    Bad("a method of its own", raw(f"{SECRET} / HTTP/1.1", "Host: localhost"), 400, "http_invalid", "HTTP/1.1"),
    Bad("no host", raw("GET /api/health HTTP/1.1"), 400, "host_missing", "Host header"),
    Bad("two hosts", raw("GET /api/health HTTP/1.1", "Host: localhost", "Host: evil.example"), 400, "header_twice", "send it once"),
    Bad("two lengths", raw(*START, "Content-Length: 3", "Content-Length: 4"), 400, "header_twice", "send it once"),
    Bad("a length below zero", raw(*START, "Content-Length: -1"), 400, "http_invalid", "HTTP library"),
    Bad("a length of words", raw(*START, f"Content-Length: {SECRET}"), 400, "http_invalid", "HTTP library"),
    Bad("length and chunks", raw(*CHUNKED, "Content-Length: 3"), 400, "http_invalid", "HTTP library"),
    Bad("another transfer encoding", raw(*START, "Transfer-Encoding: gzip"), 400, "http_invalid", "HTTP library"),
    Bad("a header without colon", raw(*START, SECRET), 400, "http_invalid", "HTTP library"),
    Bad("a header folded", raw(*START, "X-A: 1", f" {SECRET}"), 400, "http_invalid", "HTTP library"),
    Bad("a header with NUL", raw(*START, f"X-A: {SECRET}\x00"), 400, "http_invalid", "HTTP library"),
    Bad("120 headers", get("/api/health", *(f"X-{i}: {SECRET}" for i in range(120))), 431, "too_many_headers", "leave some out"),
    Bad("a long header", get("/api/health", f"X-A: {SECRET * 900}"), 431, "header_too_long", "shorten it"),
    Bad("a long header's name", get("/api/health", "X" * 9_000 + ": 1"), 431, "header_too_long", "shorten it"),
    Bad("a head without end", get("/", *(f"X-{i}: {'x' * 8_000}" for i in range(90)))[:-2], 431, "header_too_long", "leave some"),
    Bad("a chunk of nonsense", raw(*CHUNKED, body=TEXT + b"\r\n"), 400, "http_invalid", "its chunks"),
    Bad("nonsense in the second", raw(*CHUNKED, body=b"1\r\n{\r\n" + TEXT), 400, "http_invalid", "its chunks"),
    Bad("a chunk longer than it says", raw(*CHUNKED, body=b"2\r\n{}" + TEXT + b"\r\n0\r\n\r\n"), 400, "http_invalid", "its chunks"),
    Bad("nonsense when asked for", ASKED_FOR, 400, "body_broken", "HTTP library", later=TEXT + b"\r\n"),
    Bad("a chunk too long when asked for", ASKED_FOR, 400, "body_broken", "HTTP library", later=b"2\r\n{}" + TEXT + b"\r\n"),
]
SLOW = [
    Bad("a body that stops", raw(*START, "Content-Length: 500", body=GOOD), 408, "body_too_slow", "send it again"),
    Bad("chunks that stop", raw(*CHUNKED, body=b"5\r\n{\r\n"), 408, "body_too_slow", "send it again"),
    Bad("a head that stops", raw(*START)[:-2], 408, "head_too_slow", "send it again"),
    Bad("half a first line", b"POST /api/mess", 408, "head_too_slow", "send it again"),
]
WITHOUT_KEY = NOT_JSON + FIELDS + BATCHES + KEYS + PATHS + MEDIA + FOREIGN + BROKEN + SLOW
BEARER = f"Authorization: Bearer {KEY}"
WITH_KEY = [
    Bad("no key", http(message()), 401, "key_missing", "Authorization: Bearer"),
    Bad("another key", http(message(), "Authorization: Bearer wrong"), 401, "key_unknown", "GATEWAY_API_KEY"),
    Bad("another X-Api-Key", http(message(), f"X-Api-Key: {SECRET}"), 401, "key_unknown", "GATEWAY_API_KEY"),
    Bad("an empty bearer", http(message(), "Authorization: Bearer "), 401, "key_missing", "X-Api-Key"),
    Bad("a key of odd bytes", http(message(), "X-Api-Key: \udcff\udcfe"), 401, "key_unknown", "GATEWAY_API_KEY"),
    Bad("the metrics key", http(message(), f"X-Api-Key: {KEY[::-1]}"), 403, "key_lacks_scope", "API key"),
    Bad("no key for a path that is none", get("/admin"), 401, "key_missing", "a key is needed"),
    Bad("no key, foreign host", http(message(), host="evil.example"), 401, "key_missing", "a key is needed"),
    Bad("no key, 17 MB", http(b" " * (17 << 20), path=BATCH), 401, "key_missing", "a key is needed"),
    Bad("the key, and no JSON", http(TEXT, BEARER), 400, "json_invalid", "no valid JSON"),
]


# -- the server, and a client that writes bytes


class Server:
    """The API as a process, on a port of its own; `log` is all that it wrote."""

    def __init__(self, data: Path, **environ: str) -> None:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = int(s.getsockname()[1])
        self.data, self._out = data, data.with_suffix(".out")
        named = {"GATEWAY_DATA": str(data), "GATEWAY_LISTEN": f"127.0.0.1:{self.port}", "GATEWAY_LOG_LEVEL": "debug", **environ}
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVER], env={**os.environ, **named}, stdout=out, stderr=subprocess.STDOUT
            )

    @property
    def log(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in (self._out, *(self.data / "logs").glob("*.log")))

    def memory(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def rows(self) -> dict[str, list[Any]]:
        """All of the database, but for the mark `last_accepted`: a time that a refused batch may move up to now, and no counter."""
        with contextlib.closing(sqlite3.connect(f"file:{self.data}/gateway.db?mode=ro", uri=True)) as conn:
            names = [name for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            columns = {name: [row[1] for row in conn.execute(f"PRAGMA table_info({name})")] for name in names}
            wanted = {name: ", ".join(f'"{c}"' for c in found if c != "last_accepted") for name, found in columns.items()}
            return {name: conn.execute(f"SELECT {wanted[name]} FROM {name}").fetchall() for name in names}

    async def ask(self, sent: bytes, later: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """Send, and read one answer to its end; `later` is sent once the server has said 100 Continue."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(sent)  # not drained: an answer may come while most of it is still on the way
            async with asyncio.timeout(20):
                if later:
                    assert b" 100 " in await reader.readuntil(b"\r\n\r\n")
                    writer.write(later)
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
                return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))
        finally:
            writer.transport.abort()

    async def up(self) -> None:
        deadline = boot_time() + 20
        while True:
            try:
                if (await self.ask(get("/healthz")))[0] == 200:
                    return
            except OSError:
                assert self.process.poll() is None and boot_time() < deadline, self.log
                await asyncio.sleep(0.05)


@contextlib.contextmanager
def serving(**environ: str) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Path(directory) / "data", **environ)
        try:
            yield server
        finally:
            server.process.terminate()
            server.process.wait(20)


async def check(server: Server, bad: Bad) -> None:
    """The documented status, the one shape, a sentence that helps, nothing echoed."""
    status, headers, body = await server.ask(bad.raw, bad.later)
    assert headers["content-type"].startswith("application/json"), (bad.name, status, body)
    assert SECRET.encode() not in body, (bad.name, body)
    error = json.loads(body)["error"]
    assert (status, error["code"]) == (bad.status, bad.code), (bad.name, error)
    assert set(error) == {"type", "code", "message", "details", "request_id"}, bad.name
    assert error["request_id"] and error["request_id"] == headers["x-request-id"], bad.name
    assert bad.helps in error["message"] and len(error["message"]) < 200, (bad.name, error["message"])
    assert ("retry-after" in headers) == (status in (429, 503, 504)), bad.name


async def check_all(server: Server, table: list[Bad]) -> None:
    """One after the other; those that wait for a deadline at the same time."""
    for bad in table:
        if bad not in SLOW:
            await check(server, bad)
    await asyncio.gather(*(check(server, bad) for bad in table if bad in SLOW))


async def put_to(server: Server, table: list[Bad], *headers: str) -> None:
    """Send all of a table, twice; what it leaves behind is what it found."""
    await server.up()
    assert (await server.ask(http(message(), "Idempotency-Key: used", *headers)))[0] == 202
    await check_all(server, table)  # the first time also loads what is loaded on first use
    before, rows = server.memory(), server.rows()
    await check_all(server, table)
    growth = server.memory() - before
    assert server.rows() == rows and len(rows["outbox"]) == 1, "nothing was written, no counter moved"
    assert growth < GROWTH, f"{growth / 1e6:.0f} MB more"
    assert SECRET not in server.log, "no text of a message in the log, at any level"
    status, _, body = await server.ask(get("/api/queue-status", *headers))
    assert status == 200 and json.loads(body)["message_queue_length"] == 1
    print(f"{len(table)} bad requests: {before / 1e6:.1f} MB before, {growth / 1e6:+.1f} MB after")


async def test_without_a_key() -> None:
    with serving() as server:
        await put_to(server, WITHOUT_KEY)


async def test_with_a_key() -> None:
    with serving(GATEWAY_API_KEY=KEY, GATEWAY_METRICS_KEY=KEY[::-1]) as server:
        await put_to(server, WITH_KEY, BEARER)


def test_there_are_enough_and_each_has_its_name() -> None:
    names = [bad.name for bad in WITHOUT_KEY + WITH_KEY]
    assert len(names) >= 60 and len(set(names)) == len(names)


async def test_a_trickle_gains_no_time() -> None:
    with serving() as server:
        await server.up()
        for first in (b"GET /api/health HTTP/1.1\r\nX-A: ", raw(*START, "Content-Length: 500")):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(first)
            answer = asyncio.create_task(reader.readline())
            begun = boot_time()
            while not answer.done():
                assert boot_time() - begun < SHORT + 3
                writer.write(b" ")
                await asyncio.wait([answer], timeout=SHORT / 10)
            assert b" 408 " in answer.result() and boot_time() - begun >= SHORT * 0.9
            writer.transport.abort()


async def test_connections_are_bounded_and_come_free_again() -> None:
    with serving() as server:
        await server.up()
        open_ones = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(CONNECTIONS)]
        try:
            await check(server, Bad("one too many", get("/api/health"), 503, "too_many_connections", "use fewer"))
            reader, writer = open_ones[0]
            writer.write(get("/healthz"))
            assert b" 200 " in await reader.readline(), "who is in, is served"
            # far more than can be told so: closed without a word, and no descriptor is kept
            begun = boot_time()
            crowd = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(200)]
            async with asyncio.timeout(10):
                heard = await asyncio.gather(*(r.read() for r, _ in crowd), return_exceptions=True)
            turns = 1 + int((boot_time() - begun) / SHORT)
            assert sum(isinstance(h, bytes) and b" 503 " in h for h in heard) <= TOLD * turns
            for _, w in crowd:
                w.close()
        finally:
            for _, w in open_ones:
                w.transport.abort()
        deadline = boot_time() + 10
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                if (await server.ask(get("/healthz")))[0] == 200:
                    break
            assert boot_time() < deadline
            await asyncio.sleep(0.05)
        files = psutil.Process(server.process.pid).num_fds
        while files() > 60:
            assert boot_time() < deadline
            await asyncio.sleep(0.05)


async def test_large_bodies_together_are_bounded() -> None:
    """Sixteen batches that are almost whole, at the same time: what is beyond the bound is told to come again."""
    with serving() as server:
        await server.up()
        before = server.memory()
        size = 15 << 20
        part = raw(f"POST {BATCH} HTTP/1.1", "Host: localhost", JSON, f"Content-Length: {size}", body=b" " * (size - 1))
        highest = before

        async def one() -> int:
            return (await server.ask(part))[0]

        asked = [asyncio.create_task(one()) for _ in range(16)]
        while not all(task.done() for task in asked):
            highest = max(highest, server.memory())
            await asyncio.wait(asked, timeout=0.05)
        found = [task.result() for task in asked]
        assert set(found) <= {408, 503} and 503 in found, found
        assert highest - before < 200 << 20, f"{(highest - before) / 1e6:.0f} MB more"
        print(f"16 bodies of 15 MiB at once: {found.count(503)} told to come again, {(highest - before) / 1e6:+.0f} MB at most")


@pytest.mark.parametrize("text", ["tab\tline\nreturn\rpage\x0cand \x0b", "\u202eright to left\u2069", "👩‍👩‍👧 é e\u0301", "x" * 65_536])
async def test_what_is_unusual_is_not_bad(text: str) -> None:
    with serving() as server:
        await server.up()
        status, _, body = await server.ask(http(message(text=text)))
        assert status == 202, body
        _, _, shown = await server.ask(get(f"/api/messages/{json.loads(body)['id']}"))
        assert json.loads(shown)["text"]["body"] == text
