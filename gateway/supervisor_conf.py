"""Values as supervisord's configuration file holds them. Pure.

supervisord reads a value as INI (a `;` or `#` behind white space begins a comment), expands it once or twice as a format
string (`%(here)s`), and then reads a command as a shell's words and an environment as quoted pairs.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

#: An expansion that comes to nothing: put before a `;` or `#`, it keeps that from beginning a comment.
_NOTHING = "%(here).0s"


class NotHeld(Exception):
    """supervisord's format has no way to write a value; the text names it, and says which characters to leave out.

    Of a variable it holds the name and never the value, which may be a password. `todo`: the last part of the text.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.todo = text.rpartition(": ")[2]


def plain(value: str, *, expansions: int = 1) -> str:
    """The value as it is written where supervisord expands it so many times. Raises NotHeld."""
    if re.search(r"[\0\n\r]", value):
        raise NotHeld(f"{value!r}: leave out line breaks")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise NotHeld(f"{value!r}: leave out what is not valid UTF-8") from None
    return re.sub(r"(?<=\s)(?=[;#])", _NOTHING, value.replace("%", "%" * 2**expansions))


def command(words: Sequence[str]) -> str:
    """The words of a program's `command`. Raises NotHeld."""
    return plain(shlex.join(words))


def environment(values: Mapping[str, str]) -> str:
    """The pairs of `environment` in [supervisord]. Raises NotHeld with the name of the variable."""
    return ",".join(f"{name}={_quoted(name, value)}" for name, value in sorted(values.items()))


def _quoted(name: str, value: str) -> str:
    mark = "'" if '"' in value else '"'
    # supervisord strips quotes of either kind from both ends, the value's own too
    if mark in value or value.strip("\"'") != value:
        raise NotHeld(f"{name}: leave out quotes at its ends, and quotes of two kinds")
    try:
        return f"{mark}{plain(value, expansions=2)}{mark}"
    except NotHeld as error:
        raise NotHeld(f"{name}: {error.todo}") from None
