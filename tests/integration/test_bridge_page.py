"""The bridge in a real page with the real wa-js: ledger, fence, replacement, news, canary; and calls that always end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from host_rig import SESSION, HostRig, until
from pyppeteer.errors import NetworkError

from gateway.browser.bridge import Bridge, Refused, Report
from gateway.browser.endpoint import NotYet, find_endpoint
from gateway.browser.page import Gone, Late, Page, PageError
from gateway.browser.reconcile import Seen, Sought, sight
from gateway.browser.scripts import Scripts
from gateway.message import Key, new_hex
from gateway.provision import wa_js_path
from gateway.store.model import Claim

TO = "4915550001@c.us"


class PageRig(HostRig):
    """Chromium and sandbox without a host: the test is the host."""

    async def connect(self) -> Page:
        async def page() -> Page | None:
            try:
                return await Page.connect(find_endpoint(self.data, SESSION), self.scripts)
            except (NotYet, PageError):
                return None

        return await until("connected", page)

    @property
    def scripts(self) -> Scripts:
        return Scripts(self.sandbox.url, wa_js_path(self.settings))

    async def fault_in(self, page: Page, kind: str, **fields: Any) -> None:
        """A fault that takes effect in the page; returns once the page knows of it."""
        await self.fault(kind, **fields)
        await until("the page knows", lambda: page.evaluate(f"require('SandboxSettings').on('{kind}')", 5.0))

    async def report(self, bridge: Bridge, **wanted: Any) -> Report:
        """Wait until a probe says all that."""

        seen: Report | Exception | None = None

        async def question() -> Report | None:
            nonlocal seen
            try:
                seen = r = await bridge.probe()
            except (PageError, Refused) as error:
                seen = error
                return None
            return r if all(getattr(r, name) == value for name, value in wanted.items()) else None

        try:
            return await until(f"the page is {wanted}", question)
        except AssertionError as error:
            raise AssertionError(f"{error}; seen last: {seen!r}") from None


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[PageRig]:
    async with PageRig(tmp_path) as one:
        await one.start_chromium()
        yield one


@pytest.fixture
async def page(rig: PageRig) -> AsyncIterator[Page]:
    one = await rig.connect()
    one.open()
    await until("the bridge is in the document", lambda: bridged(one, rig.sandbox.url))
    yield one
    one.close()


async def bridged(page: Page, url: str) -> bool:
    """A document now and then comes up bare, if it begins while the injection is being registered; as the host does, load it anew."""
    try:
        href, ready, bridge = await page.evaluate("[location.href, document.readyState, typeof window.__whatsappGateway]", 5.0)
        if bridge == "undefined" and ready == "complete" and href.startswith(url):
            await page.reload()
    except PageError:
        return False
    return bool(bridge != "undefined")


async def linked(rig: PageRig, page: Page, epoch: int = 1) -> Bridge:
    bridge = Bridge(page, epoch)
    await until("a QR code is on show", rig._on_show)
    await rig.control("scan")
    await rig.report(bridge, ready=True, mode="MAIN", authenticated=True, canary=None)
    await bridge.attach()
    return bridge


def claim(body: str, hex_: str | None = None, remote: str = TO) -> Claim:
    key = Key(remote, hex_ or new_hex())
    return Claim(
        message="msg_1", rowid=1, attempt=1, attempts=0, key=key, type="text", content={"body": body, "preview_url": False}, recipient=1,
        address=remote, remote=remote, pn=remote, lid=None, new_chat=False, accept_duplicate=False, accepted=0.0, claimed_at=0.0,
    )  # fmt: skip


async def account(bridge: Bridge) -> str:
    found = (await bridge.probe()).account
    assert found
    return found


async def look(bridge: Bridge, one: Claim) -> tuple[Seen, str | None]:
    asked = Sought(one.key.hex, (one.remote,), (str(one.key),))
    answer = (await bridge.find([asked], 20.0))[0]
    return sight(asked, answer).seen, answer["ledger"]


async def test_an_id_is_handed_over_once(rig: PageRig, page: Page) -> None:
    bridge = await linked(rig, page)
    me, one = await account(bridge), claim("once")
    answers = await asyncio.gather(*(bridge.send(one, me, 20.0) for _ in range(5)))
    assert [a["status"] for a in answers] == ["placed"] * 5, "those that came while it ran have joined it"
    assert (await bridge.send(one, me, 20.0)) == {"status": "placed", "joined": True}
    (row,) = await rig.truth()
    assert row["calls"] == 1
    assert await bridge.kept(10) == [one.key.hex], "until its outcome is committed"
    await bridge.forget([one.key.hex])
    assert await bridge.kept(10) == []


async def test_a_call_that_hangs_is_given_up_and_never_arrives(rig: PageRig, page: Page) -> None:
    bridge = await linked(rig, page)
    me, one = await account(bridge), claim("hangs")
    await bridge.resolve(TO, 20.0)
    await rig.fault_in(page, "slow_chat_lookup", seconds_delay=2.0, count=1)
    answer = await bridge.send(one, me, 20.0, patience=0.3)
    assert (answer["status"], answer["code"]) == ("failed", "hangs")
    await bridge.forget([one.key.hex])  # the page keeps the entry: wa-js is still at it
    assert (await look(bridge, one))[1] == "failed"
    running = (await bridge.probe()).running
    assert running is not None and running >= 0.3, "the evidence for the watchdog"
    await until("wa-js has come as far as WhatsApp's code", lambda: ended(bridge))
    assert await rig.truth() == [], "it was turned back there"
    assert (await bridge.send(one, me, 20.0))["status"] == "placed"
    assert [r["calls"] for r in await rig.truth()] == [1]


async def ended(bridge: Bridge) -> bool:
    return (await bridge.probe()).running is None


async def test_a_call_given_up_and_made_again_goes_out_once(rig: PageRig, page: Page) -> None:
    bridge = await linked(rig, page)
    me, one = await account(bridge), claim("once all the same")
    await bridge.resolve(TO, 20.0)
    await rig.fault_in(page, "slow_chat_lookup", seconds_delay=1.0, count=2)
    assert (await bridge.send(one, me, 20.0, patience=0.2))["code"] == "hangs"
    await bridge.send(one, me, 20.0)
    await until("both have ended", lambda: ended(bridge))
    assert [r["calls"] for r in await rig.truth()] == [1]


async def test_a_document_that_nobody_attached_to_sends_nothing(rig: PageRig, page: Page) -> None:
    bridge = await linked(rig, page)
    me = await account(bridge)
    await page.reload()
    await rig.report(bridge, ready=True, mode="MAIN", epoch=None)
    assert (await bridge.send(claim("bare"), me, 20.0))["refused"]["code"] == "never_attached"
    await bridge.attach()
    stale = Bridge(page, bridge.epoch)
    stale.attachment, stale.generation = bridge.attachment, "another document"
    assert (await stale.send(claim("other document"), me, 20.0))["refused"]["code"] == "other_document"
    assert (await bridge.send(claim("other account"), "490@c.us", 20.0))["refused"]["code"] == "other_account"
    assert await rig.truth() == []


async def test_a_host_that_wakes_up_late_can_change_nothing(rig: PageRig, page: Page) -> None:
    old = await linked(rig, page, epoch=1)
    me = await account(old)
    new = Bridge(page, 2)
    await new.attach()
    assert (await old.send(claim("from the dead"), me, 20.0))["refused"]["code"] == "stale_host"
    for question in (old.attach(), old.logout(), old.forget(["3EB0"]), old.events(0), old.reconnect()):
        with pytest.raises(Refused) as refused:
            await question
        assert refused.value.code == "stale_host"
    assert await rig.truth() == []


async def test_an_attachment_ends_the_calls_made_before_it(rig: PageRig, page: Page) -> None:
    bridge = await linked(rig, page)
    me, late = await account(bridge), Bridge(page, 1)
    late.attachment, late.generation = bridge.attachment, bridge.generation
    await bridge.attach()
    assert (await late.send(claim("arrives late"), me, 20.0))["refused"]["code"] == "stale_call"
    assert await rig.truth() == []


async def test_the_bridge_is_replaced_in_a_living_page_and_forgets_nothing(rig: PageRig, page: Page) -> None:
    bridge = await linked(rig, page)
    me, one = await account(bridge), claim("before the replacement")
    await bridge.send(one, me, 20.0)
    await until("its ack is in the outbox", lambda: has_news(bridge))
    for _ in range(3):
        await page.put_bridge()
    report = await bridge.probe()
    assert (report.generation, report.epoch, report.canary) == (bridge.generation, 1, None)
    assert await look(bridge, one) == (Seen.FOUND, "placed")
    assert (await bridge.send(one, me, 20.0)) == {"status": "placed", "joined": True}
    other = claim("after it")
    assert (await bridge.send(other, me, 20.0))["status"] == "placed"

    async def acks() -> bool:
        news = (await bridge.events(0))["events"]
        return {n["hex"] for n in news if n["kind"] == "ack"} == {one.key.hex, other.key.hex}

    await until("acks of both, old listeners gone, new ones there", acks)
    assert not await rig.twice()


async def has_news(bridge: Bridge) -> bool:
    return (await bridge.probe()).events > 0


async def test_news_stay_until_they_are_confirmed(rig: PageRig, page: Page) -> None:
    bridge = await linked(rig, page)
    one = claim("news")
    await bridge.send(one, await account(bridge), 20.0)

    async def read() -> list[dict[str, Any]]:
        news = (await bridge.events(0))["events"]
        return news if news and news[-1]["ack"] == 3 else []

    news = await until("it is read", read)
    assert len(news) == 1, "acks of one message are one piece of news"
    assert (await bridge.events(0))["events"] == news
    waited = asyncio.ensure_future(bridge.events(news[-1]["seq"]))
    await bridge.send(claim("another"), await account(bridge), 20.0)
    (more,) = (await waited)["events"]
    assert more["seq"] > news[-1]["seq"]
    await page.evaluate("window.__whatsappGateway.state.overflows = 2", 5.0)  # an overflow takes 10,000 news
    for _ in range(2):
        assert (await bridge.events(more["seq"]))["overflows"] == 2, "an answer may get lost: it is said until the host has heard it"
    assert (await bridge.probe()).overflowed
    waited = asyncio.ensure_future(bridge.events(more["seq"], heard=2))
    await bridge.send(claim("a third"), await account(bridge), 20.0)
    assert (await waited)["overflows"] == 0 and not (await bridge.probe()).overflowed


async def test_a_nack_comes_with_its_code(rig: PageRig, page: Page) -> None:
    bridge = await linked(rig, page)
    await rig.fault("nack", code=463, count=1)
    one = claim("refused")
    await bridge.send(one, await account(bridge), 20.0)
    (news,) = (await bridge.events(0))["events"]
    assert (news["kind"], news["hex"], news["code"]) == ("nack", one.key.hex, 463)
    assert await rig.truth() == []


async def test_a_renamed_function_is_seen_by_the_canary_and_nothing_is_sent(rig: PageRig, page: Page) -> None:
    bridge = await linked(rig, page)
    await rig.fault("renamed_function")
    await page.reload()
    report = await until("the canary fails", lambda: canary(bridge))
    assert "addAndSendMsgToChat" in report
    await bridge.attach()
    assert (await bridge.send(claim("x"), await account(bridge), 20.0))["refused"]["code"] == "library_broken"


async def canary(bridge: Bridge) -> str | None:
    try:
        report = await bridge.probe()
    except (PageError, Refused):
        return None
    return report.canary if report.ready else None


async def test_the_chat_of_a_key_is_checked_before_anything_is_placed(rig: PageRig, page: Page) -> None:
    bridge = await linked(rig, page)
    me = await account(bridge)
    assert (await bridge.resolve(TO, 20.0)).remote == TO
    await rig.control("contacts", number="4915550001", on_whatsapp=True, lid="77001")
    await rig.control("settings", lid_migration=True)

    async def migrated() -> bool:
        return (await bridge.send(claim("to the old address"), me, 20.0)).get("code") == "remote_changed"

    await until("the chat has moved to its lid", migrated)
    assert all(r["chat"] != TO for r in await rig.truth())
    assert str((await bridge.resolve(TO, 20.0)).remote).endswith("@lid")
    assert await bridge.knows(me, 5.0), "WhatsApp's server answers a question about ourselves"
    await rig.fault("lookup_fails", match=me)
    with pytest.raises(Refused):
        await bridge.knows(me, 5.0)


async def test_one_call_timed_out_and_another_pending_when_chromium_dies(rig: PageRig, page: Page) -> None:
    with pytest.raises(Late):
        await page.evaluate("new Promise(() => {})", 0.3)
    pending = asyncio.ensure_future(page.evaluate("new Promise(() => {})", 60.0))
    await asyncio.sleep(0.1)
    begun = time.monotonic()
    os.killpg(page.endpoint.launch.pid, signal.SIGKILL)
    with pytest.raises(Gone):
        await pending
    took = time.monotonic() - begun
    print(f"the pending call ended {took * 1000:.0f} ms after the kill")
    assert took < 1.0
    with pytest.raises(Gone, match=r"Session closed\. Most likely the page has been closed\."):
        await page.evaluate("1", 5.0)


async def test_a_send_that_meets_the_dead_socket_leaves_no_call_behind(rig: PageRig, page: Page) -> None:
    """pyppeteer resolves the future of such a send, and then stumbles over it before it has told its sessions of the end."""
    session = page._session
    assert session is not None
    pending = session.send("Runtime.evaluate", {"expression": "new Promise(() => {})", "awaitPromise": True})
    os.killpg(page.endpoint.launch.pid, signal.SIGKILL)
    while not page.lost.done():
        page._in_passing("Runtime.evaluate", {"expression": "1"})
        await asyncio.sleep(0)
    with pytest.raises(NetworkError, match="Target closed"):
        await asyncio.wait_for(pending, 1.0)
    with pytest.raises(Gone, match=r"Session closed\. Most likely the page has been closed\."):
        await page.evaluate("1", 5.0)


async def test_a_page_that_loops_for_ever_meets_the_deadline(rig: PageRig, page: Page) -> None:
    await page.evaluate("void setTimeout(() => { for (;;); }, 50)", 5.0)
    begun = time.monotonic()

    async def ask_until_it_loops() -> None:
        nonlocal begun
        while True:
            begun = time.monotonic()
            await page.evaluate("1", 0.5)

    with pytest.raises(Late):
        await asyncio.wait_for(ask_until_it_loops(), 10.0)
    assert 0.5 <= time.monotonic() - begun < 1.0


async def test_other_tabs_are_closed(rig: PageRig, page: Page) -> None:
    for _ in range(2):
        await page.evaluate("void window.open('about:blank')", 5.0)
    await until("one tab is left", lambda: one_tab(page))


async def one_tab(page: Page) -> bool:
    return len(await page._tabs()) == 1


async def test_a_stale_port_is_not_connected_to(rig: PageRig, page: Page) -> None:
    """DevToolsActivePort survives kill -9; what listens there by now may be anything."""
    port = rig.settings.slot(SESSION) / "profile" / "DevToolsActivePort"
    _, path = port.read_text().split("\n")[:2]
    port.write_text(f"{rig.sandbox.port}\n{path}\n")
    with pytest.raises(NotYet, match="nothing of this slot's Chromium listens"):
        find_endpoint(rig.data, SESSION)


async def test_a_wrong_guid_does_not_hang(rig: PageRig, page: Page) -> None:
    port = rig.settings.slot(SESSION) / "profile" / "DevToolsActivePort"
    number = port.read_text().split("\n")[0]
    port.write_text(f"{number}\n/devtools/browser/00000000-0000-0000-0000-000000000000\n")
    begun = time.monotonic()
    with pytest.raises(PageError):
        await Page.connect(find_endpoint(rig.data, SESSION), rig.scripts)
    assert time.monotonic() - begun < 5.0


async def test_a_pairing_code_lives_until_it_ends_and_no_longer(rig: PageRig, page: Page) -> None:
    await until("a QR code is on show", rig._on_show)

    async def injected() -> bool:
        return bool(await page.evaluate("WPP.isInjected === true", 5.0))

    await until("wa-js is in the page", injected)

    async def code(phone: str = "491700000001", life: float = 60) -> Any:
        answer = await page.call("pairing", {"phone": phone, "life": life * 1000}, 14.0)
        return answer.get("code") or answer["refused"]["code"]

    first, second = await asyncio.gather(code(), code())
    assert first == second == await code()
    await page.put_bridge()
    assert await code() == first, "the page knows it, whoever asks"
    assert await code("491700000002") == "pairing_code_of_another_number"
    await page.evaluate("require('WAWebLinkDeviceEvents').WAWebLinkDeviceEvents.triggerRefreshAltLinkingCode()", 5.0)
    short = await code("491700000002", life=0.3)
    assert short not in (first, "pairing_code_of_another_number"), "WhatsApp had ended the first"

    async def another() -> str | None:
        found = await code()
        return None if found == "pairing_code_of_another_number" else str(found)

    assert await until("the short one has ended", another) not in (first, short)
    # what failed is not remembered
    await page.evaluate(
        "window.__line = require('SandboxLine'); window.__ask = __line.ask; __line.ask = async () => { throw Error('no') }", 5.0
    )
    await page.evaluate("require('WAWebLinkDeviceEvents').WAWebLinkDeviceEvents.triggerRefreshAltLinkingCode()", 5.0)
    assert "error" in await page.call("pairing", {"phone": "491700000002", "life": 60_000}, 14.0)
    await page.evaluate("__line.ask = __ask; null", 5.0)
    assert len(await code()) == 8
