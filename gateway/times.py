"""Times as they are written outside: RFC 3339 in UTC with milliseconds. Pure."""

from __future__ import annotations

import datetime


def rfc3339(seconds: float) -> str:
    """Wall-clock seconds as text."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(text: str) -> float:
    """The inverse. Raises ValueError."""
    return datetime.datetime.fromisoformat(text).timestamp()
