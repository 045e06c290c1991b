"""The one thing that the doctor changes, and only when told to."""

from __future__ import annotations

from contextlib import closing

from gateway.beat import boot_time
from gateway.settings import Settings
from gateway.store import lanes
from gateway.store.database import Full, Locked, SchemaTooNew, open_database, transaction

#: Seconds to wait for the write lock.
DEADLINE = 30.0


class NotMended(Exception):
    """Nothing was changed; the text says why."""


def rebuild(settings: Settings) -> int:
    """Make all lanes anew in one transaction; returns how many there are. Raises NotMended."""
    if not settings.database.exists():
        raise NotMended(f"there is no database at {settings.database}: set GATEWAY_DATA as the gateway has it")
    try:
        with closing(open_database(settings.database)) as conn, transaction(conn, boot_time() + DEADLINE):
            return lanes.rebuild(conn)
    except (Locked, Full, SchemaTooNew) as error:
        raise NotMended(str(error)) from None
