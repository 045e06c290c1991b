"""The API watches the watchdog: silent for 15 s, it is killed, and supervisord starts it anew.

It needs neither the database nor a doorbell, so it works when those are what is stuck.
"""

from __future__ import annotations

import asyncio

import structlog

from gateway import beat
from gateway.beat import Beat, Stalls, boot_time
from gateway.settings import Settings
from gateway.store.database import has_room_to_claim
from gateway.supervision import Fault, Program, Supervisor, Unreachable

log = structlog.get_logger()

WATCHDOG = "watchdog"
#: Seconds of silence: three times what the watchdog grants the others, as its death leaves nobody in charge.
SILENCE = 15.0
#: Seconds between two looks.
INTERVAL = 1.0
#: Seconds between two looks from which on we stood still ourselves (a question to supervisord may take some): after that the
#: watchdog has all of SILENCE to beat again.
GAP = 5.0


def must_die(found: Beat | None, program: Program, now: float) -> bool:
    """Whether this process of the watchdog gave no sign of life for 15 s, since its start at the earliest. `now` is boot clock."""
    if program.pid is None or program.since is None or now - program.since <= SILENCE:
        return False
    if found is None or found.pid != program.pid:
        return True
    return found.age(now) > SILENCE


class Guardian:
    """run() it in a task."""

    def __init__(self, settings: Settings, supervisor: Supervisor | None = None) -> None:
        self._beat = settings.beat(WATCHDOG)
        self._supervisor = supervisor or Supervisor(settings.supervisor_socket)
        self._stalls = Stalls(GAP)

    async def run(self) -> None:
        """Look each second, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(INTERVAL)

    async def look(self) -> bool:
        """Kill the watchdog if it must die. Returns whether it was killed. A supervisord that is not there is no error."""
        if not self._silent():
            return False
        if beat.read(self._beat) is None and not has_room_to_claim(self._beat.parent):
            return False  # it waits for the room that its beat file needs
        try:
            program = await self._supervisor.program(WATCHDOG)
            # the answer took time, perhaps a suspend: what is judged is read anew
            if program.pid is None or not self._silent() or not must_die(beat.read(self._beat), program, boot_time()):
                return False
            log.error("The watchdog is silent and is killed", pid=program.pid, alert=True)
            return await self._supervisor.kill(WATCHDOG, program.pid)
        except (Unreachable, Fault, TimeoutError) as error:
            log.debug("The watchdog cannot be judged", reason=str(error))
            return False

    def _silent(self) -> bool:
        """Whether the watchdog has been silent for 15 s in which we ran. `now` comes first: a stop between the two ages no beat."""
        now = boot_time()
        self._stalls.look(now)
        if now - self._stalls.woke_at <= SILENCE:
            return False
        found = beat.read(self._beat)
        return found is None or found.age(now) > SILENCE
