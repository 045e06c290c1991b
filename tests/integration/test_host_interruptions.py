"""What comes between the host and WhatsApp's page: dialogs, another window, an outage. Said in its own words; nothing dies of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from host_rig import HostRig, until

from gateway import beat
from gateway.session import complaints, remarks

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HostRig]:
    async with HostRig(Path(tmp_path_factory.mktemp("host")), call_timeout=5.0) as rig:
        await rig.linked()
        yield rig


@pytest_asyncio.fixture(loop_scope="module")
async def rig(shared: HostRig) -> AsyncIterator[HostRig]:
    await shared.ready()
    yield shared
    for fault in (await shared.ask("state"))["faults"]:
        with contextlib.suppress(AssertionError):
            await shared.heal(fault["id"])


def said(rig: HostRig) -> list[str]:
    return complaints(rig.evidence(), beat.boot_time(), 120.0)


async def says(rig: HostRig, words: str) -> bool:
    return any(words in c for c in said(rig))


async def no_faults(rig: HostRig) -> bool:
    return (await rig.ask("state"))["faults"] == []


async def healthy(rig: HostRig) -> bool:
    return said(rig) == []


async def generation(rig: HostRig) -> str | None:
    return (await rig.session()).generation


async def test_a_known_dialog_is_dismissed(rig: HostRig) -> None:
    before = await generation(rig)
    for title, button in (("What’s new on WhatsApp Web", "Continue"), ("Update available", "Not now"), ("A fresh look", "OK")):
        await rig.fault("modal", title=title, button=button)
        await until(f"{title} is gone", lambda: no_faults(rig))
    await until("healthy", lambda: healthy(rig))
    evidence = rig.evidence()
    assert evidence is not None and evidence.dialogs == ()
    assert await generation(rig) == before


@pytest.mark.parametrize(
    ("title", "button", "count"),
    [
        pytest.param("Log out of all devices?", "OK", 1, id="unknown"),
        pytest.param("What’s new", "Log out", 1, id="known, with a button that is not"),
        pytest.param("What’s new", "Continue", 9, id="known, and its button does nothing"),
    ],
)
async def test_what_cannot_be_dismissed_is_said_and_hinders_nobody(rig: HostRig, title: str, button: str, count: int) -> None:
    fault = await rig.fault("modal", title=title, button=button, count=count)

    async def remarked() -> bool:
        return any(title in r for r in remarks(rig.evidence(), beat.boot_time()))

    await until("it is said", remarked)
    assert await healthy(rig)
    left = next(f["count"] for f in (await rig.ask("state"))["faults"])
    assert left == (1 if count == 1 else count - 3), "no button of it was pressed, or three times and never again"
    await rig.sent(await rig.accept("4915550001", f"under {title} {button}"))
    await rig.heal(fault)

    async def forgotten() -> bool:
        return not remarks(rig.evidence(), beat.boot_time())

    await until("and then no more", forgotten)


async def test_a_renamed_field_hinders_nothing(rig: HostRig) -> None:
    fault = await rig.fault("renamed_field")
    await rig.sent(await rig.accept("4915550001", "ids are read as text"), await rig.accept("4915550088", "also new ones"))
    assert (await rig.order("reload_page")).error is None
    await rig.sent(await rig.accept("4915550001", "on a page that never had the field"))
    await until("healthy", lambda: healthy(rig))
    await rig.heal(fault)


async def test_another_window_is_said_and_our_place_is_taken_back(rig: HostRig) -> None:
    before = await generation(rig)
    await rig.fault("conflict")
    await until("it was taken back", lambda: taken_over(rig, 1))
    await until("back, without a new document", lambda: healthy(rig), 10)
    await rig.fault("conflict")  # again: now with a pause before it is taken back, in which it can be seen
    await until("it is said", lambda: says(rig, "open in another window"), 4)
    assert (await rig.session()).state == "degraded"
    id = await rig.accept("4915550001", "while another window is open")
    await rig.sent(id)
    await until("healthy", lambda: healthy(rig))
    assert await taken_over(rig, 2) and await generation(rig) == before and not await rig.twice()


async def taken_over(rig: HostRig, times: int) -> bool:
    evidence = rig.evidence()
    return evidence is not None and evidence.takeovers == times


async def test_an_outage_is_said_and_ends_with_the_page_that_it_began_with(rig: HostRig) -> None:
    await rig.sent(await rig.accept("4915550001", "before the outage"))
    before = await generation(rig)
    away = await rig.fault("away")
    await until("it is said", lambda: says(rig, "the line has been down for"), 6)
    assert len(said(rig)) == 1
    id = await rig.accept("4915550001", "during the outage")
    await rig.heal(away)
    await rig.sent(id)
    await until("healthy", lambda: healthy(rig))
    assert await generation(rig) == before


async def test_a_chromium_killed_in_an_outage_heals_when_it_ends_and_is_not_called_broken(rig: HostRig) -> None:
    away = await rig.fault("away")
    await until("it is said", lambda: says(rig, "the line has been down for"), 6)
    await rig.kill_chromium()
    await rig.start_chromium()
    await until("it is said in the words of now", lambda: says(rig, "WhatsApp Web cannot be loaded"), 20)
    evidence = rig.evidence()
    assert evidence is not None and evidence.connected and evidence.canary_failed_since is None and len(said(rig)) == 1
    id = await rig.accept("4915550001", "under a dead sky")
    await asyncio.sleep(2)  # some rounds of trying to load it
    assert rig.host is not None and rig.host.returncode is None
    await rig.heal(away)
    await rig.sent(id)
    await until("healthy", lambda: healthy(rig))
    assert not await rig.twice()


async def test_a_logout_elsewhere_is_said_until_somebody_scans(rig: HostRig) -> None:
    await rig.fault("logged_out")
    await until("it is said", lambda: says(rig, "was logged out"))
    id = await rig.accept("4915550001", "while logged out")
    await until("a QR code is on show", rig._on_show)
    assert await says(rig, "was logged out") and len(said(rig)) == 1
    await rig.control("scan")
    await rig.sent(id)
