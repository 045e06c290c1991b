"""What the monitor knows at one moment, in the API's own words. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.times import rfc3339

#: Exit statuses for scripts.
HEALTHY, NOT_HEALTHY, NOT_REACHABLE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`health`, `queue`, `recoveries` and `events` have the shapes of the API's answers; times are wall-clock seconds.

    While the API cannot be asked, `problem` says so in a sentence, `health` is what the processes' signs
    of life tell, and the others are as the API told them last, at `known_at` (None: never).
    """

    at: float
    address: str
    health: dict[str, Any]
    problem: str | None = None
    queue: dict[str, Any] | None = None
    recoveries: list[dict[str, Any]] = field(default_factory=list)  #: newest first
    events: list[dict[str, Any]] = field(default_factory=list)  #: newest last
    known_at: float | None = None

    @property
    def exit_status(self) -> int:
        """0 healthy, 1 not healthy, 2 the gateway cannot be asked."""
        if self.problem is not None:
            return NOT_REACHABLE
        return HEALTHY if self.health["status"] == "healthy" else NOT_HEALTHY

    @property
    def running(self) -> list[dict[str, Any]]:
        """Recoveries under way."""
        return list(self.health["recovery"]["running"])

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        known_at = None if self.known_at is None else rfc3339(self.known_at)
        return {
            **asdict(self), "at": rfc3339(self.at), "known_at": known_at,
            "reachable": self.problem is None, "exit_status": self.exit_status,
        }  # fmt: skip
