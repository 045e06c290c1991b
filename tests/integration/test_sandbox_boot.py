"""The unmodified wa-js boots on the sandbox's page, is linked, stays linked, and is logged out from either side."""

from __future__ import annotations

from sandbox_rig import USER_AGENT, Browser, Rig, until, wa_js

SEEN = """window.seen = [];
WPP.on('conn.stream_mode_changed', (mode) => seen.push(mode));
WPP.on('conn.stream_info_changed', (info) => seen.push(info));
WPP.on('conn.authenticated', () => seen.push('authenticated'));"""
DEVICE = "return String(WPP.whatsapp.UserPrefs.getMaybeMeDevicePn())"

#: What a host does so that the passkey is made elsewhere.
PASSKEY = """navigator.credentials.get = (options) => new Promise((resolve) => {
    window.asked = options;
    window.confirm = () => resolve({id: 'made elsewhere'});
});"""


async def test_from_qr_to_main_without_a_console_error() -> None:
    async with Rig() as rig:
        await rig.until_js("window.WPP?.isInjected && WPP.isReady")
        await rig.js(SEEN)
        code = await rig.qr()
        assert len(code.split(",")) == 4
        assert await rig.js("return (await WPP.conn.refreshQR()).fullCode") != code
        await rig.link()
        seen = await rig.js("return seen")
        assert [s for s in seen if s in ("PAIRING", "SYNCING", "MAIN")] == ["PAIRING", "SYNCING", "SYNCING", "MAIN"]
        assert "authenticated" in seen
        assert await rig.js("return String(WPP.conn.getMyUserId())") == "491700000001@c.us"
        assert rig.browser.errors == []
        assert all(r.startswith((rig.sandbox.url, "data:", "about:", "blob:")) for r in rig.browser.requests)
        assert (await rig.ask("summary"))["foreign_requests"] == 0


async def test_the_login_survives_a_reload_and_a_kill_of_chromium() -> None:
    async with Rig() as rig:
        await rig.link()
        await rig.reload()
        assert await rig.js(DEVICE) == "491700000001:1@c.us"
        await rig.restart()
        await rig.main()
        assert await rig.js(DEVICE) == "491700000001:1@c.us"
        (account,) = (await rig.ask("state"))["accounts"]
        assert account["linked"] and account["connected"] and [d["number"] for d in account["devices"]] == [1]


async def test_logout_from_either_side_and_a_new_device_number_each_time() -> None:
    async with Rig() as rig:
        await rig.link()
        await rig.js("window.out = 0; WPP.on('conn.logout', () => { out = 1; sessionStorage.out = 'told' })")
        assert (await rig.control("unlink"))["removed"] == ["491700000001:1@c.us"]
        await rig.link()
        assert await rig.js("return sessionStorage.out") == "told"
        assert await rig.js(DEVICE) == "491700000001:2@c.us"

        assert await rig.js("return await WPP.conn.logout()") is True
        await until("the server knows", lambda: _not_linked(rig))
        await rig.link()
        assert await rig.js(DEVICE) == "491700000001:3@c.us"


async def _not_linked(rig: Rig) -> bool:
    return not any(a["linked"] for a in (await rig.ask("state"))["accounts"])


async def test_an_unlinked_page_that_was_away_is_logged_out_when_it_comes_back() -> None:
    async with Rig() as rig:
        await rig.link()
        await rig.browser.kill()
        await rig.control("unlink")
        await rig.browser.start(rig.sandbox.url)
        assert await rig.qr()


async def test_the_qr_code_changes_expires_and_comes_back_when_asked_for() -> None:
    async with Rig(settings={"qr_first": 0.2, "qr_each": 0.1}) as rig:
        await rig.until_js("WPP.conn.isIdle()")
        assert await rig.js("return await WPP.conn.getAuthCode()") is None
        said = await rig.control("scan", status=409)
        assert "no page shows a qr code" in said["error"]["message"].lower()
        await rig.control("settings", qr_first=60)
        await rig.js("WPP.conn.refreshQR()")
        await rig.link()


async def test_linking_by_a_code_typed_into_the_phone() -> None:
    async with Rig() as rig:
        await rig.qr()
        code = await rig.js("return await WPP.conn.genLinkDeviceCodeForPhoneNumber('4917600000007')")
        assert len(code) == 8
        await rig.control("scan", status=409, code="WRONG123")
        assert (await rig.control("scan", code=f"{code[:4]}-{code[4:]}"))["account"] == "4917600000007"
        await rig.main()
        assert await rig.js("return String(WPP.conn.getMyUserId())") == "4917600000007@c.us"


async def test_another_phone_may_scan() -> None:
    async with Rig() as rig:
        await rig.link(account="+49 170 0000002")
        assert await rig.js(DEVICE) == "491700000002:1@c.us"


async def test_a_passkey_is_asked_for_after_the_scan() -> None:
    async with Rig(settings={"passkey_after_scan": True}) as rig:
        await rig.qr()
        await rig.js(PASSKEY)
        await until("the code is on show", rig._on_show)
        await rig.control("scan")
        await rig.until_js("window.asked?.publicKey.challenge.length === 32")
        assert [p["state"] for p in (await rig.ask("state"))["pages"]] == ["passkey"]
        assert await rig.js("return WPP.conn.isAuthenticated()") is False
        await rig.js("confirm()")
        await rig.main()


async def test_a_headless_user_agent_is_turned_away_unless_allowed() -> None:
    async with Rig(user_agent=None) as rig:
        assert "Headless" in await rig.js("return navigator.userAgent")
        assert "does not work with this browser" in await rig.js("return document.body.innerText")
        assert await rig.js("return typeof window.__d") == "undefined"
        await rig.control("settings", refuse_headless=False)
        await rig.browser.page.reload()
        assert await rig.qr()


async def test_slow_load_and_slow_sync() -> None:
    async with Rig(settings={"slow_load": 1.2, "slow_sync": 1.2}) as rig:
        timing = "return performance.getEntriesByType('resource').find((r) => r.name.endsWith('loader.js')).duration"
        assert await rig.js(timing) >= 1200
        await rig.qr()
        await until("the code is on show", rig._on_show)
        await rig.js("WPP.whatsapp.Stream.on('change:mode', (_, mode) => { window[mode] = performance.now() })")
        await rig.control("scan")
        await rig.main()
        assert await rig.js("return MAIN - SYNCING") >= 1150


async def test_a_second_page_of_the_same_profile_is_a_conflict_for_the_first() -> None:
    async with Rig() as rig:
        await rig.link()
        second = await rig.browser.page.browser.newPage()
        await second.goto(rig.sandbox.url)
        await rig.until_js("WPP.whatsapp.Stream.mode === 'CONFLICT' && WPP.whatsapp.Socket.state === 'CONFLICT'")
        states = await until("the second is ready", lambda: _states(rig, "ready"))
        assert states == ["ready"]


async def _states(rig: Rig, wanted: str) -> list[str] | None:
    states = [p["state"] for p in (await rig.ask("state"))["pages"]]
    return states if states == [wanted] else None


async def test_the_policy_blocks_other_hosts_and_inline_scripts_and_counts_the_first() -> None:
    async with Rig() as rig:
        await rig.qr()
        await rig.js("try { await fetch('https://example.invalid/x') } catch (e) { return e.message }")
        await rig.js("const s = document.createElement('script'); s.textContent = 'window.inline = 1'; document.body.append(s)")
        await rig.js("const i = new Image(); i.src = 'http://example.invalid/pixel.gif'; document.body.append(i)")
        await until("both requests are counted", lambda: _foreign(rig, 2))
        assert await rig.js("return window.inline === undefined && eval('1 + 1') === 2")


async def _foreign(rig: Rig, count: int) -> bool:
    return bool((await rig.ask("summary"))["foreign_requests"] == count)


async def test_a_reset_makes_everything_new_also_for_an_open_page() -> None:
    async with Rig() as rig:
        await rig.link()
        await rig.send("4915550001", "before")
        await rig.control("reset")
        assert (await rig.ask("summary"))["ids"] == 0 and await rig.ask("messages") == []
        await rig.link()
        assert await rig.js(DEVICE) == "491700000001:1@c.us"
        assert await rig.js("return WPP.whatsapp.MsgStore.length") == 0


async def test_two_browsers_are_two_devices_of_one_account() -> None:
    async with Rig() as rig:
        await rig.link()
        other = Browser(rig.directory / "other" / "profile", user_agent=USER_AGENT, bundle=wa_js())
        await other.start(rig.sandbox.url)
        try:
            await until("its code is on show", rig._on_show)
            assert (await rig.control("scan"))["device"] == "491700000001:2@c.us"
            await until("MAIN", lambda: other.js("return WPP.isFullReady && WPP.whatsapp.Stream.mode === 'MAIN'"))
            assert await rig.js("return WPP.whatsapp.Stream.mode") == "MAIN"
        finally:
            await other.kill()
