"""What a check comes to."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"  #: it works, and its operator should know
    FAIL = "fail"  #: it does not work, or not safely


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence, and, unless all is well, what to do."""

    level: Level
    said: str
    todo: str = ""


def ok(said: str) -> Finding:
    return Finding(Level.OK, said)


def warn(said: str, todo: str) -> Finding:
    return Finding(Level.WARN, said, todo)


def fail(said: str, todo: str) -> Finding:
    return Finding(Level.FAIL, said, todo)


def split(sentence: str) -> Finding:
    """A failure from one of the house's sentences, which say what is wrong, a colon, and what to do."""
    said, _, todo = sentence.partition(": ")
    return fail(said, todo)
