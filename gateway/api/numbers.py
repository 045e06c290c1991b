"""How a caller may write a recipient, and the one address that all spellings of it come to. Pure.

Digits are never guessed (Brazil's ninth, Mexico's 1): only spelling is removed, and WhatsApp's own
look-up decides later. Numbering plans decide nothing here either: WhatsApp keeps numbers of plans that
have ended. A national number is read only where a default region says whose it is.
"""

from __future__ import annotations

import re
from functools import lru_cache

import phonenumbers

from gateway.api.spelling import Mark, marks, named

#: What people and address books put between digits.
_BETWEEN = " -().[]/"
_PLAIN = re.compile(r"(\+?)([0-9]{7,15})")
_GROUP = re.compile(r"[0-9]{5,25}(?:-[0-9]{5,15})?")
_LID = re.compile(r"([0-9]{5,20})(?::[0-9]{1,4})?")
#: Behind a person's number the protocol may write the agent and the device: 4915123456789:12, 4915123456789.0:12.
_DEVICE = re.compile(r"(?:(?<=[0-9])[._][0-9]{1,3})?:[0-9]{1,4}$")
#: The servers under which WhatsApp knows people; `s.whatsapp.net` is how its protocol writes `c.us`.
_PEOPLE = {"c.us": "c.us", "s.whatsapp.net": "c.us", "lid": "lid"}
#: E.164 allows 15 digits; the shortest numbers in use have 7 with their country code.
_SHORTEST, _LONGEST = 7, 15
#: What links and other gateways put before a number.
_SCHEMES = ("tel:", "whatsapp:")
_LINK = re.compile(r"://|(?:^|\.)wa\.me/")
#: A query string is decoded as a form, in which `+` means a space: a space before the first digit was a +. Before 0 it was
#: none, since no country code begins with 0.
_LOST_PLUS = re.compile(r"[(\[ ]* [(\[ ]*(?=[1-9])")
_EXAMPLE = "+49 151 23456789"


class RecipientInvalid(ValueError):
    """That is no recipient; the text is a sentence that says what to do."""


@lru_cache(maxsize=4096)  # the same people get message after message
def address_of(text: str, region: str | None = None, *, form: bool = False) -> str:
    """`…@c.us`, `…@lid` or `…@g.us` for what the caller wrote.

    `region` (DE, BR, …) is where national numbers are at home; None means that there are none. `form`: the text
    comes from a query string, where + arrives as a space. Raises RecipientInvalid.
    """
    if _PLAIN.fullmatch(text) is None:  # how most programs write it; what follows costs ten times as much
        found = _stripped(marks(text))
        at = next((n for n, mark in enumerate(found) if mark.character == "@"), None)
        if at is not None:
            return _of_wid(text, found[:at], _text(found[at + 1 :]).strip().lower())
    return f"{number_of(text, region, form=form)}@c.us"


def number_of(text: str, region: str | None = None, *, form: bool = False) -> str:
    """The digits of a phone number, country code first and without +. Raises RecipientInvalid."""
    plus, digits = _spelled_out(text, form)
    if plus:
        return _international(digits)
    if region is None:
        if digits.startswith("00"):
            raise RecipientInvalid(f"starts with 00: write + in place of 00, then country code and number, for instance {_EXAMPLE}")
        if digits.startswith("0"):
            raise RecipientInvalid(
                f"starts with 0: write the number with its country code, for instance {_EXAMPLE}, "
                "or set GATEWAY_DEFAULT_REGION to read national numbers"
            )
        return _international(digits)
    return _with_region(digits, region)


def phone_of(text: str, region: str | None = None) -> str:
    """The digits of a person's phone number, also where it is written as `…@c.us`. Raises RecipientInvalid."""
    number, _, server = address_of(text, region).partition("@")
    if server != "c.us":
        raise RecipientInvalid(f"is no phone number: write the number with its country code, for instance {_EXAMPLE}")
    return number


def _text(found: list[Mark]) -> str:
    return "".join(mark.character for mark in found)


def _stripped(found: list[Mark]) -> list[Mark]:
    """Without spaces at both ends."""
    while found and found[-1].character == " ":
        found = found[:-1]
    begin = next((n for n, mark in enumerate(found) if mark.character != " "), len(found))
    return found[begin:]


def _of_wid(text: str, user: list[Mark], server: str) -> str:
    if server in _PEOPLE:
        return _person(text, user, server)
    if server == "g.us":
        group = _text(user).replace(" ", "")
        if _GROUP.fullmatch(group) is None:
            raise RecipientInvalid(f"is no address of a group: it looks like 120363012345678901@g.us{_wrong(text, user, ' -')}")
        return f"{group}@g.us"
    if server in ("broadcast", "newsletter"):
        raise RecipientInvalid(f"is a {server} address: this gateway sends to people and groups")
    raise RecipientInvalid("is no WhatsApp address: after the @ stands c.us, s.whatsapp.net, g.us or lid")


def _person(text: str, user: list[Mark], server: str) -> str:
    wanted = f"is no address of a person: before @{server} stand digits alone"
    if server == "lid":
        lid = _LID.fullmatch(_text(user).replace(" ", ""))
        if lid is None:
            raise RecipientInvalid(wanted + _wrong(text, user, " :"))
        return f"{lid[1]}@lid"
    device = _DEVICE.search(_text(user))
    if device is not None:
        user = user[: device.start()]
    _, digits = _number(text, user, wanted)
    return f"{_international(digits)}@{_PEOPLE[server]}"


def _wrong(text: str, found: list[Mark], besides: str) -> str:
    """How a sentence goes on that names the first character that is no digit and none of `besides`; empty without one."""
    for mark in found:
        if not mark.character.isdecimal() and mark.character not in besides:
            return f"; {named(text[mark.at], mark.at)} is no digit"
    return ""


def _spelled_out(text: str, form: bool) -> tuple[bool, str]:
    """(begins with +, digits) of a number."""
    plain = _PLAIN.fullmatch(text)
    if plain is not None:
        return bool(plain[1]), plain[2]
    found = marks(text)
    written = _text(found)
    if _LINK.search(written.lower()):
        raise RecipientInvalid(f"is a link: write the number that is in it, with + and its country code, for instance {_EXAMPLE}")
    lead = len(written) - len(written.lstrip())
    for scheme in _SCHEMES:
        if written[lead:].lower().startswith(scheme):
            found = found[lead + len(scheme) :]
            if any(mark.character == ";" for mark in found):
                raise RecipientInvalid(f"is a {scheme} link with more than a number in it: write the number alone, for instance {_EXAMPLE}")
            break
    lost_plus = form and _LOST_PLUS.match(_as_sent(text, found)) is not None
    if not _text(found).strip():
        raise RecipientInvalid(f"is empty: write the recipient's number with its country code, for instance {_EXAMPLE}")
    plus, digits = _number(text, found, f"is no phone number: write digits with the country code, for instance {_EXAMPLE}")
    return plus or lost_plus, digits


def _as_sent(text: str, found: list[Mark]) -> str:
    """The marks, with a blank for a real space alone: no other kind of space was ever a +."""
    return "".join("\n" if mark.character == " " and text[mark.at] != " " else mark.character for mark in found)


def _number(text: str, found: list[Mark], wrong: str) -> tuple[bool, str]:
    """(begins with +, digits), without what may stand between digits. Raises RecipientInvalid: `wrong`, and which character it is."""
    if re.search(r"[(\[] *0 *[)\]]", _text(found)):
        raise RecipientInvalid("contains (0): leave it out, and write the number as it is dialled from abroad")
    sign = re.match(r"[(\[ ]*\+", _text(found))
    rest = found[sign.end() :] if sign else found
    digits = "".join(mark.character for mark in rest if mark.character.isdecimal())
    refusal = _wrong(text, rest, _BETWEEN)
    if refusal or not digits:
        raise RecipientInvalid(wrong + refusal)
    return sign is not None, digits


def _international(digits: str) -> str:
    """The digits, if E.164 allows so many. Raises RecipientInvalid."""
    if digits.startswith("0"):
        raise RecipientInvalid(f"has a 0 where the country code should be: write it without 0 or 00 in front, for instance {_EXAMPLE}")
    if not _SHORTEST <= len(digits) <= _LONGEST:
        short = len(digits) < _SHORTEST
        raise RecipientInvalid(
            f"is too {'short' if short else 'long'} for a number with its country code ({_SHORTEST} to {_LONGEST} digits)"
        )
    return digits


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
    possible, valid = _in_its_plan(international)
    if digits.startswith(str(phonenumbers.country_code_for_region(region))) and possible:
        return international  # Germany: 4915… is 0491 5… only without its 0
    if valid:
        raise RecipientInvalid(
            f"can be read as +{international} and as a number of region {region} (+{national}): write it with + and its country code"
        )
    return national


def _in_its_plan(digits: str) -> tuple[bool, bool]:
    """(has a length that its country uses, is a valid number there) of digits with a country code, by today's numbering plans."""
    try:
        number = phonenumbers.parse("+" + digits)
    except phonenumbers.NumberParseException:
        return False, False
    possible = phonenumbers.is_possible_number_with_reason(number) == phonenumbers.ValidationResult.IS_POSSIBLE
    return possible, phonenumbers.is_valid_number(number)


def _national(digits: str, region: str) -> str | None:
    try:
        number = phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")
