"""What reaches WhatsApp's server, the sandbox: asked only for what is new, so that looking does not slow down what is looked at."""

from __future__ import annotations

from collections.abc import Callable

from gateway_rig import Gateway, until


class Arrivals:
    """Times (wall clock, by the sandbox) at which bodies arrived since this was made."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._seq = max((row["seq"] for row in gateway.rows()), default=0)
        self.at: dict[str, float] = {}

    def look(self) -> dict[str, float]:
        for row in self._gateway.sandbox.get(f"/control/messages?direction=out&after={self._seq}"):
            self._seq = max(self._seq, row["seq"])
            self.at.setdefault(row["body"], row["accepted_at"])
        return self.at

    def until(self, what: str, enough: Callable[[dict[str, float]], bool], seconds: float = 120.0) -> dict[str, float]:
        """Look until there is enough; AssertionError names what never came."""
        return until(what, lambda: self.at if enough(self.look()) else None, seconds)

    def count(self, number: int, seconds: float = 120.0) -> dict[str, float]:
        """Look until so many have arrived."""
        return self.until(f"{number} messages arrive", lambda at: len(at) >= number, seconds)
