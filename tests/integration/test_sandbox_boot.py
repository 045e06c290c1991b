"""The unmodified wa-js boots on the sandbox's page, is linked, stays linked, and is logged out from either side."""

from __future__ import annotations

import pytest
from sandbox_rig import Rig, until


async def test_from_qr_to_main_without_a_console_error() -> None:
    async with Rig() as rig:
        await rig.until_js("window.WPP?.isInjected && WPP.isReady")
        await rig.js(
            "window.seen = []; WPP.on('conn.stream_mode_changed', (m) => seen.push(m)); WPP.on('conn.authenticated', () => seen.push('authenticated'))"
        )
        code = await rig.qr()
        assert len(code.split(",")) == 4
        assert await rig.js("return (await WPP.conn.refreshQR()).fullCode") != code
        await rig.link()
        seen = await rig.js("return seen")
        assert [s for s in seen if s in ("SYNCING", "MAIN")] == ["SYNCING", "MAIN"] and "authenticated" in seen
        assert await rig.js("return String(WPP.conn.getMyUserId())") == "491700000001@c.us"
        assert await rig.js("return String(WPP.whatsapp.UserPrefs.getMaybeMeDevicePn())") == "491700000001:1@c.us"
        assert rig.browser.errors == []
        assert all(r.startswith((rig.sandbox.url, "data:", "about:")) for r in rig.browser.requests)
        assert (await rig.ask("summary"))["foreign_requests"] == 0
