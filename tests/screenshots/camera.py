"""Takes pictures of pages with the gateway's own Chromium."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pyppeteer import launch

from gateway.executable import find_chromium


def shoot(url: str, picture: Path, width: int, height: int, *, shows: str = "document.readyState === 'complete'") -> None:
    """Write the page as a PNG of that many pixels, as soon as the expression `shows` is true in it."""
    asyncio.run(_shoot(url, picture, width, height, shows))
    print(f"{picture}: {picture.stat().st_size // 1000} kB")


async def _shoot(url: str, picture: Path, width: int, height: int, shows: str) -> None:
    browser = await launch(executablePath=str(find_chromium()), args=["--no-sandbox", "--hide-scrollbars"])
    try:
        page = await browser.newPage()
        await page.setViewport({"width": width, "height": height})
        await page.goto(url)
        await page.waitForFunction(shows, timeout=20_000)
        await page.screenshot(path=str(picture), omitBackground=True)
    finally:
        await browser.close()
