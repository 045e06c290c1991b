"""The words of a verdict (demo, kill matrix): what became of every accepted message. Pure.

Test bodies are unique, so a body names a message on both sides: at the sandbox's server, which
counts what arrived, and in the API, which says what it believes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_SENT = frozenset({"sent", "delivered", "read", "played"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """Counts; `accepted` = `delivered` + `failed` + `unknown` + `lost`."""

    accepted: int
    delivered: int  #: a row at the server, and sent or later in the API
    failed: int  #: final in the API, with a reason
    unknown: int  #: outcome_unknown, final in the API
    lost: int  #: all others, also what the API calls sent and the server does not have
    twice: int  #: bodies with more than one id + ids with more than one call
    contradictions: int  #: failed in the API, and the server has a row
    page_resends: int  #: stanzas that the page sent again by itself; they count for nothing

    @property
    def clean(self) -> bool:
        """Everything arrived, once."""
        return self.delivered == self.accepted and not self.twice and not self.contradictions

    def __str__(self) -> str:
        words = f"accepted {self.accepted}  delivered {self.delivered}"
        for name, count in (("failed", self.failed), ("unknown", self.unknown), ("contradictions", self.contradictions)):
            if count:
                words += f"  {name} {count}"
        return f"{words}  lost {self.lost}  twice {self.twice}"


def judge(accepted: Mapping[str, Mapping[str, Any]], rows: Iterable[Mapping[str, Any]]) -> Verdict:
    """Weigh what the API says against the ground truth.

    `accepted`: body → the API's view of it (`status`, `reason`). `rows`: the sandbox's outgoing
    rows (`id`, `body`, `calls`, `page_resends`).
    """
    at_server: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("body") in accepted:
            at_server.setdefault(row["body"], []).append(row)
    delivered = failed = unknown = lost = contradictions = 0
    for body, view in accepted.items():
        arrived = body in at_server
        if view["status"] in _SENT and arrived:
            delivered += 1
        elif view["status"] == "failed":
            is_unknown = view.get("reason") == "outcome_unknown"
            unknown += is_unknown
            failed += not is_unknown
            contradictions += arrived and not is_unknown
        else:
            lost += 1
    several = [row for rows_ in at_server.values() for row in rows_]
    twice = sum(len(rows_) - 1 for rows_ in at_server.values()) + sum(row["calls"] > 1 for row in several)
    return Verdict(len(accepted), delivered, failed, unknown, lost, twice, contradictions, sum(row["page_resends"] for row in several))
