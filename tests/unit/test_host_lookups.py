"""What follows from the answers to look-ups: presence, absence that two agree on, failures that grow rarer and end."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from gateway.browser.bridge import Resolved
from gateway.browser.lookups import FAILURES, FIRST_PAUSE, LONGEST_PAUSE, SECOND_LOOK_UP, Verdicts
from gateway.browser.recent import Recent
from gateway.store.recipients import BELIEVED, Known

WHO, GROUP = "491@c.us", "120@g.us"
HERE = Resolved(True, remote=WHO)
ABSENT = Resolved(False, generation="g", drops=0, connected=True)


def test_presence_is_a_fact_of_one_minute_for_all_who_ask() -> None:
    v = Verdicts()
    assert v.fresh(WHO, 0.0) is None
    assert v.heard(WHO, HERE, 0.0) is Known.RESOLVED
    assert v.fresh(WHO, BELIEVED - 1) is HERE and v.fresh(WHO, BELIEVED) is None


def test_absence_needs_two_look_ups_of_one_unbroken_connection() -> None:
    v = Verdicts()
    again = v.heard(WHO, ABSENT, 0.0)
    assert SECOND_LOOK_UP < again < SECOND_LOOK_UP + 1
    assert 0 < v.heard(WHO, ABSENT, 10.0) < SECOND_LOOK_UP - 9, "another one asked meanwhile: too soon to agree"
    assert v.heard(WHO, replace(ABSENT, drops=1), 20.0) > SECOND_LOOK_UP, "the line was cut in between"
    assert v.heard(WHO, replace(ABSENT, drops=1), 37.0) is Known.NOT_ON_WHATSAPP


def test_an_earlier_verdict_is_confirmed_by_one_look_up_and_overruled_by_one() -> None:
    v = Verdicts()
    assert v.heard(WHO, ABSENT, 0.0, absent=True) is Known.NOT_ON_WHATSAPP
    assert v.heard(WHO, HERE, 1.0, absent=True) is Known.RESOLVED


def test_presence_takes_back_a_first_absence() -> None:
    v = Verdicts()
    v.heard(WHO, ABSENT, 0.0)
    v.heard(WHO, HERE, 5.0)
    assert v.heard(WHO, ABSENT, 20.0) > SECOND_LOOK_UP and v.fresh(WHO, 21.0) is None


def test_groups_have_reasons_of_their_own() -> None:
    for why, known in (("not_a_member", Known.NOT_A_MEMBER), ("group_unknown", Known.GROUP_UNKNOWN), (None, Known.GROUP_UNKNOWN)):
        assert Verdicts().heard(GROUP, replace(ABSENT, why=why), 0.0, absent=True) is known


def test_without_a_line_absence_is_a_failure() -> None:
    v = Verdicts()
    assert v.heard(WHO, replace(ABSENT, connected=False), 0.0, absent=True) == FIRST_PAUSE
    assert v.heard(WHO, replace(ABSENT, connected=False), 2.0, absent=True) == 2 * FIRST_PAUSE


def test_failures_grow_rarer_and_end_only_where_whatsapp_answers_others() -> None:
    v = Verdicts()
    pauses = [v.failed(WHO, float(n)) for n in range(2_000)]
    assert pauses[0] == FIRST_PAUSE and pauses[-1] == LONGEST_PAUSE and all(a <= b for a, b in pairwise(pauses))
    assert not v.ended(WHO) and v.doubtful(WHO), "WhatsApp may answer nobody: that is an outage, and ends nothing"
    v.heard("492@c.us", HERE, 3_000.0)
    assert not v.doubtful(WHO) and v.ended(WHO)
    assert v.failed(WHO, 3_001.0) == FIRST_PAUSE and not v.ended(WHO), "a next message begins anew"


def test_a_few_failures_end_nothing_and_an_answer_from_before_them_counts_for_nothing() -> None:
    v = Verdicts()
    v.answered(0.0)
    for n in range(FAILURES):
        assert not v.ended(WHO)
        v.failed(WHO, 10.0 + n)
    assert v.doubtful(WHO) and not v.ended(WHO)
    v.answered(100.0)
    assert v.ended(WHO)


def test_what_is_remembered_is_bounded() -> None:
    recent: Recent[int, int] = Recent(3)
    for n in range(10):
        recent[n] = n
    recent[7] = 70
    recent[10] = 10
    assert dict(recent) == {9: 9, 7: 70, 10: 10}
