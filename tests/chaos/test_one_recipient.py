"""One recipient under five spellings: one lane, everything arrives once, in order.

Three spellings are one by their form. That a LID, and a Brazilian number with its ninth digit, are
the same person is known only by WhatsApp's look-up.
"""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing

import pytest
from gateway_rig import Gateway, until

NUMBER, NINTH, LID = "551187654321", "5511987654321", "123456789012345@lid"
SPELLINGS = {"plain": NUMBER, "spaced": "+55 11 8765-4321", "wid": f"{NUMBER}@c.us", "ninth": f"+{NINTH}", "lid": LID}
ROUNDS = 6


def accept(gateway: Gateway, part: str) -> dict[str, str]:
    """Body → id of messages under all spellings, interleaved."""
    bodies = [(f"{part} {n} {name}", to) for n in range(ROUNDS) for name, to in SPELLINGS.items()]
    return {body: gateway.send(body, to) for body, to in bodies}


def arrived(gateway: Gateway, part: str) -> list[str]:
    """Bodies of the part in the order in which WhatsApp got them."""
    return [r["body"] for r in sorted(gateway.rows(), key=lambda r: r["seq"]) if r["body"].startswith(f"{part} ")]


def recipients(gateway: Gateway) -> set[int]:
    with closing(sqlite3.connect(f"file:{gateway.data}/gateway.db?mode=ro", uri=True)) as conn:
        return {row[0] for row in conn.execute("SELECT DISTINCT recipient FROM outbox")}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", [1, 2])
def test_five_spellings_are_one_lane(seed: int) -> None:
    dice = random.Random(seed)
    with Gateway() as gateway:
        gateway.sandbox.post("/control/contacts", {"number": NUMBER, "on_whatsapp": True, "lid": LID})
        gateway.sandbox.post("/control/contacts", {"number": NINTH, "on_whatsapp": True, "resolves_to": NUMBER})
        gateway.link()
        gateway.supervisorctl("stop", "chromium-default")
        delays = {wid: round(dice.uniform(0, 2), 2) for wid in (f"{NUMBER}@c.us", f"{NINTH}@c.us", LID)}
        for wid, delay in delays.items():
            gateway.sandbox.post("/control/faults", {"kind": "slow_lookup", "match": wid, "seconds_delay": delay, "count": 1})
        down = accept(gateway, "down")
        assert len(recipients(gateway)) == 3, "nobody can know yet"
        gateway.supervisorctl("start", "chromium-default")
        verdict = gateway.verdict(down)
        assert verdict.clean, verdict
        order = arrived(gateway, "down")
        for name in SPELLINGS:
            mine = [body for body in order if body.endswith(f" {name}")]
            assert mine == [body for body in down if body.endswith(f" {name}")], f"the order of {name}"
        assert len(recipients(gateway)) == 1, "one lane"

        after = accept(gateway, "after")
        verdict = gateway.verdict(after)
        assert verdict.clean, verdict
        assert arrived(gateway, "after") == list(after), "the order across all spellings"
        assert len(recipients(gateway)) == 1
        assert {r["chat"] for r in gateway.rows()} == {f"{NUMBER}@c.us"}
        until("the queue is empty", lambda: gateway.api.get("/api/health")["message_queue_length"] == 0)
        print(f"look-ups took {delays}; {verdict}")
