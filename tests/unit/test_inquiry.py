"""When WhatsApp's server is asked: in doubt alone, and rarely."""

from __future__ import annotations

from gateway import pacing
from gateway.browser.inquiry import EACH, Pace
from gateway.browser.standing import Standing


def standing(**known: float) -> Standing:
    one = Standing(session="default", epoch=1, since=0.0, pacer=pacing.Pacer(1.0))
    for name, value in known.items():
        setattr(one, name, value)
    return one


def test_doubt_begins_at_half_a_send_timeout_and_ends_with_an_ack() -> None:
    assert not standing().in_doubt(1000.0, 120)
    assert not standing(oldest_unacked_at=945.0).in_doubt(1000.0, 120)
    assert standing(oldest_unacked_at=935.0, last_ack_at=900.0).in_doubt(1000.0, 120)
    assert not standing(oldest_unacked_at=935.0, last_ack_at=940.0).in_doubt(1000.0, 120)


def test_a_message_given_up_is_a_doubt_until_the_server_answers_once() -> None:
    one = standing(given_up_at=900.0, server_answered_at=820.0)
    assert one.in_doubt(1000.0, 120) and one.evidence().given_up
    one.server_answered_at = 901.0
    assert not one.in_doubt(1000.0, 120) and not one.evidence().given_up


def test_giving_up_raises_no_new_doubt_where_the_server_has_vouched() -> None:
    one = standing(given_up_at=900.0, server_answered_at=875.0)
    assert not one.in_doubt(901.0, 120) and not one.evidence().given_up
    one.server_silent_at = 890.0
    assert one.in_doubt(901.0, 120) and one.evidence().given_up


def test_questions_stay_rare_whatever_comes_back() -> None:
    pace, now, asked = Pace(), 0.0, []
    while now < 600.0:
        if pace.due(now):
            asked.append(now)
            pace.unanswered(now)
        now += 1.0
    assert asked[:4] == [0.0, 5.0, 15.0, 35.0] and len(asked) <= 3 + 600 / EACH
    pace.answered(now)
    assert not pace.due(now + EACH - 1) and pace.due(now + EACH)
