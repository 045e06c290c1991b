"""Why a body could not be read as JSON, as a sentence that says what to do. Pure."""

from __future__ import annotations

import re

from gateway.api.errors import Problem

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: A string up to its end, or up to the raw control character that stands in it (group 1). Each byte is passed once.
_STRING = re.compile(rb'"(?:[^"\\\x00-\x1f]++|\\.)*+(?:"|([\x00-\x1f]))', re.DOTALL)
#: What a raw control character is called, and how JSON writes it.
_WRITTEN = {"\n": ("a line break", r"\n"), "\r": ("a line break", r"\n"), "\t": ("a tab", r"\t")}


def without_mark(raw: bytes | bytearray) -> bytes | bytearray:
    """The body without a byte order mark before it: some clients write one, and it says no more than UTF-8."""
    return raw[len(BYTE_ORDER_MARK) :] if raw.startswith(BYTE_ORDER_MARK) else raw


def json_problem(raw: bytes | bytearray, said: str) -> Problem:
    """400 for a body that is no JSON; `said` are the parser's words for it, which never repeat what was sent."""
    return Problem(400, "json_invalid", f"the body is no valid JSON: {_other_encoding(raw) or _raw_control(raw, said) or said}")


def _other_encoding(raw: bytes | bytearray) -> str | None:
    start = bytes(raw[:4])
    # JSON begins with two ASCII characters, so every second byte of UTF-16 is 0 there
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0\0" in (start[0:3:2], start[1:4:2]):
        wide = start.count(0) > 2 or start in (b"\xff\xfe\0\0", b"\0\0\xfe\xff")
        return f"it is encoded as UTF-{32 if wide else 16}: encode it as UTF-8"
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return (
            f"it is not UTF-8 (byte 0x{raw[error.start]:02X} at position {error.start}), as text in Latin-1 or Windows-1252 is not: "
            "encode it as UTF-8"
        )
    return None


def _raw_control(raw: bytes | bytearray, said: str) -> str | None:
    if "control character" not in said:
        return None
    for string in _STRING.finditer(raw):
        if string[1] is not None:
            return _of_control(raw[: string.start(1)].decode(), string[1].decode())
    return None


def _of_control(before: str, character: str) -> str:
    """`before` is the body up to the character."""
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    what, written = _WRITTEN.get(character, (f"a control character (U+{ord(character):04X})", ""))
    advice = f"write it as {written} (a backslash and {written[1]})" if written else "leave it out"
    return f"{what} stands inside a string (line {line}, column {column}): {advice}"
