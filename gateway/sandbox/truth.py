"""The ground truth: every message that reached the server, with how often and why its stanza came."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

#: Rows kept in each direction; the oldest are dropped, and counted.
MOST_ROWS = 100_000


@dataclass(slots=True)
class Row:
    """A message. `id` is the stanza's own id (hex), `key` the page's full key of it."""

    seq: int
    id: str
    key: str
    direction: str
    account: str
    device: int
    chat: str  #: as the page addressed it: …@c.us, …@lid or …@g.us
    number: str | None  #: the person behind `chat`
    type: str
    body: str | None
    accepted_at: float
    author: str | None = None
    caption: str | None = None
    media_sha256: str | None = None
    mimetype: str | None = None
    filename: str | None = None
    quoted: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    reactions: list[str] = field(default_factory=list)
    stanzas: int = 0
    calls: int = 0  #: stanzas that a call of addAndSendMsgToChat put on the line
    page_resends: int = 0  #: stanzas that the page sent again by itself
    acks: list[int] = field(default_factory=list)
    version: int = 0  #: of the last change

    def shown(self) -> dict[str, Any]:
        """Plain values for JSON, without what is empty."""
        return {k: v for k, v in asdict(self).items() if v is not None and (v != [] or k == "acks") and v != {}}


class Truth:
    """Rows by direction and id, in order of arrival, and counters over all that ever came."""

    def __init__(self, next_version: Callable[[], int]) -> None:
        self._next_version = next_version
        self.out: OrderedDict[str, Row] = OrderedDict()
        self.incoming: OrderedDict[str, Row] = OrderedDict()
        self._changes: OrderedDict[tuple[str, str], Row] = OrderedDict()
        self.seq = 0
        self.counts: Counter[str] = Counter()
        self.by_type: Counter[str] = Counter()

    def rows(self, direction: str) -> OrderedDict[str, Row]:
        """All rows of `out` or `in`."""
        return self.out if direction == "out" else self.incoming

    def add(self, **values: Any) -> Row:
        """A new row; `seq` and `accepted_at` are set here."""
        self.seq += 1
        row = Row(seq=self.seq, accepted_at=time.time(), **values)
        rows = self.rows(row.direction)
        rows[row.id] = row
        if row.direction == "out":
            self.counts["ids"] += 1
            self.by_type[row.type] += 1
        self.touch(row)
        if len(rows) > MOST_ROWS:
            _, old = rows.popitem(last=False)
            self._changes.pop((old.direction, old.id), None)
            self.counts["dropped"] += 1
        return row

    def count_stanza(self, row: Row, *, resend: bool) -> None:
        """One more arrival of that id, by its cause."""
        cause = "page_resends" if resend else "calls"
        row.stanzas += 1
        setattr(row, cause, getattr(row, cause) + 1)
        self.counts["stanzas"] += 1
        self.counts[cause] += 1
        self.touch(row)

    def touch(self, row: Row) -> None:
        """The row has changed: whoever watches sees it again."""
        row.version = self._next_version()
        place = (row.direction, row.id)
        self._changes[place] = row
        self._changes.move_to_end(place)

    def changed_since(self, version: int) -> Iterator[Row]:
        """Rows changed after `version`, latest change first."""
        for row in reversed(self._changes.values()):
            if row.version <= version:
                return
            yield row

    def find(self, id: str) -> Row | None:
        """An outgoing row by its hex id or by a full key (`true_<chat>_<hex>[_<participant>]`)."""
        parts = id.split("_")
        return self.out.get(parts[2] if len(parts) >= 3 else id)

    def summary(self) -> dict[str, Any]:
        """The counters as `GET /control/summary` shows them."""
        names = ("ids", "stanzas", "calls", "page_resends", "nacked", "foreign_requests", "dropped")
        return {name: self.counts[name] for name in names} | {"by_type": dict(self.by_type)}
