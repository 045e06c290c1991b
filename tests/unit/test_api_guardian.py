"""When the API kills the watchdog."""

import pytest

from gateway.api.guardian import SILENCE, must_die
from gateway.beat import Beat
from gateway.supervision import Program, ProgramState

NOW = 1000.0


def program(pid: int | None = 7, age: float = 100.0) -> Program:
    return Program("watchdog", ProgramState.RUNNING if pid else ProgramState.STOPPED, pid, NOW - age if pid else None)


@pytest.mark.parametrize(
    ("beat", "of", "dies"),
    [
        (Beat(7, NOW - 1, {}), program(), False),
        (Beat(7, NOW - SILENCE, {}), program(), False),
        (Beat(7, NOW - SILENCE - 0.1, {}), program(), True),
        (None, program(), True),
        (Beat(6, NOW - 1, {}), program(), True),  # its predecessor's beat: it never beat itself
        (Beat(6, NOW - 60, {}), program(age=5), False),  # it has just been started
        (None, program(age=SILENCE), False),
        (Beat(7, NOW - 60, {}), program(pid=None), False),  # stopped: the operator's will
    ],
)
def test_silent_for_15_seconds_and_no_sooner(beat: Beat | None, of: Program, dies: bool) -> None:
    assert must_die(beat, of, NOW) is dies
