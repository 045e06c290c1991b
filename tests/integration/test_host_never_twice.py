"""The gaps in which naive gateways send twice, or lose: each id has one call, whatever died in between."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from host_rig import HOST, SESSION, HostRig, until

from gateway.beat import boot_time
from gateway.browser.reconcile import SYNCED
from gateway.message import State, Unconfirmed
from gateway.session import State as SessionState
from gateway.session import hangs
from gateway.store import lanes, outbox, sessions

#: A host that never makes the call that follows its claim.
STOPS_BEFORE_THE_CALL = f"""
import asyncio
from gateway.browser.bridge import Bridge
async def send(self, *args, **options):
    await asyncio.Event().wait()
Bridge.send = send
{HOST}
"""
#: A host whose Chromium is killed between its first claim and the call.
CHROMIUM_DIES_BEFORE_THE_CALL = f"""
import asyncio, os, signal
from gateway.browser.bridge import Bridge
call = Bridge.send
async def send(self, *args, **options):
    if Bridge.send is send:
        Bridge.send = call
        os.killpg(self.page.endpoint.launch.pid, signal.SIGKILL)
        while self.page._session._connection is not None:
            await asyncio.sleep(0.001)
    return await call(self, *args, **options)
Bridge.send = send
{HOST}
"""


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[HostRig]:
    async with HostRig(tmp_path, call_timeout=1.0, send_timeout=60.0) as one:
        yield one


async def ready_in_a_new_document(rig: HostRig, old: str | None) -> float:
    """Wait until the session is ready in another document than `old`; wall clock."""

    async def question() -> bool:
        row = await rig.session()
        return row.generation != old and row.state is SessionState.READY

    await until("the session is ready in a new document", question)
    return time.time()


async def claimed(rig: HostRig, id: str) -> None:
    await rig.reached(id, State.SENDING)


async def test_a_host_killed_between_claim_and_call(rig: HostRig) -> None:
    await rig.linked()
    await rig.kill_host()
    await rig.start_host(STOPS_BEFORE_THE_CALL)
    id = await rig.accept("4915550001", "claimed, never called")
    await claimed(rig, id)
    await rig.kill_host()
    await rig.start_host()
    await rig.sent(id)
    (row,) = await rig.truth()
    assert (row["calls"], row["stanzas"]) == (1, 1)
    view = await rig.message(id)
    assert [a.outcome for a in view.attempts] == ["not_sent", "sent"]
    assert len({a.key for a in view.attempts}) == 1, "the same id, as it was never handed over"


async def test_a_slow_call_given_up_on_is_not_made_again(rig: HostRig) -> None:
    await rig.linked()
    await rig.sent(await rig.accept("4915550001", "the chat is known now"))
    await rig.fault("slow_chat_lookup", seconds_delay=2.5, count=1)
    id = await rig.accept("4915550001", "slow")
    view = await rig.reached(id, State.UNCONFIRMED)
    assert view.attempts[-1].code == "deadline"
    await rig.sent(id)
    assert not await rig.twice()
    assert len((await rig.message(id)).attempts) == 1


async def test_a_slow_call_whose_host_is_killed_is_not_made_again(rig: HostRig) -> None:
    await rig.linked()
    await rig.sent(await rig.accept("4915550001", "the chat is known now"))
    await rig.fault("slow_chat_lookup", seconds_delay=2.5, count=1)
    id = await rig.accept("4915550001", "slow, and its host dies")
    await claimed(rig, id)
    await asyncio.sleep(0.3)  # the call is on its way; nothing outside the page could tell more
    await rig.kill_host()
    await rig.start_host()
    await rig.sent(id)
    assert not await rig.twice()


async def test_a_call_sent_to_a_stopped_chromium(rig: HostRig) -> None:
    """It is carried out when Chromium goes on, though its host gave it up and was killed."""
    await rig.linked()
    await rig.sent(await rig.accept("4915550001", "the chat is known now"))
    rig.signal_chromium(signal.SIGSTOP)
    id = await rig.accept("4915550001", "to the sleeping")
    await rig.reached(id, State.UNCONFIRMED, State.SENDING)
    await rig.reached(id, State.UNCONFIRMED)
    await rig.kill_host()
    await rig.start_host()
    await asyncio.sleep(0.5)
    rig.signal_chromium(signal.SIGCONT)
    await rig.sent(id, seconds=40)
    assert not await rig.twice()


async def test_all_of_it_at_once(rig: HostRig) -> None:
    """Slow look-ups past the deadline, Chromium stopped and continued, its host killed meanwhile, under a stream of messages."""
    await rig.linked()
    await rig.fault("slow_chat_lookup", seconds_delay=2.0, seconds=6.0)
    ids = await rig.accept_many([(f"49155500{n % 8:02d}", f"storm {n}") for n in range(24)])
    await asyncio.sleep(1.5)
    rig.signal_chromium(signal.SIGSTOP)
    await rig.kill_host()
    await rig.start_host()
    await asyncio.sleep(1.0)
    rig.signal_chromium(signal.SIGCONT)
    await rig.sent(*ids, seconds=90)
    rows = await rig.truth()
    assert sorted(r["body"] for r in rows) == sorted(f"storm {n}" for n in range(24))
    assert not await rig.twice()


async def test_an_ack_withheld_for_good(tmp_path: Path) -> None:
    async with HostRig(tmp_path, send_timeout=2.0) as rig:
        await rig.linked()
        fault = await rig.fault("no_ack", match="withheld")
        id = await rig.accept("4915550001", "withheld")
        await rig.reached(id, State.UNCONFIRMED)
        (row,) = await rig.truth()
        assert row["calls"] == 1
        await rig.heal(fault)
        generation = (await rig.session()).generation
        await rig.order("reload_page")
        await rig.sent(id)
        (row,) = await rig.truth()
        assert (row["calls"], row["page_resends"]) == (1, 1)
        await until("the new document is attended", lambda: _generation_other_than(rig, generation))


async def test_a_hand_over_that_hangs_in_the_page_is_evidence_and_certain_not_to_be_sent(tmp_path: Path) -> None:
    async with HostRig(tmp_path, send_timeout=2.0, call_timeout=1.0) as rig:
        await rig.linked()
        await rig.sent(await rig.accept("4915550001", "the chat is known now"))
        fault = await rig.fault("slow_chat_lookup", seconds_delay=600.0, match="4915550001")
        id = await rig.accept("4915550001", "stuck")
        await rig.reached(id, State.UNCONFIRMED)  # the host has given up on the call; the page has not yet
        await until("the evidence tells", lambda: _hangs(rig))
        await until("it is certain", lambda: _first_outcome(rig, id, "not_sent"))
        await rig.sent(await rig.accept("4915550002", "others go on"))
        await rig.heal(fault)
        await rig.sent(id)
        assert not await rig.twice()


async def _first_outcome(rig: HostRig, id: str, outcome: str) -> bool:
    return (await rig.message(id)).attempts[0].outcome == outcome


async def _hangs(rig: HostRig) -> bool:
    evidence = rig.evidence()
    return evidence is not None and hangs(evidence, boot_time(), 2.0)


async def test_unacked_in_two_generations_is_given_up_and_its_chat_goes_on(tmp_path: Path) -> None:
    async with HostRig(tmp_path, send_timeout=2.0) as rig:
        await rig.linked()
        await rig.fault("no_ack", match="never")
        first = await rig.accept("4915550001", "never acked")
        second = await rig.accept("4915550001", "after it")
        await rig.reached(first, State.UNCONFIRMED)
        assert (await rig.message(second)).state is State.QUEUED
        # only once its send timeout in this document is counted does the next one count as the second
        await asyncio.sleep(3.5)
        await rig.order("reload_page")
        view = await rig.reached(first, State.FAILED)
        assert view.reason == "outcome_unknown"
        await rig.sent(second)


async def test_a_group_message_is_found_again_under_our_lid(rig: HostRig) -> None:
    group = "120363000000000001@g.us"
    await rig.control("groups", id=group, subject="Team", participants=["491700000001", "4915550001"])
    await rig.linked()
    await rig.sent(await rig.accept(group, "the group is known now"))
    await rig.fault("slow_ack", seconds_delay=1.5, count=1)
    id = await rig.accept(group, "to all")
    await until("it is at the server", lambda: _there(rig, "to all"))
    await rig.kill_host()
    await until("the page has the ack", lambda: _acked(rig, "to all"))
    await asyncio.sleep(0.3)
    await rig.kill_chromium()
    await rig.control("settings", group_participant="pn")
    await asyncio.gather(rig.start_chromium(), rig.start_host())
    await rig.sent(id)
    assert not await rig.twice()
    assert all(r["page_resends"] == 0 for r in await rig.truth())


async def test_an_accepted_duplicate_whose_chat_has_moved_is_sent_and_starves_nobody(tmp_path: Path) -> None:
    async with HostRig(tmp_path, send_interval=0.2) as rig:
        await rig.linked()
        await rig.sent(await rig.accept("4915550001", "the chat is known now"))
        generation = (await rig.session()).generation
        await rig.control("settings", lid_migration=True, stores_not_in_memory=True)
        await rig.order("reload_page")
        await ready_in_a_new_document(rig, generation)
        await rig.kill_host()
        id = await rig.accept("4915550001", "never handed over", priority=9)
        await rig.writer.run(_lose)
        await rig.writer.run(lambda conn: outbox.requeue(conn, id=id, accept_duplicate=True, now=time.time()))
        others = await rig.accept_many([(f"49155501{n:02d}", f"beside it {n}") for n in range(5)])
        await rig.start_host()
        await rig.sent(id, *others, seconds=15)
        view = await rig.message(id)
        assert [a.outcome for a in view.attempts] == ["lost", "not_sent", "sent"] and view.attempts[1].code == "remote_changed"
        assert not await rig.twice()


def _lose(conn: sqlite3.Connection) -> None:
    """A host claims the message that is due, hands nothing over, and its outcome becomes unknown."""
    now, session = time.time(), sessions.get(conn, SESSION)
    assert session is not None and session.incarnation is not None
    fence = sessions.attach_host(conn, name=SESSION, now=now)
    claim = outbox.claim(conn, fence, generation="gone", incarnation=session.incarnation, now=now)
    assert claim is not None
    outbox.sent_not(conn, fence, rowid=claim.rowid, attempt=claim.attempt, error=Unconfirmed("x"), due=now, now=now, max_attempts=9)
    assert outbox.reconciled(conn, fence, rowid=claim.rowid, attempt=claim.attempt, verdict="lost", now=now)


async def test_an_accepted_duplicate_that_the_page_has_under_our_other_name_is_not_sent_again(rig: HostRig) -> None:
    group = "120363000000000001@g.us"
    await rig.control("groups", id=group, subject="Team", participants=["491700000001", "4915550001"])
    await rig.linked()
    id = await rig.accept(group, "to all")
    await rig.sent(id)
    await rig.control("settings", group_participant="pn")
    generation = (await rig.session()).generation
    await rig.order("reload_page")
    await ready_in_a_new_document(rig, generation)
    await rig.kill_host()

    def doubt(conn: sqlite3.Connection) -> None:
        conn.execute("UPDATE outbox SET state = 0, uncertain = 1, resend = 1 WHERE public = ?", (id,))
        lanes.rebuild(conn)

    await rig.writer.run(doubt)
    await rig.start_host()
    await rig.sent(id)
    (row,) = await rig.truth()
    assert (row["calls"], row["stanzas"]) == (1, 1)


async def _generation_other_than(rig: HostRig, generation: str | None) -> bool:
    return (await rig.session()).generation != generation


async def _there(rig: HostRig, body: str) -> bool:
    return any(r["body"] == body for r in await rig.truth())


async def _acked(rig: HostRig, body: str) -> bool:
    return any(r["body"] == body and 1 in r["acks"] for r in await rig.truth())


async def test_chromium_killed_in_the_middle_of_a_stream(rig: HostRig) -> None:
    await rig.linked()
    ids = await rig.accept_many([(f"49155500{n % 10:02d}", f"stream {n}") for n in range(60)])

    async def some() -> bool:
        return len(await rig.truth()) >= 15

    await until("some are out", some)
    await rig.kill_chromium()
    await rig.start_chromium()
    await rig.sent(*ids, seconds=60)
    rows = await rig.truth()
    assert sorted(r["body"] for r in rows) == sorted(f"stream {n}" for n in range(60))
    assert not await rig.twice()


async def test_session_closed_is_in_the_record_and_survived(rig: HostRig) -> None:
    await rig.linked()
    await rig.kill_host()
    await rig.start_host(CHROMIUM_DIES_BEFORE_THE_CALL)
    await rig.ready()
    id = await rig.accept("4915550001", "into the void")
    assert rig.chromium is not None
    await rig.chromium.wait()
    await rig.start_chromium()
    await rig.sent(id, seconds=40)
    first = (await rig.message(id)).attempts[0]
    assert first.error is not None
    assert "Session closed. Most likely the page has been closed." in first.error
    assert not await rig.twice()


@pytest.mark.parametrize("recipient", ["4915550001", "4915550009"], ids=["known chat", "new chat"])
async def test_a_page_that_finds_an_older_message_has_read_its_store_and_what_it_lacks_goes_at_once(rig: HostRig, recipient: str) -> None:
    await rig.linked()
    await rig.sent(await rig.accept("4915550001", "the witness"))
    await rig.kill_host()
    await rig.start_host(CHROMIUM_DIES_BEFORE_THE_CALL)
    await rig.ready()
    generation = (await rig.session()).generation
    id = await rig.accept(recipient, "never handed over")
    assert rig.chromium is not None
    await rig.chromium.wait()
    await rig.start_chromium()
    ready = await ready_in_a_new_document(rig, generation)
    await rig.sent(id)
    again = (await rig.message(id)).attempts[1].claimed_at
    assert again - ready < SYNCED - 1, "it was not waited for that the page had been synced for 5 s"
    assert not await rig.twice()


async def test_a_page_that_has_not_read_its_store_yet_proves_nothing(rig: HostRig) -> None:
    await rig.linked()
    await rig.sent(await rig.accept("4915550001", "the witness"))
    await rig.control("settings", late_stores=3.0)
    await rig.fault("no_ack", count=1, match="stored")
    id = await rig.accept("4915550001", "stored, and not acked")
    generation = (await rig.session()).generation

    async def stanzas() -> int:
        return sum(r["stanzas"] for r in await rig.truth() if r["body"] == "stored, and not acked")

    async def again() -> bool:
        return await stanzas() == 2

    await until("it has arrived", stanzas)
    await rig.kill_chromium()
    await rig.start_chromium()
    await ready_in_a_new_document(rig, generation)
    await until("the page has sent it once more", again)
    view = await rig.message(id)
    assert view.state in (State.SENDING, State.UNCONFIRMED), "neither lost nor to be sent anew: the page has it"
    assert not await rig.twice()


async def test_a_successor_takes_the_living_page_over_without_a_reload(rig: HostRig) -> None:
    await rig.linked()
    await rig.sent(await rig.accept("4915550001", "the chat is known now"))
    generation = (await rig.session()).generation
    took = []
    for n in range(10):
        await rig.kill_host()
        begun = time.monotonic()
        await rig.start_host()
        await rig.sent(await rig.accept("4915550001", f"takeover {n}"))
        took.append(time.monotonic() - begun)
    print("seconds from the kill to the ack:", sorted(round(t, 2) for t in took))
    assert sorted(took)[5] <= 1.5
    assert (await rig.session()).generation == generation
    assert not await rig.twice()
