"""The outbox: the whole vocabulary of what can be done with a message, gathered from where it is written.

accepting.py takes messages in; claims.py leads them from the claim to the outcome; reconciling.py
says what is unknown; queue.py and holds.py are what people and time do; reading.py looks.
"""

from gateway.store.accepting import accept, repeated
from gateway.store.claims import acked, claim, nacked, older_epochs, overdue, placed, sent_not, spared
from gateway.store.errors import Conflict, Fenced, IdempotencyConflict, NotFound, QueueLimit
from gateway.store.handovers import recall
from gateway.store.holds import hold_restored, release, sort_queue, would_release
from gateway.store.model import (
    Accepted,
    AttemptView,
    Claim,
    Draft,
    MessageView,
    Overdue,
    Page,
    Pending,
    QueueStatus,
    Released,
    Transition,
    Unacked,
    Waits,
)
from gateway.store.queue import Cleared, cancel, clamp_backoff, clear, expire, requeue, would_clear
from gateway.store.reading import get, list_, next_due, queue_status, unacked, waits
from gateway.store.reconciling import deaths, reconciled, settled, to_reconcile
from gateway.store.timekeeping import set_right

__all__ = [
    "Accepted", "AttemptView", "Claim", "Cleared", "Conflict", "Draft", "Fenced", "IdempotencyConflict", "MessageView", "NotFound",
    "Overdue", "Page", "Pending", "QueueLimit", "QueueStatus", "Released", "Transition", "Unacked", "Waits",
    "accept", "acked", "cancel", "claim", "clamp_backoff", "clear", "deaths", "expire", "get", "hold_restored", "list_", "nacked",
    "next_due", "older_epochs", "overdue", "placed", "queue_status", "recall", "reconciled", "release", "repeated", "requeue", "sent_not",
    "set_right", "settled", "sort_queue", "spared", "to_reconcile", "unacked", "waits", "would_clear", "would_release",
]  # fmt: skip
