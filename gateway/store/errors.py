"""What the store refuses, as types: the API turns each into one answer."""

from __future__ import annotations


class NotFound(Exception):
    """There is no such row; the text says of what kind."""


class Conflict(Exception):
    """The row's state does not allow this.

    `code` is a short stable word: `outcome_unknown` (it may have been sent already) or
    `message_state` (it is somewhere else by now); the text is a sentence for people.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class IdempotencyConflict(Exception):
    """The idempotency key was used for another body."""


class QueueLimit(Exception):
    """So many messages wait already that no more are accepted; `waiting` is how many."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} messages are waiting already")
        self.waiting = waiting


class AlreadyRunning(Exception):
    """A recovery of that session is running; `recovery` is its id."""

    def __init__(self, recovery: int) -> None:
        super().__init__(f"recovery {recovery} is running already")
        self.recovery = recovery


class Fenced(Exception):
    """A newer epoch of the session exists: this process has a successor and must exit."""
