"""How much is measured: all of it, or only so much that the code has run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Scale:
    quick: bool = False

    def pick(self, full: T, quick: T) -> T:
        return quick if self.quick else full
