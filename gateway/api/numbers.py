"""How a caller may write a recipient, and the one address that all spellings of it come to. Pure.

Digits are never guessed (Brazil's ninth, Mexico's 1): only spelling is removed, and WhatsApp's own
look-up decides later. A national number is read only where a default region says whose it is.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import phonenumbers
from phonenumbers import PhoneMetadata

#: What people and address books put between digits.
_BETWEEN = re.compile(r"[\s\-‐‑‒–—().\[\]/]+")
_DIGITS = re.compile(r"[0-9]+")
_PLAIN = re.compile(r"(\+?)([0-9]{7,15})")
_GROUP = re.compile(r"[0-9]{5,25}(?:-[0-9]{5,15})?")
_WID = re.compile(r"([0-9]{5,20})(?::[0-9]{1,4})?")
#: The servers under which WhatsApp knows people; `s.whatsapp.net` is how its protocol writes `c.us`.
_PEOPLE = {"c.us": "c.us", "s.whatsapp.net": "c.us", "lid": "lid"}
#: E.164 allows 15 digits; the shortest numbers in use have 7 with their country code.
_SHORTEST, _LONGEST = 7, 15


class RecipientInvalid(ValueError):
    """That is no recipient; the text is a sentence that says what to do."""


@lru_cache(maxsize=4096)  # the same people get message after message
def address_of(text: str, region: str | None = None) -> str:
    """`…@c.us`, `…@lid` or `…@g.us` for what the caller wrote.

    `region` (DE, BR, …) is where national numbers are at home; None means that there are none.
    Raises RecipientInvalid.
    """
    text = text.strip()
    if not text:
        raise RecipientInvalid("is empty: write the recipient's number with its country code, for instance +49 151 23456789")
    if "@" in text:
        return _of_wid(text)
    return f"{number_of(text, region)}@c.us"


def number_of(text: str, region: str | None = None) -> str:
    """The digits of a phone number, country code first and without +. Raises RecipientInvalid."""
    plus, digits = _spelled_out(text)
    if plus:
        return _international(digits)
    if region is None:
        if digits.startswith("0"):
            raise RecipientInvalid(
                "starts with 0: write the number with its country code, for instance +49 151 23456789, "
                "or set GATEWAY_DEFAULT_REGION to read national numbers"
            )
        return _international(digits)
    return _with_region(digits, region)


def _of_wid(text: str) -> str:
    user, _, server = text.partition("@")
    server = server.lower()
    if server in _PEOPLE:
        match = _WID.fullmatch(user.removeprefix("+"))
        if match is None:
            raise RecipientInvalid(f"is no address of a person: before @{server} stand digits alone")
        if server != "lid":
            _international(match[1])
        return f"{match[1]}@{_PEOPLE[server]}"
    if server == "g.us":
        if _GROUP.fullmatch(user) is None:
            raise RecipientInvalid("is no address of a group: it looks like 120363012345678901@g.us")
        return f"{user}@g.us"
    if server in ("broadcast", "newsletter"):
        raise RecipientInvalid(f"is a {server} address: this gateway sends to people and groups")
    raise RecipientInvalid("is no WhatsApp address: after the @ stands c.us, s.whatsapp.net, g.us or lid")


def _spelled_out(text: str) -> tuple[bool, str]:
    """(begins with +, digits): spaces, dashes, brackets and invisible marks of copied text removed."""
    plain = _PLAIN.fullmatch(text)
    if plain is not None:  # how most programs write it; what follows costs ten times as much
        return bool(plain[1]), plain[2]
    kept = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    if re.search(r"\(\s*0\s*\)", kept):
        raise RecipientInvalid("contains (0): leave it out, and write the number as it is dialled from abroad")
    plus = kept.lstrip("([ ").startswith("+")
    digits = _BETWEEN.sub("", kept).removeprefix("+")
    if _DIGITS.fullmatch(digits) is None or not digits.isascii():
        raise RecipientInvalid("is no phone number: write digits with the country code, for instance +49 151 23456789")
    return plus, digits


def _international(digits: str) -> str:
    """The digits, if a number of that country can have that length. Raises RecipientInvalid."""
    if digits.startswith("0"):
        raise RecipientInvalid("has a 0 where the country code should be: write it without 0 or 00 in front, for instance +49 151 23456789")
    if not _SHORTEST <= len(digits) <= _LONGEST:
        short = len(digits) < _SHORTEST
        raise RecipientInvalid(
            f"is too {'short' if short else 'long'} for a number with its country code ({_SHORTEST} to {_LONGEST} digits)"
        )
    for size in (1, 2, 3):
        lengths = _lengths(int(digits[:size]))
        if lengths is not None:
            rest, (shortest, longest) = len(digits) - size, lengths
            # one digit more: older spellings (Mexico's 1) are WhatsApp's to judge, not ours
            if not shortest <= rest <= longest + 1:
                raise RecipientInvalid(
                    f"is too {'short' if rest < shortest else 'long'} for a number of country code +{digits[:size]}: are all digits there?"
                )
            return digits
    raise RecipientInvalid("begins with no known country code: write the number as +, country code, number")


@lru_cache(maxsize=1024)
def _lengths(country_code: int) -> tuple[int, int] | None:
    """(shortest, longest) number of that country code, without it; None if nobody has that code."""
    found: list[int] = []
    for region in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(country_code, ()):
        if region == "001":
            metadata = PhoneMetadata.metadata_for_nongeo_region(country_code, None)
        else:
            metadata = PhoneMetadata.metadata_for_region(region, None)
        if metadata is not None and metadata.general_desc is not None:
            found += metadata.general_desc.possible_length
    return (min(found), max(found)) if found else None


def _with_region(digits: str, region: str) -> str:
    """Digits without + where national numbers are allowed: the reading that is a valid number. Raises RecipientInvalid."""
    national = _national(digits, region)
    try:
        international: str | None = _international(digits)
    except RecipientInvalid:
        international = None
    if national is None:
        if international is None:
            raise RecipientInvalid(f"is no number of region {region} and none with a country code: write it as +, country code, number")
        return international
    if international is None or international == national:
        return national
    if digits.startswith(str(phonenumbers.country_code_for_region(region))):  # Germany: 4915… is 0491 5… only without its 0
        return international
    if phonenumbers.is_valid_number(phonenumbers.parse("+" + international)):
        raise RecipientInvalid(
            f"can be read as +{international} and as a number of region {region} (+{national}): write it with + and its country code"
        )
    return national


def _national(digits: str, region: str) -> str | None:
    try:
        number = phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")
