"""The kill matrix: everything is killed and stopped at random moments and inside write transactions, and everything is counted.

Each line sends 200 messages at pacing 0 while one kind of process is hit several times. The seed is
printed; GATEWAY_CHAOS_SEED repeats a run's dice. GATEWAY_CHAOS_ALL=1 runs every line with doorbells
off too, not only some.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from gateway_rig import Gateway, until
from strikes import PROGRAMS, Family, Strike, ended, programs, spawned, strike

from gateway.client import Client, Refused, Unreachable

MESSAGES = 200
CHATS = 12
SEED = int(os.environ.get("GATEWAY_CHAOS_SEED", time.time_ns() % 1_000_000))
#: what is hit → the causes that its recoveries may have; any other cause is somebody innocent killed
CAUSES = {
    ("browser-default", "kill"): {"host_exited"},
    ("browser-default", "stop"): {"host_silent"},
    ("chromium-default", "kill"): {"chromium_exited"},
    ("chromium-default", "stop"): {"chromium_stopped", "page_unresponsive"},
    ("renderer", "kill"): {"page_crashed"},
    ("renderer", "stop"): {"page_unresponsive"},
}
#: These write to the database; half of their strikes come inside a transaction.
WRITERS = {"api", "browser-default", "watchdog"}
LINES = [(name, how) for name in ("api", "browser-default", "chromium-default", "renderer", "watchdog") for how in ("kill", "stop")]
#: With doorbells off in every run; the others with GATEWAY_CHAOS_ALL.
QUIET = LINES if os.environ.get("GATEWAY_CHAOS_ALL") else [("api", "kill"), ("browser-default", "kill"), ("chromium-default", "kill")]
STRIKES = {"kill": 4, "stop": 2}


class Load(threading.Thread):
    """A good client: sends all messages one by one, and repeats each with its key until there is an answer."""

    def __init__(self, base: str, dice: random.Random) -> None:
        super().__init__(daemon=True)
        self.ids: dict[str, str] = {}
        self.repeats = 0
        self.limit = 0  #: from this message on it goes slowly, so that the next fault still finds some under way
        self._api, self._dice = Client(base), dice

    def run(self) -> None:
        for n in range(MESSAGES):
            self.ids[f"chaos {n}"] = self._post(n)
            time.sleep(0.25 if n > self.limit else self._dice.uniform(0, 0.06))

    def _post(self, n: int) -> str:
        body = {"to": f"49155570{n % CHATS:02d}", "text": f"chaos {n}"}

        def attempt() -> str | None:
            try:
                return str(self._api.post("/api/messages", body, {"Idempotency-Key": f"chaos-{n}"}, timeout=5)["id"])
            except Refused as error:
                assert error.status >= 500, error
            except Unreachable:
                pass
            self.repeats += 1
            return None

        return until(f"message {n} is accepted", attempt, 60)  # type: ignore[return-value]


class Line:
    """One line of the matrix: a load, and faults while it runs."""

    def __init__(self, gateway: Gateway, dice: random.Random) -> None:
        self.gateway, self.dice = gateway, dice
        self.family = Family(gateway)
        self.load = Load(gateway.api.base, random.Random(dice.random()))
        self.strikes: list[Strike] = []
        self.before: dict[str, int] = {}  #: how many pids each program had used up before the first strike

    def run(self, hits: list[Callable[[], Strike | None]]) -> None:
        """Hit while messages go, and count everything."""
        self.gateway.link()
        self.before = {name: len(pids) - 1 for name, pids in spawned(self.gateway).items()}
        self.load.start()
        share = (MESSAGES - 20) // len(hits)
        for n, hit in enumerate(hits):
            mark = n * share + self.dice.randrange(share // 2)
            self.load.limit = mark + share // 2
            until("the load is so far", lambda mark=mark: len(self.load.ids) > mark or not self.load.is_alive(), 120)
            time.sleep(self.dice.uniform(0, 0.6))  # the moment of a fault is the experiment, not a condition to wait for
            self.family.note()
            if done := hit():
                self.strikes.append(done)
        self.load.limit = MESSAGES
        self.load.join(180)
        assert len(self.load.ids) == MESSAGES
        verdict = self.gateway.verdict(self.load.ids, 120)
        self.gateway.healthy(60)
        until("no recovery is open", lambda: all(r["status"] != "running" for r in self.recoveries()))
        rows = sorted((r["cause"], r["status"]) for r in self.recoveries())
        inside = sum(s.inside for s in self.strikes)
        print(
            f"seed {SEED}  strikes {len(self.strikes)}  inside a transaction {inside}  {verdict}  page_resends {verdict.page_resends}"
            f"  repeated by the client {self.load.repeats}  recoveries {rows}"
        )
        assert verdict.clean, verdict
        assert self.in_order()

    def pids(self) -> dict[str, list[int]]:
        """Of each program, the pid that it had when the line began, and all that came after."""
        return {name: pids[self.before[name] :] for name, pids in spawned(self.gateway).items()}

    def recoveries(self) -> list[dict[str, Any]]:
        return list(self.gateway.api.get("/api/recoveries")["recoveries"])

    def in_order(self) -> bool:
        """Each chat's rows arrived in the order in which they were accepted."""
        chats: dict[str, list[int]] = {}
        for row in self.gateway.rows():
            chats.setdefault(row["chat"], []).append(int(row["body"].split()[1]))
        assert len(chats) == CHATS
        return all(numbers == sorted(numbers) for numbers in chats.values())

    def nobody_innocent(self, name: str) -> None:
        """Of all processes that there were since the first strike, only those that were struck have ended."""
        struck = {s.pid for s in self.strikes}
        if name in PROGRAMS:  # one that was struck within a second of its start comes back after supervisord's back-off
            until("the last one struck has a successor", lambda: self.pids()[name][-1] not in struck, 30)
        for program, pids in self.pids().items():
            if program == name:
                assert set(pids[:-1]) == struck, f"{program}: struck {struck}, and those that ended: {pids[:-1]}"
            elif name == "renderer" and program == "chromium-default":
                assert 1 <= len(pids[:-1]) <= len(struck)
            else:
                assert len(pids) == 1, f"{program} was not hit, and had the pids {pids}"
            assert pids[-1] == programs(self.gateway)[program].pid

    def end(self) -> None:
        """Zero orphans: while it runs, and after its end."""
        self.family.check_alive()
        self.gateway.stop()
        self.family.check_gone()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "how", "doorbells"),
    [(*line, "true") for line in LINES] + [(*line, "false") for line in QUIET],
    ids=lambda value: {"true": "doorbells", "false": "no_doorbells"}.get(value, value),
)
def test_nothing_lost_nothing_twice(name: str, how: str, doorbells: str) -> None:
    dice = random.Random(f"{SEED} {name} {how} {doorbells}")
    number = signal.SIGKILL if how == "kill" else signal.SIGSTOP
    settings = {"GATEWAY_SEND_TIMEOUT": "20", "GATEWAY_DOORBELLS": doorbells}
    if name == "watchdog":
        settings["GATEWAY_HEALTH_INTERVAL"] = "0.3"  # else it hardly ever writes
    insides = [name in WRITERS and n % 2 == 1 for n in range(STRIKES[how])]
    dice.shuffle(insides)
    with Gateway(**settings) as gateway:
        line = Line(gateway, dice)

        def hit(inside: bool) -> Strike | None:
            done = strike(gateway, name, number, inside=inside)
            if done:
                until("the victim ends", lambda: ended(done.pid), 40)
            return done

        line.run([lambda inside=inside: hit(inside) for inside in insides])
        assert sum(s.inside for s in line.strikes) == sum(insides)
        assert name != "api" or line.load.repeats, "no request met the fault"
        line.nobody_innocent(name)
        causes = [r["cause"] for r in line.recoveries()]
        expected = CAUSES.get((name, how), set())
        assert set(causes) <= expected, "nobody innocent was killed"
        assert bool(expected) <= len(causes) <= len(line.strikes)
        line.end()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("doorbells", ["true", "false"] if os.environ.get("GATEWAY_CHAOS_ALL") else ["true"])
def test_supervisord_killed_and_started_again(doorbells: str) -> None:
    dice = random.Random(f"{SEED} supervisord {doorbells}")
    with Gateway(GATEWAY_SEND_TIMEOUT="20", GATEWAY_DOORBELLS=doorbells) as gateway:
        line = Line(gateway, dice)

        def hit() -> Strike:
            assert gateway.process is not None
            pid = gateway.process.pid
            gateway.process.kill()
            gateway.process.wait()
            gateway.start()  # as systemd would
            return Strike(pid, inside=False)

        line.run([hit, hit])
        assert line.recoveries() == [], "what died with supervisord is no illness"
        assert {name: len(pids) for name, pids in line.pids().items()} == dict.fromkeys(PROGRAMS, 3)
        line.end()


@pytest.mark.timeout(300)
def test_supervisord_stopped_and_continued() -> None:
    """Longer than every deadline for a silent process: it is nobody's illness, and nobody dies for it."""
    dice = random.Random(f"{SEED} supervisord stopped")
    with Gateway(GATEWAY_SEND_TIMEOUT="20") as gateway:
        line = Line(gateway, dice)

        def hit() -> Strike:
            assert gateway.process is not None
            gateway.process.send_signal(signal.SIGSTOP)
            time.sleep(18)  # the fault's length
            gateway.process.send_signal(signal.SIGCONT)
            return Strike(gateway.process.pid, inside=False)

        line.run([hit])
        assert line.recoveries() == []
        line.nobody_innocent("supervisord")
        line.end()
