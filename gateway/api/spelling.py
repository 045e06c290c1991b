"""The characters of a recipient as people paste it: what is ignored, what is a digit, what stands between digits. Pure."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from dataclasses import dataclass

#: Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt of Unicode 16), as first and last code point of each range.
#: Python's unicodedata does not have this property.
_IGNORABLE = (
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x200B, 0x200F),
    (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
_FIRST = [first for first, _ in _IGNORABLE]
#: Dashes that are not in Unicode's category Pd: minus, hyphen bullet, and the long-vowel marks that Japanese keyboards give for a dash.
_DASHES = frozenset("\u2212\u2043\u30fc\uff70")
#: Other forms of marks that may stand in a number or an address (full width, small).
_FORMS = str.maketrans("\uff0b\ufe62\uff08\uff09\ufe59\ufe5a\uff3b\uff3d\uff0e\ufe52\uff0f\uff20\ufe6b\uff1a", "++()()[]../@@:")


@dataclass(frozen=True, slots=True)
class Mark:
    """One character that counts, in its plain form, and where it stood in the text (from 0)."""

    character: str
    at: int


def marks(text: str) -> list[Mark]:
    """What counts in `text`: ignorable characters left out, digits of every script as 0 to 9, every space as one blank, every dash as -."""
    return [Mark(plain(character), at) for at, character in enumerate(text) if not ignorable(character)]


def plain(character: str) -> str:
    """The plain form of one character; the character itself if it has none."""
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    if character.isspace():
        return " "
    if unicodedata.category(character) == "Pd" or character in _DASHES:
        return "-"
    return character.translate(_FORMS)


def ignorable(character: str) -> bool:
    """Whether Unicode says that the character shows nothing and may be ignored (joiners, direction marks, soft hyphen, …)."""
    code = ord(character)
    if code < 0xAD:
        return False
    at = bisect_right(_FIRST, code) - 1
    return at >= 0 and code <= _IGNORABLE[at][1]


def named(character: str, at: int) -> str:
    """How a sentence names one character: code, name and place, but not the character itself."""
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}{f' ({name})' if 0 < len(name) <= 40 else ''} at position {at}"
