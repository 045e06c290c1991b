"""How recipients may be written, and what they come to."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.numbers import RecipientInvalid, address_of, number_of, phone_of
from gateway.api.spelling import ignorable

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
    "+4\ufe0f9-151-23456789",  # variation selectors, as behind the digits of an emoji keyboard
    "\u200f+٤٩ ١٥١ ٢٣٤٥٦٧٨٩",  # Arabic
    "+۴۹۱۵۱۲۳۴۵۶۷۸۹",  # Persian
    "+४९ १५१ २३४५६७८९",  # Devanagari
    "＋４９（１５１）２３４－５６７－８９",  # full width, as a Japanese keyboard gives it
    "+49\u200d151\u2060234\u00ad567\u200b89",  # joiners and a soft hyphen
    "\u2068+49 151 23456789\u2069\ufeff",
    "+49\u202f151\u2009234\u3000567\u200789",  # spaces of other widths
    "+49\u2011151\u2013234\u2212567\u201489",  # dashes of other kinds, and a minus
    "+49ー151ー23456789",
    "\U000e00014\U000e00319151\u3164\uffa0\u115f23456789",
    "tel:+49-151-23456789",
    "TEL:4915123456789",
    " tel: +49 (151) 23456789",
    "whatsapp:+4915123456789",
    "+49 151 23456789@c.us",
    "４９１５１２３４５６７８９＠c．us",
    "4915123456789\u2060@c.us\u200e",
    "4915123456789.0:12@s.whatsapp.net",
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
        ("120363\u2060012345678901\u200e@g.us\u200b", "120363012345678901@g.us"),
        ("٤٩١٥١٢٣٤٥٦٧٨٩\u2011١٤٠٠٠٠٠٠٠٠@g.us", "4915123456789-1400000000@g.us"),
        ("१२३४५६७८९०१२३४५@lid", "123456789012345@lid"),
        ("\u2066123456789012345:3@lid\u2069", "123456789012345@lid"),
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
        ("+1 415 55", "too short"),
        ("+1 415 555 26711 22 22", "too long"),
        ("\u200b\ufeff", "is empty"),
        ("tel:", "is empty"),
        ("tel:0151 23456789", "GATEWAY_DEFAULT_REGION"),
        ("tel:+49-151-23456789;ext=5", "more than a number"),
        ("https://wa.me/4915123456789", "is a link"),
        ("wa.me/4915123456789", "is a link"),
        ("0049 151 23456789", "write + in place of 00"),
        ("+49 [0] 151 23456789", "(0)"),
        ("+49（０）151 23456789", "(0)"),
        ("+49 151 2345678O", "U+004F (LATIN CAPITAL LETTER O) at position 15"),
        ("+49 151 234\u00b2", "U+00B2 (SUPERSCRIPT TWO) at position 11"),
        ("+49 151 ①", "U+2460"),
        ("1\ufe0f\u20e3234567", "U+20E3 (COMBINING ENCLOSING KEYCAP) at position 2"),
        ("+49151\x0023456789", "U+0000 at position 6"),
        ("+49 151 23456789, +49 151 23456780", "U+002C (COMMA) at position 16"),
        ("4915123456789+", "U+002B (PLUS SIGN) at position 13"),
        ("+49 151 2345678九", "U+4E5D"),
        ("12036301234567890x@g.us", "U+0078 (LATIN SMALL LETTER X) at position 17"),
        ("1234567890\u00b9@lid", "U+00B9 (SUPERSCRIPT ONE) at position 10"),
        ("49151 2345 x@c.us", "U+0078 (LATIN SMALL LETTER X) at position 11"),
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
    assert len(str(refused.value)) < 170


@pytest.mark.parametrize(
    "digits",
    [
        "22541091002",  # Ivory Coast as it was until 2021: eight digits behind 225
        "22997123456",  # Benin until 2024
        "24107123456",  # Gabon
        "5491123456789",
        "6771234567",
        "6834000",  # Niue: the shortest in use
        "4312345678901",  # Austria's lengths are open
        "99912345678",  # a country code of tomorrow
        "123456789012345",
    ],
)
@pytest.mark.parametrize("form", ["{}", "+{}", "{}@c.us", "{}@s.whatsapp.net", "{}:7@c.us"])
@pytest.mark.parametrize("region", [None, "DE"])
def test_what_whatsapp_keeps_is_not_refused_by_numbering_plans(digits: str, form: str, region: str | None) -> None:
    if region is None or form != "{}":  # where a region is set, digits alone may be a number of it
        assert address_of(form.format(digits), region) == f"{digits}@c.us"


@pytest.mark.parametrize("written", ["491700000001@c.us", "491700000001:12@c.us", "+49 170 0000001", "tel:+491700000001"])
def test_a_phone_is_taken_as_we_hand_it_out(written: str) -> None:
    assert phone_of(written) == "491700000001"


@pytest.mark.parametrize("written", ["123456789012345@lid", "120363012345678901@g.us"])
def test_what_has_no_number_is_no_phone(written: str) -> None:
    with pytest.raises(RecipientInvalid, match="is no phone number"):
        phone_of(written)


@pytest.mark.parametrize(
    ("text", "region", "address"),
    [
        (" 11987654321", "BR", "11987654321"),  # +1 1987654321: not the 11 of São Paulo
        (" 49 151 23456789", None, "4915123456789"),
        ("( 49) 151 23456789", "BR", "4915123456789"),
        ("tel: 49-151-23456789", "BR", "4915123456789"),
        ("\u200e 49 151 23456789", "BR", "4915123456789"),
        (" ٤٩ ١٥١ ٢٣٤٥٦٧٨٩", "BR", "4915123456789"),
        ("+11987654321", "BR", "11987654321"),
        ("11987654321", "BR", "5511987654321"),
        ("\u00a011987654321", "BR", "5511987654321"),  # no form writes + as this space
        (" 0151 23456789", "DE", "4915123456789"),  # no country code begins with 0, so this was no +
        (" 4915123456789@c.us", "BR", "4915123456789"),
        ("49 151 23456789 ", None, "4915123456789"),
    ],
)
def test_a_plus_that_a_query_turned_into_a_space_is_one_again(text: str, region: str | None, address: str) -> None:
    assert address_of(text, region, form=True) == f"{address}@c.us"


def test_a_space_in_a_body_is_a_space() -> None:
    assert address_of(" 11987654321", "BR") == "5511987654321@c.us"


def test_what_may_be_ignored_is_what_unicode_says() -> None:
    codes = [code for code in range(0x110000) if ignorable(chr(code))]
    assert len(codes) == 4174, "Default_Ignorable_Code_Point has so many"
    assert all(unicodedata.category(chr(code)) in ("Cf", "Mn", "Lo", "Cn") for code in codes)
    visible = [c for c in range(0x110000) if unicodedata.category(chr(c)) == "Cf" and c not in codes]
    assert all(unicodedata.name(chr(c)).split()[0] in ("ARABIC", "SYRIAC", "INTERLINEAR", "KAITHI", "EGYPTIAN") for c in visible)


@pytest.mark.parametrize(
    ("text", "region", "number"),
    [
        ("0151 23456789", "DE", "4915123456789"),
        ("0049 151 23456789", "DE", "4915123456789"),
        ("+4915123456789", "DE", "4915123456789"),
        ("4915123456789", "DE", "4915123456789"),
        ("(11) 98765-4321", "BR", "5511987654321"),
        ("415 555 2671", "US", "14155552671"),
        ("33 12 34 567", "FR", "33331234567"),  # 03 31…, for +33 has no number of seven digits
        ("5215512345678", "MX", "5215512345678"),  # Mexico with its old 1
        ("22541091002", "CI", "22541091002"),
        ("tel:0151-23456789", "DE", "4915123456789"),
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
