"""What WhatsApp Web refuses by itself: rejected at once with a reason of its own, in each form that proves that nothing was sent."""

from __future__ import annotations

import time
from pathlib import Path

from host_rig import HostRig, until

from gateway.beat import boot_time
from gateway.message import State
from gateway.session import complaints
from gateway.store import outbox
from gateway.store.model import MessageView

GROUP = "120363000000000077@g.us"


async def rejected(rig: HostRig, to: str, body: str, reason: str) -> MessageView:
    """Accept a message, and see it rejected at once, at its first attempt."""
    begun = time.monotonic()
    view = await rig.reached(await rig.accept(to, body), State.FAILED)
    assert time.monotonic() - begun < 5
    assert view.reason == reason and [a.outcome for a in view.attempts] == ["rejected"], view
    return view


async def requeue(rig: HostRig, id: str) -> None:
    await rig.writer.run(
        lambda conn: outbox.requeue(conn, id=id, accept_duplicate=False, now=time.time()), ring=("browser-default",)
    )


async def test_what_the_page_refuses_is_rejected_with_a_reason_of_its_own(tmp_path: Path) -> None:
    async with HostRig(tmp_path, send_timeout=2.0, retry_delay=0.1, max_attempts=2) as rig:
        await rig.linked()
        await rig.sent(await rig.accept("4915550001", "the chat is known now"))

        for form in ("throws", "later"):
            await rig.fault("refusal", form=form, match=f"refused: {form}")
            thrown = await rejected(rig, "4915550001", f"refused: {form}", "contact_blocked")
            assert "Contact is blocked" in str(thrown.error) or "contact_blocked" in str(thrown.error)
        await rig.fault("refusal", form="throws", error="NotAnAdmin", match="refused as no admin")
        await rejected(rig, "4915550001", "refused as no admin", "not_an_admin")

        await rig.control("contacts", number="4915550002", blocked=True)
        await rig.control("groups", id=GROUP, participants=["4915550001"], announce=True)
        for form in ("throws", "nack", "silence"):  # the page knows: nothing is handed over, however it would refuse
            await rig.control("settings", refuses=form)
            blocked = await rejected(rig, "4915550002", f"blocked: {form}", "contact_blocked")
            await rejected(rig, GROUP, f"announced: {form}", "not_an_admin")
        assert [r["body"] for r in await rig.truth()] == ["the chat is known now"]

        # open again: each can be requeued, and goes out once
        await rig.control("contacts", number="4915550002", blocked=False)
        for fault in (await rig.ask("state"))["faults"]:
            await rig.heal(fault["id"])
        for view in (blocked, thrown):
            await requeue(rig, view.id)
            await rig.sent(view.id)
        assert not await rig.twice()


async def test_one_silent_message_makes_nothing_ill_where_the_server_answers(tmp_path: Path) -> None:
    """ack −1 without a code proves that nothing was sent, so it is tried again; ack 0 for ever, and a lost stanza, prove nothing."""
    async with HostRig(tmp_path, send_timeout=1.0, retry_delay=0.1, max_attempts=2) as rig:
        await rig.linked()
        await rig.sent(await rig.accept("4915550001", "the chat is known now"))
        await rig.fault("refusal", form="nack", match="nacked")
        await rig.fault("refusal", form="silence", match="silent")
        await rig.fault("lost_stanza", match="lost")
        await until("the evidence tells that all is well", lambda: _clear(rig))
        silent, lost, nacked = await rig.accept_many([("4915550001", "silent"), ("4915550002", "lost"), ("4915550003", "nacked")])
        said: set[str] = set()

        async def ended() -> bool:
            e, now = rig.evidence(), boot_time()
            said.update(complaints(e, now, 1.0) if e is not None else ["no evidence"])
            return all([(await rig.message(id)).state is State.FAILED for id in (silent, lost, nacked)])

        await until("all three have ended", ended)
        views = [await rig.message(id) for id in (silent, lost, nacked)]
        assert [v.reason for v in views] == ["outcome_unknown", "outcome_unknown", "attempts"]
        assert [a.outcome for a in views[2].attempts] == ["not_sent"] * 2
        since = boot_time()
        await until("the evidence is gathered after that", lambda: _gathered(rig, since))
        assert said | set(_complaints(rig, 1.0)) == set(), "the session was well all the time"
        assert [r["body"] for r in await rig.truth()] == ["the chat is known now"]
        assert "WhatsApp's server answers" in rig.log.read_text()
        await rig.sent(await rig.accept("4915550001", "its chat goes on"))


async def test_a_server_that_does_not_answer_makes_the_session_ill_until_it_does(tmp_path: Path) -> None:
    async with HostRig(tmp_path, send_timeout=2.0) as rig:
        await rig.linked()
        await rig.sent(await rig.accept("4915550001", "the chat is known now"))
        await until("the evidence tells that all is well", lambda: _clear(rig))
        deaf = await rig.fault("deaf")
        await rig.accept("4915550001", "to deaf ears")
        said = await until("it is said", lambda: _said(rig))
        assert said == ["messages are handed over and no ack comes back"]
        await rig.heal(deaf)
        await until("its answer clears the session, with no message sent", lambda: _clear(rig), 40)


async def _gathered(rig: HostRig, since: float) -> bool:
    e = rig.evidence()
    return e is not None and (e.answered_at or 0.0) > since


def _complaints(rig: HostRig, send_timeout: float) -> list[str]:
    return complaints(rig.evidence(), boot_time(), send_timeout)


async def _said(rig: HostRig) -> list[str]:
    return _complaints(rig, 2.0)


async def _clear(rig: HostRig) -> bool:
    return not _complaints(rig, 2.0)
