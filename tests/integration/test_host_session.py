"""The host's session: linking, unlinking, outages, restrictions, commands, a locked database, a successor."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from host_rig import SESSION, HostRig, until

from gateway import beat
from gateway.browser.host import FENCED
from gateway.message import State
from gateway.session import complaints
from gateway.store import sessions
from gateway.store.database import begin, open_database


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[HostRig]:
    async with HostRig(tmp_path, call_timeout=5.0) as one:
        yield one


async def state(rig: HostRig, wanted: str) -> None:
    async def question() -> bool:
        return (await rig.session()).state == wanted

    await until(f"the session is {wanted}", question)


async def healthy(rig: HostRig) -> None:
    async def question() -> bool:
        return not complaints(rig.evidence(), beat.boot_time(), 120.0)

    await until("the evidence is without complaint", question)


async def complains(rig: HostRig, sentence: str) -> bool:
    return any(sentence in c for c in complaints(rig.evidence(), beat.boot_time(), 120.0))


async def test_from_the_qr_code_to_healthy_evidence(rig: HostRig) -> None:
    await asyncio.gather(rig.start_chromium(), rig.start_host())
    await state(rig, "awaiting_scan")
    answer = await rig.order("qr")
    assert len(answer.result["code"].split(",")) == 4
    await until("the evidence says so", lambda: complains(rig, "no phone is linked yet"))
    pairing, same = await asyncio.gather(*(rig.order("pairing_code", phone="491700000001") for _ in range(2)))
    assert len(pairing.result["code"]) == 8 and 170 < pairing.result["expires_at"] - time.time() <= 180
    other = await rig.order("pairing_code", phone="491700000002")
    assert other.error.startswith("pairing_code_of_another_number: a code for another number is valid until 20")
    again = await rig.order("pairing_code", phone="491700000001")
    assert pairing.result == same.result == again.result
    await rig.control("scan", code=pairing.result["code"])
    await rig.ready()
    await healthy(rig)
    evidence = rig.evidence()
    assert evidence is not None
    assert (evidence.account, evidence.expected_account) == ("491700000001@c.us", "491700000001@c.us")
    assert evidence.memory_bytes and evidence.memory_bytes > 50_000_000
    assert (await rig.order("qr")).error.startswith("already_linked: ")


async def test_unlinked_by_the_phone_the_queue_waits_and_goes_out_when_linked_again(rig: HostRig) -> None:
    await rig.linked()
    before = await rig.session()
    await rig.control("unlink")
    await state(rig, "awaiting_scan")
    assert (await rig.session()).account is None
    id = await rig.accept("4915550001", "while unlinked")
    # and as if another number had been linked last: its messages, more than one batch of them, are held while others are accepted
    others = ", ".join(f"{column} = '4911@c.us'" for column in ("last_account", "first_account", "queue_sorted_for"))
    # and as if the clock had been an hour ahead when WhatsApp acked last
    others += f", last_sent_at = {time.time() + 3600}, last_accepted = {time.time() + 3601}"
    await rig.writer.run(lambda conn: conn.execute(f"UPDATE session SET {others}").rowcount)
    await rig.accept_many([("4915550001", f"another number's {n}") for n in range(1000)])
    await rig.control("scan")
    await rig.sent(id)
    assert (await rig.queue_status()).held == {"other_account": 1000}
    assert len(await rig.truth()) == 1 and (await rig.session()).sorted

    async def right() -> bool:
        return not (await rig.session()).ahead(time.time())

    await until("what lay in the future is brought back", right, 10)
    after = await rig.session()
    assert after.incarnation != before.incarnation
    kinds = await rig.reader.run(lambda conn: [r[0] for r in conn.execute("SELECT kind FROM event WHERE kind LIKE 'session.%'")])
    assert "session.logged_out" in kinds and "session.unlinked" in kinds


async def test_logout_by_command(rig: HostRig) -> None:
    await rig.linked()
    assert (await rig.order("logout")).error is None
    await state(rig, "awaiting_scan")
    (account,) = (await rig.ask("state"))["accounts"]
    assert not account["linked"]


async def test_an_account_that_must_confirm_by_passkey(rig: HostRig) -> None:
    await rig.control("settings", passkey_after_scan=True)
    await asyncio.gather(rig.start_chromium(), rig.start_host())
    await state(rig, "awaiting_scan")
    await until("a QR code is on show", rig._on_show)
    await rig.control("scan")
    await state(rig, "awaiting_passkey")
    await rig.kill_host()
    await rig.start_host()

    async def seen_anew() -> bool:
        e = rig.evidence()
        return e is not None and e.epoch > 1 and e.state == "awaiting_passkey"

    await until("the next host says the same: a page that were only starting would be reloaded", seen_anew)


async def test_an_outage_kills_nothing_and_loses_nothing(rig: HostRig) -> None:
    await rig.linked()
    await rig.sent(await rig.accept("4915550001", "before"))
    await rig.sandbox.close_doors()
    await state(rig, "degraded")
    id = await rig.accept("4915550001", "meanwhile")
    fresh = await rig.accept("4915550077", "to someone never looked up")
    await asyncio.sleep(3)
    evidence = rig.evidence()
    assert evidence is not None and evidence.connected and evidence.socket != "CONNECTED" and evidence.missed == 0
    await rig.sandbox.open_doors()
    await rig.sent(id, fresh, seconds=60)
    assert rig.host is not None and rig.host.returncode is None
    assert rig.chromium is not None and rig.chromium.returncode is None
    assert not await rig.twice()


async def test_who_is_not_there_is_asked_for_twice_and_again_once_that_may_have_changed(rig: HostRig) -> None:
    strange, ours, lost = "120363999999999991@g.us", "120363999999999992@g.us", "120363999999999993@g.us"
    await rig.control("contacts", number="4915559999", on_whatsapp=False)
    await rig.control("groups", id=ours, subject="without us", participants=["4915550001"], with_us=False)
    await rig.control("groups", id=lost, subject="with us", participants=["4915550001"])
    await rig.linked()
    await rig.control("groups", id=lost, subject="we were taken out", participants=["4915550001"], with_us=False)
    begun = time.monotonic()
    ids = await rig.accept_many([(to, f"to {to}") for to in ("4915559999", strange, ours, lost)])
    other = await rig.accept("4915550001", "to somebody")
    await rig.sent(other)
    views = [await rig.reached(id, State.FAILED) for id in ids]
    assert [view.reason for view in views] == ["recipient_not_on_whatsapp", "group_unknown", "not_a_member", "not_a_member"]
    assert time.monotonic() - begun >= 16.0
    assert all(view.attempts == [] for view in views), "nothing was ever handed over"
    assert (await rig.message(await rig.accept("4915559999", "at once"))).state is State.FAILED

    await rig.control("contacts", number="4915559999", on_whatsapp=True)
    await rig.control("groups", id=ours, subject="with us", participants=["4915550001"])
    assert (await rig.order("contact", address="4915559999@c.us")).result["exists"] is True
    assert (await rig.order("contact", address=ours)).result["exists"] is True
    joined = await rig.accept_many([("4915559999", "to who has joined"), (ours, "to who took us in")])
    await rig.sent(*joined, seconds=10)
    assert (await rig.order("contact", address=lost)).result["exists"] is False


async def test_slow_look_ups_hold_back_nothing_but_their_own_messages(rig: HostRig) -> None:
    await rig.linked()
    await rig.fault("slow_lookup", match="49155508", seconds_delay=6.0)
    await rig.accept_many([(f"49155508{n:02d}", f"slow {n}") for n in range(6)], priority=9)
    begun = time.monotonic()
    await rig.sent(*await rig.accept_many([(f"49155509{n:02d}", f"quick {n}") for n in range(10)]))
    took = time.monotonic() - begun
    assert took < 5.0, f"{took:.1f} s"


async def test_a_look_up_that_fails_is_not_taken_for_nobody(rig: HostRig) -> None:
    await rig.linked()
    fault = await rig.fault("lookup_fails", match="4915550042")
    id = await rig.accept("4915550042", "the look-up fails at first")
    await asyncio.sleep(3)
    assert (await rig.message(id)).state is State.QUEUED
    await rig.heal(fault)
    await rig.sent(id, seconds=40)


async def test_a_restricted_account_goes_on_with_chats_that_have_history(rig: HostRig) -> None:
    await rig.linked()
    await rig.sent(await rig.accept("4915550001", "makes history"))
    fault = await rig.fault("nack", code=463, match="stranger")
    stranger = await rig.accept("4915550002", "hello stranger")

    async def restricted() -> bool:
        return (await rig.session()).restricted_until is not None

    await until("the account is restricted", restricted)
    await rig.heal(fault)
    known = await rig.accept("4915550001", "hello again")
    await rig.sent(known)
    view = await rig.message(stranger)
    assert view.state is State.QUEUED and view.attempts_counted == 0
    assert view.attempts[0].outcome == "restricted" and view.attempts[0].code == "nack_463"


async def test_a_nack_is_retried_under_a_new_id(tmp_path: Path) -> None:
    async with HostRig(tmp_path, retry_delay=0.2) as rig:
        await rig.linked()
        await rig.fault("nack", code=500, count=1)
        id = await rig.accept("4915550001", "refused once")
        await rig.sent(id)
        view = await rig.message(id)
        assert [a.outcome for a in view.attempts] == ["not_sent", "sent"]
        assert len({a.key for a in view.attempts}) == 2
        assert not await rig.twice()


async def test_commands(rig: HostRig) -> None:
    await rig.linked()
    picture = await rig.order("screenshot")
    assert base64.b64decode(picture.result["png"]).startswith(b"\x89PNG")
    contact = await rig.order("contact", address="4915550001@c.us")
    assert contact.result["exists"] and contact.result["wa_id"] == "4915550001@c.us"
    generation = (await rig.session()).generation
    assert (await rig.order("nudge")).error is None
    await rig.ready()
    await rig.sent(await rig.accept("4915550001", "after a nudge"))
    assert (await rig.session()).generation == generation
    assert (await rig.order("reload_page")).error is None
    await rig.sent(await rig.accept("4915550001", "after a reload"))
    assert (await rig.session()).generation != generation
    assert (await rig.order("dance")).error.startswith("command_unknown: ")


async def test_a_locked_database_stops_no_beat_and_loses_nothing(rig: HostRig) -> None:
    await rig.linked()
    blocker = open_database(rig.settings.database)
    ids = await rig.accept_many([("4915550001", "under way"), ("4915550002", "too")])
    begin(blocker, beat.boot_time() + 5)
    try:
        for _ in range(7):
            await asyncio.sleep(1)
            found = beat.read(rig.settings.beat(f"browser-{SESSION}"))
            assert found is not None and found.age() < 2.5
            evidence = rig.evidence()
            assert evidence is not None and evidence.answered_at is not None and beat.boot_time() - evidence.answered_at < 3.5
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()
    await rig.sent(*ids)
    assert not await rig.twice()
    assert rig.host is not None and rig.host.returncode is None


async def test_a_host_with_a_newer_epoch_ends(rig: HostRig) -> None:
    await rig.linked()
    await rig.writer.run(lambda conn: sessions.attach_host(conn, name=SESSION, now=time.time()))
    await rig.accept("4915550001", "makes it write")
    assert rig.host is not None
    assert await asyncio.wait_for(rig.host.wait(), 10) == FENCED


async def test_a_second_host_waits_until_the_first_is_gone(rig: HostRig) -> None:
    await rig.linked()
    first, epoch = rig.host, (await rig.session()).epoch
    second = await rig.start_host()
    await asyncio.sleep(2)
    assert (await rig.session()).epoch == epoch and second.returncode is None
    assert first is not None
    first.kill()
    await first.wait()

    async def newer() -> bool:
        return (await rig.session()).epoch == epoch + 1

    await until("the second one has begun", newer)
    await rig.sent(await rig.accept("4915550001", "by the second"))


async def test_it_stops_when_told_to(rig: HostRig) -> None:
    await rig.linked()
    assert rig.host is not None
    rig.host.terminate()
    assert await asyncio.wait_for(rig.host.wait(), 5) == 0


async def test_a_host_that_begins_beside_a_page_that_hangs_says_so(rig: HostRig) -> None:
    """Its evidence must condemn Chromium by missed round trips, not look like a connection that cannot be made."""
    await rig.linked()
    await rig.kill_host()
    await rig.fault("endless_loop")
    await rig.start_host()

    async def condemned() -> bool:
        evidence = rig.evidence()
        return evidence is not None and evidence.epoch > 1 and evidence.connected and evidence.missed >= 2

    await until("two round trips are missed", condemned, 12)
    await rig.kill_chromium()
    await rig.start_chromium()
    await rig.sent(await rig.accept("4915550001", "on a fresh page"))
