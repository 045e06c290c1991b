"""What health says: each situation in words of its own, before the symptoms that follow from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.browser.interruptions import FIRST_PAUSE, LONGEST_PAUSE, QUARREL, Takeovers
from gateway.session import Evidence, State, complaints, remarks

NOW = 1000.0
HEALTHY = Evidence(
    session="shop", state=State.READY, epoch=1, since=600.0, connected=True, answered_at=999.5, canary=None, socket="CONNECTED",
    stream_mode="MAIN", stream_info="NORMAL", account="49151@c.us", expected_account="49151@c.us",
)  # fmt: skip
UNLINKED = {"account": None, "socket": "UNPAIRED", "stream_mode": "QR", "canary": "wa-js is not ready yet"}
OUTAGE = {"state": State.DEGRADED, "socket": "TIMEOUT", "stream_info": "OFFLINE", "socket_down_since": 958.0}
#: situation → (what the evidence is then, words that must be in the one sentence)
SITUATIONS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "passkey": (UNLINKED | {"state": State.AWAITING_PASSKEY}, ["passkey (a key that", "Passkeys", "scan again", "is kept"]),
    "never linked": (UNLINKED | {"state": State.AWAITING_SCAN}, ["no phone is linked yet", "/api/sessions/shop/qr"]),
    "logged out": (UNLINKED | {"state": State.AWAITING_SCAN, "unlinked": True}, ["was logged out", "QR code", "is kept"]),
    "just logged out": (UNLINKED | {"state": State.LOGGED_OUT}, ["was logged out", "QR code", "is kept"]),
    "conflict": ({"state": State.DEGRADED, "socket": "CONFLICT", "stream_mode": "CONFLICT"}, ["another window", "by itself"]),
    "away": (OUTAGE, ["out of reach", "42 s", "nothing to do"]),
    "cannot be loaded": (
        {"state": State.RECOVERING, "elsewhere_since": 940.0, "socket": None, "stream_mode": None, "account": None, "canary": "bare"},
        ["cannot be loaded", "60 s", "nothing to do"],
    ),
    "cannot be loaded, and why": (
        {"state": State.STARTING, "elsewhere_since": 940.0, "account": None, "unreachable": "the name x cannot be resolved"},
        ["cannot be loaded", "60 s", "the name x cannot be resolved", "by itself"],
    ),
    "away, and why": (OUTAGE | {"unreachable": "the proxy h refuses"}, ["out of reach", "42 s", "the proxy h refuses", "by itself"]),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_one_sentence_says_it_all(name: str) -> None:
    changes, words = SITUATIONS[name]
    (sentence,) = complaints(replace(HEALTHY, **changes), NOW, 120)
    assert [w for w in words if w not in sentence] == []


def test_each_has_words_of_its_own() -> None:
    said = {name: complaints(replace(HEALTHY, **changes), NOW, 120)[0] for name, (changes, _) in SITUATIONS.items()}
    assert len(set(said.values())) == len(said) - 1, "only the two that are logged out say the same"


def test_a_situation_hides_no_illness() -> None:
    ill = replace(HEALTHY, **OUTAGE, canary="chat.find is gone", canary_failed_since=990.0, expected_account="49152@c.us")
    assert len(complaints(ill, NOW, 120)) == 3
    mute = replace(HEALTHY, **OUTAGE, missed=1)
    assert not any("nothing to do" in c for c in complaints(mute, NOW, 120)), "what a mute page said is not believed"


def test_a_page_that_is_just_being_loaded_is_not_out_of_reach() -> None:
    fresh = replace(HEALTHY, state=State.STARTING, elsewhere_since=NOW - 1, socket=None)
    assert not any("out of reach" in c for c in complaints(fresh, NOW, 120))


def test_a_second_takeover_asks_for_the_other_window() -> None:
    changes, _ = SITUATIONS["conflict"]
    (sentence,) = complaints(replace(HEALTHY, **changes, takeovers=3), NOW, 120)
    assert "3 times" in sentence and "end that one" in sentence


def test_an_unknown_dialog_is_said_and_makes_nothing_ill() -> None:
    e = replace(HEALTHY, dialogs=("Rate us",))
    assert complaints(e, NOW, 120) == []
    (remark,) = remarks(e, NOW)
    assert "Rate us" in remark and "/api/sessions/shop/screenshot" in remark
    assert remarks(e, NOW + 60) == [] and remarks(None, NOW) == []


def test_the_evidence_survives_its_beat_file() -> None:
    e = replace(HEALTHY, dialogs=("Rate us",), takeovers=2, unlinked=True, elsewhere_since=3.0)
    assert Evidence.from_dict(e.as_dict() | {"dialogs": ["Rate us"], "of a later version": 1}) == e


def test_takeovers_become_rare_and_a_quarrel_is_forgotten() -> None:
    takeovers, at = Takeovers(), 0.0
    assert takeovers.due(at)
    pauses = []
    for _ in range(9):
        takeovers.done(at)
        began = at
        while not takeovers.due(at):
            at += 1.0
        pauses.append(at - began)
    assert pauses[:4] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE, 8 * FIRST_PAUSE] and max(pauses) == LONGEST_PAUSE
    assert takeovers.count(at) == 9
    assert takeovers.due(at + QUARREL) and takeovers.count(at + QUARREL) == 0
