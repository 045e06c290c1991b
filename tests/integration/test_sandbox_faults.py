"""Every fault and every setting does what its sentence says. One linked rig for all tests; each has its own people."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sandbox_rig import Rig, until

from gateway.sandbox.behaviour import SETTINGS
from gateway.sandbox.faults import CATALOGUE

pytestmark = pytest.mark.asyncio(loop_scope="module")

_numbers = itertools.count(4915552000000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Rig]:
    async with Rig() as rig:
        await rig.link()
        yield rig


@pytest_asyncio.fixture(loop_scope="module")
async def rig(shared: Rig) -> AsyncIterator[Rig]:
    await shared.main()
    yield shared
    await shared.clean()


@pytest.fixture
def number() -> str:
    """A phone number that nobody wrote to before."""
    return str(next(_numbers))


def counts(row: dict[str, Any] | None) -> tuple[int, int, int]:
    assert row is not None
    return row["stanzas"], row["calls"], row["page_resends"]


async def _acked(rig: Rig, id: str, least: int = 1) -> bool:
    ack = await rig.ack(id)
    return isinstance(ack, int) and ack >= least


async def _row_with(rig: Rig, id: str, **values: Any) -> dict[str, Any] | None:
    row = await rig.row(id)
    return row if row and all(row[k] == v for k, v in values.items()) else None


async def test_a_lost_stanza_never_arrives_and_only_those_that_match_are_lost(rig: Rig, number: str) -> None:
    await rig.fault("lost_stanza", match="lose me")
    lost = await rig.send(number, "please lose me", wait=False)
    kept = await rig.send(number, "keep me")
    assert await rig.row(lost["id"]) is None and counts(await rig.row(kept["id"])) == (1, 1, 0)
    assert await rig.ack(lost["id"]) == 0


async def test_a_withheld_ack_comes_neither_by_itself_nor_for_a_resend_while_the_fault_is_on(rig: Rig, number: str) -> None:
    fault = await rig.fault("no_ack", match="withheld")
    sent = await rig.send(number, "withheld", wait=False)
    await until("it is recorded", lambda: rig.row(sent["id"]))
    await rig.reload()
    row = await until("the page sent it again", lambda: _row_with(rig, sent["id"], stanzas=2))
    assert counts(row) == (2, 1, 1) and row["acks"] == [] and await rig.ack(sent["id"]) == 0
    await rig.heal(fault)
    await rig.reload()
    await until("acked at last", lambda: _acked(rig, sent["id"]))
    assert counts(await rig.row(sent["id"])) == (3, 1, 2)


async def test_an_ack_withheld_once_comes_for_the_resend(rig: Rig, number: str) -> None:
    await rig.fault("no_ack", count=1)
    sent = await rig.send(number, "once", wait=False)
    await until("the fault is used up", lambda: _no_faults(rig))
    await rig.reload()
    await until("acked", lambda: _acked(rig, sent["id"]))
    assert counts(await rig.row(sent["id"])) == (2, 1, 1)


async def _no_faults(rig: Rig) -> bool:
    return (await rig.ask("state"))["faults"] == []


async def test_a_slow_ack(rig: Rig, number: str) -> None:
    await rig.fault("slow_ack", seconds_delay=0.7, count=1)
    sent = await rig.js(
        f"""const began = performance.now(); const chat = await WPP.chat.find('{number}@c.us');
        const r = await WPP.chat.sendTextMessage(chat.id, 'slow', {{waitForAck: true, linkPreview: false}});
        return {{id: r.id, took: performance.now() - began}}"""
    )
    assert sent["took"] >= 690 and counts(await rig.row(sent["id"])) == (1, 1, 0)


async def test_a_lost_ack_cuts_the_line_and_the_page_sends_again(rig: Rig, number: str) -> None:
    await rig.fault("ack_lost", count=1)
    sent = await rig.send(number, "ack lost")
    assert sent["result"]["messageSendResult"] == "OK" and counts(await rig.row(sent["id"])) == (2, 1, 1)


async def test_a_nack_with_its_code_makes_no_row_and_stands_after_a_reload(rig: Rig, number: str) -> None:
    before = (await rig.ask("summary"))["nacked"]
    await rig.fault("nack", code=463, count=1)
    sent = await rig.send(number, "refused")
    assert sent["ack"] == -1 and sent["result"]["messageSendResult"] == "ERROR_UNKNOWN" and sent["result"]["errorCode"] == 463
    assert await rig.row(sent["id"]) is None and (await rig.ask("summary"))["nacked"] == before + 1
    await rig.reload()
    assert await rig.ack(sent["id"]) == -1
    assert await rig.row(sent["id"]) is None


#: A send through wa-js: its error's name, or its ack and result once they are there, or nothing after a while.
SEND = """const chat = await WPP.chat.find('CHAT');
const sent = WPP.chat.sendTextMessage(chat.id, 'BODY', {waitForAck: true, linkPreview: false})
  .then((r) => [r.ack, r.sendMsgResult.messageSendResult, r.sendMsgResult.errorCode ?? null], (e) => e.name);
return await Promise.race([sent, new Promise((r) => setTimeout(() => r('nothing'), 300))])"""
ACKS = "return WPP.whatsapp.MsgStore.getModelsArray().filter((m) => m.body === 'BODY').map((m) => m.ack)"
#: form → what a caller of wa-js hears, and the acks of the message on the page
REFUSED: dict[str, tuple[Any, list[int]]] = {
    "throws": ("ContactBlocked", []),
    "later": ("ContactBlocked", [-1]),
    "nack": ([-1, "ERROR_UNKNOWN", None], [-1]),
    "silence": ("nothing", [0]),
}


@pytest.mark.parametrize("form", REFUSED)
async def test_a_refusal_of_whatsapps_own_code_and_nothing_goes_out(rig: Rig, number: str, form: str) -> None:
    await rig.send(number, "known")
    await rig.fault("refusal", form=form, match=f"refuse {form}")
    heard, acks = REFUSED[form]
    send = SEND.replace("CHAT", f"{number}@c.us").replace("BODY", f"refuse {form}")
    await rig.until_js("require('SandboxSettings').on('refusal')")
    assert await rig.js(send) == heard
    assert await rig.js(ACKS.replace("BODY", f"refuse {form}")) == acks
    assert not any(r["body"] == f"refuse {form}" for r in await rig.ask("messages?direction=out"))


async def test_a_blocked_contact_and_a_group_where_only_admins_write(rig: Rig, number: str) -> None:
    group = f"{number}@g.us"
    await rig.control("contacts", number=number, blocked=True)
    await rig.control("groups", id=group, participants=[number], announce=True)
    await until("it is in the block list", lambda: _is(rig, f"return WPP.blocklist.isBlocked('{number}@c.us')", True))
    for chat, error in ((f"{number}@c.us", "ContactBlocked"), (group, "NotAnAdmin")):
        assert await rig.js(SEND.replace("CHAT", chat).replace("BODY", "to a closed chat")) == error
    await rig.control("settings", refuses="nack")
    await rig.until_js("require('SandboxSettings').behaviour.refuses === 'nack'")
    assert await rig.js(SEND.replace("CHAT", group).replace("BODY", "to a closed chat")) == [-1, "ERROR_UNKNOWN", None]
    await rig.reload()
    assert await rig.js(f"return WPP.blocklist.isBlocked('{number}@c.us')"), "also on a fresh page"
    await rig.control("contacts", number=number, blocked=False)
    await until("unblocked", lambda: _is(rig, f"return WPP.blocklist.isBlocked('{number}@c.us')", False))
    own = (await rig.ask("state"))["accounts"][0]["number"]
    await rig.control("groups", id=group, participants=[number], announce=True, admins=[own])
    assert (await rig.send(number, "open again"))["ack"] >= 1
    assert (await rig.send(group, "as an admin"))["ack"] >= 1


async def test_a_deaf_server_answers_pings_alone(rig: Rig, number: str) -> None:
    await rig.send(number, "known")
    fault = await rig.fault("deaf")
    sent = await rig.send(number, "to deaf ears", wait=False)
    assert counts(await until("it is recorded", lambda: rig.row(sent["id"]))) == (1, 1, 0)
    other = str(next(_numbers))
    ask = f"WPP.whatsapp.functions.queryWidExists(WPP.whatsapp.WidFactory.createWid('{other}@c.us')).then(() => 'answered')"
    assert await rig.js(f"return await Promise.race([{ask}, new Promise((r) => setTimeout(() => r('nothing'), 300))])") == "nothing"
    assert await rig.js("return WPP.whatsapp.Socket.state") == "CONNECTED" and await rig.ack(sent["id"]) == 0
    await rig.heal(fault)
    await rig.reload()
    await until("acked for its resend", lambda: _acked(rig, sent["id"]))


async def test_a_refused_socket_and_a_cut_one(rig: Rig, number: str) -> None:
    connected = "WPP.whatsapp.Socket.state === 'CONNECTED'"
    first = (await rig.ask("state"))["pages"][0]["id"]
    await rig.fault("refuse_socket", count=2)
    assert await rig.js(f"return {connected}")
    await rig.fault("cut_socket")
    await rig.until_js(f"!({connected})")
    await rig.main()
    await rig.until_js(connected)
    assert (await rig.ask("state"))["pages"][0]["id"] > first and await _no_faults(rig)


async def test_a_lookup_that_fails_or_takes_long(rig: Rig, number: str) -> None:
    look = f"""const began = performance.now(); const found = await WPP.contact.queryExists('{number}@c.us');
    return [!!found, performance.now() - began]"""
    await rig.fault("slow_lookup", seconds_delay=0.5, match=number, count=1)
    found, took = await rig.js(look)
    assert found and took >= 490
    other = str(next(_numbers))
    await rig.fault("lookup_fails", match=other)
    assert await rig.js(f"return await WPP.contact.queryExists('{other}@c.us')") is None
    said = await rig.js(f"return await WPP.chat.find('{other}@c.us').then(() => 'found', (e) => e.message)")
    assert said == "the lookup failed"


async def test_a_failing_upload(rig: Rig, number: str) -> None:
    await rig.fault("upload_fails", count=1)
    result = await rig.js(
        f"""const s = await WPP.chat.sendFileMessage('{number}@c.us', 'data:application/pdf;base64,{"A" * 6000}',
        {{type: 'document', filename: 'a.pdf', waitForAck: true}}); return [s.ack, s.sendMsgResult.messageSendResult]"""
    )
    assert result == [-1, "ERROR_UPLOAD"]


async def test_a_slow_chat_lookup_of_the_page(rig: Rig, number: str) -> None:
    await rig.send(number, "known")
    await rig.fault("slow_chat_lookup", seconds_delay=0.6, match=number, count=1)
    timed = f"const began = performance.now(); await WPP.chat.find('{number}@c.us'); return performance.now() - began"
    await until("slow once the page knows", lambda: _at_least(rig, timed, 590))
    await until("used up, on the server too", lambda: _no_faults(rig))
    assert await rig.js(timed) < 300


async def _at_least(rig: Rig, body: str, least: float) -> bool:
    return bool(await rig.js(body) >= least)


async def test_an_exception_in_the_page(rig: Rig) -> None:
    await rig.fault("page_exception")
    await until("it is seen", lambda: _error(rig, "the sandbox was asked to throw this"))


async def _error(rig: Rig, text: str) -> bool:
    return any(text in e for e in rig.browser.errors)


async def test_a_renamed_function_on_this_page_and_on_a_fresh_one(rig: Rig, number: str) -> None:
    fault = await rig.fault("renamed_function")
    attempt = f"return await WPP.chat.sendTextMessage('{number}@c.us', 'x', {{createChat: true}}).then(() => 'sent', (e) => String(e))"
    await until("it is gone", lambda: _answers(rig, attempt, "not a function"))
    await rig.reload()
    assert "not a function" in await rig.js(attempt)
    await rig.heal(fault)
    await rig.reload()
    assert await rig.js(attempt) == "sent"


async def _answers(rig: Rig, body: str, text: str) -> bool:
    return text in await rig.js(body)


async def test_a_renamed_field_is_gone_from_every_id_and_wa_js_copes(rig: Rig, number: str) -> None:
    id_by_field = f"return (await WPP.chat.find('{number}@c.us')).id._serialized ?? null"
    assert await rig.js(id_by_field) == f"{number}@c.us"
    fault = await rig.fault("renamed_field")
    await until("it is gone", lambda: _is(rig, id_by_field, None))
    assert (await rig.send(number, "whatever its name"))["ack"] >= 1
    await rig.reload()
    assert await rig.js(id_by_field) is None and (await rig.send(number, "on a fresh page too"))["ack"] >= 1
    await rig.heal(fault)
    await until("it is back", lambda: _is(rig, id_by_field, f"{number}@c.us"))


MODALS = "[...document.querySelectorAll('[role=dialog]')].map((d) => d.innerText.split('\\n')[0])"
PRESS = "document.querySelector('[role=dialog] button').click()"


async def test_a_modal_stays_until_its_button_was_pressed_also_on_a_fresh_page(rig: Rig, number: str) -> None:
    await rig.fault("modal", title="What’s new", count=2)
    await until("it is shown", lambda: _is(rig, f"return {MODALS}", ["What’s new"]))
    assert (await rig.send(number, "past the modal"))["ack"] >= 1, "wa-js sends past whatever lies over the page"
    await rig.reload()
    await until("it is shown again", lambda: _is(rig, f"return {MODALS}", ["What’s new"]))
    await rig.js(PRESS)
    assert await rig.js(f"return {MODALS}") == ["What’s new"]
    await rig.js(PRESS)
    assert await rig.js(f"return {MODALS}") == []
    await until("used up, on the server too", lambda: _no_faults(rig))
    other = await rig.fault("modal", title="Read me", button="OK")
    await until("it is shown", lambda: _is(rig, f"return {MODALS}", ["Read me"]))
    await rig.heal(other)
    await until("gone with its fault", lambda: _is(rig, f"return {MODALS}", []))


async def test_a_memory_blow_up_takes_what_it_was_told_to(rig: Rig) -> None:
    before = rig.browser.memory()
    await rig.fault("memory_blow_up", megabytes=200)
    await until("it is taken", lambda: _grown(rig, before + 190 * 2**20))
    assert rig.browser.memory() < before + 260 * 2**20
    await rig.reload()


async def _grown(rig: Rig, least: int) -> bool:
    return rig.browser.memory() >= least


async def test_a_conflict_disconnects_the_page_until_it_takes_over_again(rig: Rig, number: str) -> None:
    await rig.fault("conflict")
    await rig.until_js("WPP.whatsapp.Stream.mode === 'CONFLICT' && WPP.whatsapp.Socket.state === 'CONFLICT'")
    assert not any(a["connected"] for a in (await rig.ask("state"))["accounts"])
    await rig.js("WPP.whatsapp.Socket.takeover()")
    await rig.main()
    assert (await rig.send(number, "ours again"))["ack"] >= 1


async def test_a_slow_server_says_everything_late_and_in_order(rig: Rig, number: str) -> None:
    await rig.send(number, "known")
    fault = await rig.fault("slow", seconds_delay=0.4)
    ask = f"const began = performance.now(); await WPP.contact.queryExists('4915552{number[-6:]}@c.us'); return performance.now() - began"
    assert await rig.js(ask) >= 390
    sent = [await rig.send(number, f"late {n}", wait=False) for n in range(3)]
    assert [await rig.ack(s["id"]) for s in sent] == [0, 0, 0]
    await until("acked in the end", lambda: _acked(rig, sent[-1]["id"]))
    assert await _acked(rig, sent[0]["id"])
    await rig.heal(fault)


async def test_while_whatsapp_is_away_nothing_of_it_answers_and_then_the_page_comes_back_by_itself(rig: Rig, number: str) -> None:
    await rig.send(number, "known")
    away = await rig.fault("away")
    await rig.until_js("WPP.whatsapp.Socket.state !== 'CONNECTED'")
    assert await rig.js("return await fetch('/').then(() => 'answered', (e) => e.name)") == "TypeError"
    sent = await rig.send(number, "into the void", wait=False)
    with pytest.raises(Exception, match="ERR_"):
        await rig.browser.page.goto(rig.sandbox.url)
    await rig.heal(away)
    await rig.browser.page.goto(rig.sandbox.url)
    await rig.main()
    await until("the page sent it itself", lambda: _acked(rig, sent["id"]))
    await rig.fault("away", seconds=0.5)
    await rig.until_js("WPP.whatsapp.Socket.state !== 'CONNECTED'")
    await rig.main()


async def test_a_server_that_falls_silent_is_noticed_by_its_page(rig: Rig) -> None:
    fault = await rig.fault("slow", seconds_delay=60)
    await rig.until_js("WPP.whatsapp.Socket.state !== 'CONNECTED'")
    await rig.heal(fault)
    await rig.js("WPP.whatsapp.Socket.reconnect()")
    await rig.main()


async def test_a_reload_by_the_page_itself(rig: Rig) -> None:
    await rig.js("window.old = true")
    await rig.fault("reload")
    await rig.until_js("window.old === undefined")
    await rig.main()


async def test_an_endless_loop_answers_nothing_and_a_new_chromium_helps(rig: Rig, number: str) -> None:
    await rig.fault("endless_loop")
    await until("silence", lambda: _silent(rig))
    await rig.restart()
    await rig.main()
    assert (await rig.send(number, "after the loop"))["ack"] >= 1


async def _silent(rig: Rig) -> bool:
    try:
        await rig.js("return 1", 1)
    except TimeoutError:
        return True
    return False


async def test_no_fault_of_the_catalogue_is_without_a_test(rig: Rig) -> None:
    said = await rig.ask("faults")
    assert {k["kind"] for k in said["kinds"]} == set(CATALOGUE)
    source = Path(__file__).read_text()
    assert [kind for kind in CATALOGUE if f'fault("{kind}"' not in source] == []


async def test_logged_out_elsewhere_the_page_begins_anew_and_can_be_linked_again(rig: Rig) -> None:
    await rig.fault("logged_out")
    await until("no device is left", lambda: _unlinked(rig))
    await rig.link()


async def _unlinked(rig: Rig) -> bool:
    return not any(a["linked"] for a in (await rig.ask("state"))["accounts"])


# -- settings


async def test_no_setting_is_without_a_test(rig: Rig) -> None:
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_sandbox_*.py"))
    assert [s.name for s in SETTINGS if not re.search(rf"""settings", {s.name}=|"{s.name}": """, sources)] == []


async def test_stores_not_in_memory(rig: Rig, number: str) -> None:
    sent = await rig.send(number, "on disk")
    await rig.control("settings", stores_not_in_memory=True)
    await rig.reload()
    assert await rig.js("return WPP.whatsapp.MsgStore.length") == 0
    assert await rig.ack(sent["id"]) == "chat_not_found"
    await rig.js(f"await WPP.chat.find('{number}@c.us')")
    assert await rig.ack(sent["id"]) >= 1
    assert await rig.ack(f"true_{number}@c.us_3EB0{'0' * 18}") == "msg_not_found"


async def test_stores_that_are_read_late(rig: Rig, number: str) -> None:
    sent = await rig.send(number, "on disk")
    await rig.control("settings", late_stores=2)
    await rig.reload()
    await rig.js(f"await WPP.chat.find('{number}@c.us')")
    assert await rig.ack(sent["id"]) == "msg_not_found"
    await until("the store is read", lambda: _acked(rig, sent["id"]))


async def test_stored_after_the_send(rig: Rig, number: str) -> None:
    order = """const order = []; const put = IDBObjectStore.prototype.put; const say = WebSocket.prototype.send;
    IDBObjectStore.prototype.put = function (row) { if (row.body === 'order') order.push('stored'); return put.call(this, row) };
    WebSocket.prototype.send = function (text) { if (text.includes('"order"')) order.push('sent'); return say.call(this, text) };
    const chat = await WPP.chat.find('NUMBER@c.us');
    await WPP.chat.sendTextMessage(chat.id, 'order', {waitForAck: false, linkPreview: false});
    IDBObjectStore.prototype.put = put; WebSocket.prototype.send = say; return order.slice(0, 2);""".replace("NUMBER", number)
    assert await rig.js(order) == ["stored", "sent"]
    await rig.control("settings", store_after_send=True)
    await until("the page knows", lambda: _is(rig, order, ["sent", "stored"]))


async def _is(rig: Rig, body: str, value: Any) -> bool:
    return bool(await rig.js(body) == value)


async def test_chats_open_under_the_lid_after_the_migration(rig: Rig, number: str) -> None:
    before = await rig.send(number, "before the migration")
    await rig.control("settings", lid_migration=True)
    await until("the page knows", lambda: _is(rig, "return WPP.whatsapp.Lid1X1MigrationUtils.isLidMigrated()", True))
    lid = await rig.js(f"return String((await WPP.chat.find('{number}@c.us')).id)")
    assert lid.endswith("@lid")
    refused = await rig.js(
        f"""return await WPP.chat.sendTextMessage('{number}@c.us', 'x', {{messageId: 'true_{number}@c.us_3EB0{"C" * 18}'}})
        .then(() => 'sent', (e) => e.code)"""
    )
    assert refused == "message_key_remote_id_is_not_same_of_chat"
    sent = await rig.send(number, "after it")
    assert sent["id"].startswith(f"true_{lid}_")
    row = await rig.row(sent["id"])
    assert row and row["chat"] == lid and row["number"] == number
    await rig.reload()
    moved = before["id"].replace(f"{number}@c.us", lid)
    assert [await rig.ack(moved) >= 1, await rig.ack(before["id"])] == [True, "chat_not_found"]
    await rig.control("incoming", **{"from": number, "text": f"to the lid {number}"})
    await rig.until_js(
        f"WPP.whatsapp.MsgStore.getModelsArray().some((m) => m.body === 'to the lid {number}' && String(m.from) === '{lid}')"
    )


async def test_a_group_message_is_found_under_the_other_participant_after_a_reload(rig: Rig) -> None:
    group = "120363000000000001@g.us"
    account = (await rig.ask("state"))["accounts"][0]
    lid, pn = account["lid"], f"{account['number']}@c.us"
    hex_id = f"3EB0{'D' * 18}"
    under_pn, under_lid = f"true_{group}_{hex_id}_{pn}", f"true_{group}_{hex_id}_{lid}"
    await rig.send(group, "whose is it", id=under_pn)
    await rig.reload()
    assert [await rig.ack(under_pn) >= 1, await rig.ack(under_lid)] == [True, "msg_not_found"]
    await rig.control("settings", group_participant="lid")
    await rig.reload()
    assert [await rig.ack(under_lid) >= 1, await rig.ack(under_pn)] == [True, "msg_not_found"]
    await rig.control("settings", group_participant="pn")
    await rig.reload()
    assert [await rig.ack(under_pn) >= 1, await rig.ack(under_lid)] == [True, "msg_not_found"]
    await rig.control("ack", id=hex_id, ack=3)
    await until("a receipt finds it too", lambda: _acked(rig, under_pn, 3))


async def test_receipts_by_hand(rig: Rig, number: str) -> None:
    await rig.control("settings", receipts=False)
    sent = await rig.send(number, "nobody reads")
    await rig.control("ack", id=sent["id"], ack=2)
    await until("delivered", lambda: _acked(rig, sent["id"], 2))
    assert (await rig.row(sent["id"]))["acks"] == [1, 2]
