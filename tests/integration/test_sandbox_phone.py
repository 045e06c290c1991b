"""The phone page in a plain browser: it links, shows chats and ticks, writes to us, and switches faults."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sandbox_rig import Browser, Rig, until

from gateway.sandbox.behaviour import SETTINGS
from gateway.sandbox.faults import CATALOGUE


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with Rig() as rig:
        yield rig


@pytest.fixture
async def phone(rig: Rig) -> AsyncIterator[Browser]:
    browser = Browser(rig.directory / "phone" / "profile", user_agent=None)
    try:
        await browser.start(f"{rig.sandbox.url}/phone")
        yield browser
        assert browser.errors == []
        assert [r for r in browser.requests if not r.startswith((rig.sandbox.url, "data:"))] == []
    finally:
        await browser.kill()


async def shown(phone: Browser, text: str) -> None:
    await until(f"the phone shows {text!r}", lambda: phone.js(f"return document.body.innerText.includes({text!r})"))


async def test_the_phone_from_the_scan_to_a_fault(rig: Rig, phone: Browser) -> None:
    await rig.qr()
    await until("the scan button is ready", lambda: phone.js("return document.querySelector('#link button')?.disabled === false"))
    await phone.js("document.querySelector('#link button').click()")
    await rig.main()
    await shown(phone, "WhatsApp Web is linked and online")
    assert await phone.js("return document.querySelectorAll('.fault').length") == len(CATALOGUE)
    assert await phone.js("return document.querySelectorAll('.setting').length") == len(SETTINGS)

    await rig.send("4915550100001", "Your parcel arrives at 9.")
    await until("blue ticks", lambda: phone.js("return document.querySelectorAll('.bubble.out .ticks.read').length === 1"))
    await phone.js("document.getElementById('text').value = 'Thank you!'; document.getElementById('composer').requestSubmit()")
    await rig.until_js("WPP.whatsapp.MsgStore.getModelsArray().some((m) => m.body === 'Thank you!')")
    await shown(phone, "Thank you!")

    await phone.js(
        """const form = [...document.querySelectorAll('.fault')].find((f) => f.innerText.startsWith('Ack lost')).querySelector('form');
        form.closest('details').open = true; form.elements.count.value = 1; form.requestSubmit()"""
    )
    await shown(phone, "1 × left")
    await rig.send("4915550100001", "Sent twice by the page.")
    await shown(phone, "arrived 2 times: 1 × by the page itself")

    await phone.js("document.querySelector('#link button').click()")
    await shown(phone, "No device is linked")
    await rig.qr()


async def test_a_pairing_code_is_offered_to_be_typed(rig: Rig, phone: Browser) -> None:
    await rig.qr()
    code = await rig.js("return await WPP.conn.genLinkDeviceCodeForPhoneNumber('491700000001')")
    await until("the code is offered", lambda: phone.js(f"return document.querySelector('#link form input')?.value === '{code}'"))
    await phone.js("document.querySelector('#link form').requestSubmit()")
    await rig.main()
