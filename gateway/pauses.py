"""Pauses that grow with each failure in a row. Pure."""

from __future__ import annotations

#: 2.0 ** 1024 raises OverflowError; every pause in use has reached its largest value long before this exponent.
_MOST_DOUBLINGS = 60


def doubling(failures: int, *, first: float, largest: float) -> float:
    """Seconds to wait after `failures` failures in a row (1, 2, …): first · 2^(failures − 1), at most `largest`.

    Any count of failures has an answer; 0 and less count as 1.
    """
    return min(largest, first * 2.0 ** min(max(0, failures - 1), _MOST_DOUBLINGS))
