"""How recipients may be written, and what they come to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.numbers import RecipientInvalid, address_of, number_of

ONE_PERSON = [
    "+4915123456789",
    "4915123456789",
    "+49 151 23456789",
    "+49 (151) 234-567-89",
    "49.151.23456789",
    "\u202a+49 151 23456789\u202c",  # as copied from an address book
    "+49\u00a0151\u00a023456789",
    "４９１５１２３４５６７８９",
    "4915123456789@c.us",
    "4915123456789@s.whatsapp.net",
    "4915123456789:12@s.whatsapp.net",
    "  4915123456789@C.US ",
]


@pytest.mark.parametrize("text", ONE_PERSON)
def test_all_spellings_of_one_person_are_one_address(text: str) -> None:
    assert address_of(text) == "4915123456789@c.us"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("120363012345678901@g.us", "120363012345678901@g.us"),
        ("4915123456789-1400000000@g.us", "4915123456789-1400000000@g.us"),
        ("123456789012345@lid", "123456789012345@lid"),
        ("+55 11 98765-4321", "5511987654321@c.us"),
        ("+55 11 8765-4321", "551187654321@c.us"),  # Brazil without its ninth digit: kept as written
        ("+52 1 55 1234 5678", "5215512345678@c.us"),  # Mexico with its old 1: kept as written
        ("+52 55 1234 5678", "525512345678@c.us"),
        ("+1 (415) 555-2671", "14155552671@c.us"),
        ("+800 1234 5678", "80012345678@c.us"),
    ],
)
def test_digits_are_never_guessed(text: str, address: str) -> None:
    assert address_of(text) == address


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("hello", "no phone number"),
        ("+49 151 CALLME", "no phone number"),
        ("0151 23456789", "GATEWAY_DEFAULT_REGION"),
        ("0049 151 23456789", "country code"),
        ("+0151 23456789", "has a 0 where the country code should be"),
        ("+49 (0) 151 23456789", "(0)"),
        ("+49", "too short"),
        ("+491512345678901234", "too long"),
        ("+1 415 555", "too short"),
        ("+1 415 555 26711 22", "too long for a number of country code +1"),
        ("+999 1234 5678", "no known country code"),
        ("+49+151 23456789", "no phone number"),
        ("status@broadcast", "broadcast"),
        ("12345@newsletter", "newsletter"),
        ("4915123456789@example.com", "c.us, s.whatsapp.net, g.us or lid"),
        ("abc@c.us", "digits alone"),
        ("abc@g.us", "group"),
        ("@c.us", "digits alone"),
    ],
)
def test_what_is_no_recipient_is_refused_with_what_to_do(text: str, says: str) -> None:
    with pytest.raises(RecipientInvalid, match=r".") as refused:
        address_of(text)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("text", "region", "number"),
    [
        ("0151 23456789", "DE", "4915123456789"),
        ("0049 151 23456789", "DE", "4915123456789"),
        ("+4915123456789", "DE", "4915123456789"),
        ("4915123456789", "DE", "4915123456789"),
        ("(11) 98765-4321", "BR", "5511987654321"),
        ("415 555 2671", "US", "14155552671"),
    ],
)
def test_national_numbers_where_a_region_is_set(text: str, region: str, number: str) -> None:
    assert number_of(text, region) == number


def test_what_can_be_read_in_two_ways_is_not_guessed() -> None:
    # a mobile of Santa Catarina (49) without its country, or a number of Germany with it
    with pytest.raises(RecipientInvalid, match=r"can be read as \+49987654321 and as a number of region BR"):
        number_of("49 98765-4321", "BR")
    assert number_of("+55 49 98765-4321", "BR") == "5549987654321"


@given(st.text(max_size=40))
def test_whatever_comes_in_is_an_address_or_a_refusal(text: str) -> None:
    for region in (None, "DE"):
        try:
            address = address_of(text, region)
        except RecipientInvalid:
            continue
        assert address.isascii()
        assert address_of(address, region) == address, "an address is its own spelling"
