"""Reading what a control request says, with a sentence for everything that is wrong in it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from typing import Any

from aiohttp import web

_DIGITS = re.compile(r"[\s()+.-]")


class Bad(Exception):
    """The request cannot be understood; the text is a sentence for its sender."""


class NotNow(Exception):
    """The request is fine, but the sandbox's state does not allow it now."""


class Unknown(Exception):
    """The request names something that does not exist."""


def digits(value: object, field: str) -> str:
    """A phone number as its 5 to 15 digits; takes `+49 170 …`, `49170…@c.us` and plain digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise Bad(f"'{field}' must be a phone number as a string.")
    plain = _DIGITS.sub("", value.partition("@")[0])
    if not (plain.isascii() and plain.isdigit() and 5 <= len(plain) <= 15):
        raise Bad(f"'{field}' must be a phone number of 5 to 15 digits, not {value!r}.")
    return plain


class Fields:
    """A JSON object whose fields are taken one by one; what nobody took is refused by `done`."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = dict(values)
        self._known: set[str] = set()

    @classmethod
    async def of(cls, request: web.Request) -> Fields:
        """The request's body; an empty one counts as `{}`. Raises Bad if it is not a JSON object."""
        raw = await request.read()
        try:
            values = json.loads(raw) if raw.strip() else {}
        except ValueError as e:
            raise Bad(f"The body is not JSON: {e}.") from None
        if not isinstance(values, dict):
            raise Bad("The body must be a JSON object.")
        return cls(values)

    def take(self, name: str, default: Any = None) -> Any:
        """The field as it is; null counts as absent."""
        self._known.add(name)
        value = self._values.pop(name, None)
        return default if value is None else value

    def has(self, name: str) -> bool:
        """Whether the field was given, be it null."""
        return name in self._values

    def text(self, name: str, default: str | None = None, *, limit: int = 70_000) -> str | None:
        """A string of at most `limit` characters."""
        value = self.take(name, default)
        if value is not None and not isinstance(value, str):
            raise Bad(f"'{name}' must be a string.")
        if value is not None and len(value) > limit:
            raise Bad(f"'{name}' is longer than {limit} characters.")
        return value

    def number(self, name: str) -> str | None:
        """A phone number as digits."""
        value = self.take(name)
        return None if value is None else digits(value, name)

    def flag(self, name: str, default: bool) -> bool:
        """true or false."""
        value = self.take(name, default)
        if not isinstance(value, bool):
            raise Bad(f"'{name}' must be true or false.")
        return value

    def seconds(self, name: str, default: float | None = None, *, most: float = 86_400) -> float | None:
        """A duration in seconds, 0 to `most`."""
        value = self.take(name, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise Bad(f"'{name}' must be a number of seconds from 0 to {most:g}.")
        return float(value)

    def whole(self, name: str, default: int | None = None, *, least: int = 0, most: int = 1_000_000) -> int | None:
        """A whole number within bounds."""
        value = self.take(name, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise Bad(f"'{name}' must be a whole number from {least} to {most}.")
        return value

    def choice(self, name: str, options: Collection[str], default: str | None = None) -> str | None:
        """One of the given words."""
        value = self.take(name, default)
        if value is not None and (not isinstance(value, str) or value not in options):
            raise Bad(f"'{name}' must be one of: {', '.join(options)}.")
        return value

    def items(self, name: str, *, most: int = 1_000) -> list[Any]:
        """A list of at most `most` entries; absent is empty."""
        value = self.take(name, [])
        if not isinstance(value, list) or len(value) > most:
            raise Bad(f"'{name}' must be a list of at most {most} entries.")
        return value

    def need(self, name: str, value: Any) -> Any:
        """`value`, which must have been given."""
        if value is None:
            raise Bad(f"'{name}' is missing.")
        return value

    def done(self, also: Iterable[str] = ()) -> None:
        """Refuse the fields that nobody took."""
        if self._values:
            strange = ", ".join(f"'{name}'" for name in sorted(self._values))
            known = ", ".join(sorted({*self._known, *also}))
            raise Bad(f"Unknown field {strange}. Known here: {known}.")
