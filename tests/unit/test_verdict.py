"""The words of a verdict, each by an example."""

from __future__ import annotations

from typing import Any

from gateway.verdict import judge


def row(body: str, id_: str = "A", calls: int = 1, page_resends: int = 0) -> dict[str, Any]:
    return {"id": id_, "body": body, "calls": calls, "page_resends": page_resends}


def test_delivered_needs_both_sides() -> None:
    verdict = judge({"a": {"status": "read"}}, [row("a")])
    assert verdict.clean and str(verdict) == "accepted 1  delivered 1  lost 0  twice 0"


def test_sent_in_the_api_alone_is_lost() -> None:
    assert judge({"a": {"status": "sent"}}, []).lost == 1


def test_at_the_server_alone_is_lost_too_for_the_api_does_not_know_it() -> None:
    assert judge({"a": {"status": "queued"}}, [row("a")]).lost == 1


def test_two_ids_of_one_body_are_twice() -> None:
    assert judge({"a": {"status": "sent"}}, [row("a", "A"), row("a", "B")]).twice == 1


def test_two_calls_of_one_id_are_twice_and_the_pages_own_resends_are_not() -> None:
    assert judge({"a": {"status": "sent"}}, [row("a", calls=2)]).twice == 1
    verdict = judge({"a": {"status": "sent"}}, [row("a", page_resends=3)])
    assert verdict.twice == 0 and verdict.page_resends == 3 and verdict.clean


def test_an_unknown_outcome_is_said_and_a_failed_one_with_a_row_contradicts() -> None:
    unknown = judge({"a": {"status": "failed", "reason": "outcome_unknown"}}, [row("a")])
    assert (unknown.unknown, unknown.contradictions, unknown.lost) == (1, 0, 0)
    assert judge({"a": {"status": "failed", "reason": "rejected"}}, [row("a")]).contradictions == 1


def test_a_strangers_message_counts_for_nothing() -> None:
    assert judge({"a": {"status": "sent"}}, [row("a"), row("b", "B", calls=5)]).clean
