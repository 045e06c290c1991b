"""Chromium's command line. Why each flag is there, and why others are not: docs/chromium-flags.md."""

from __future__ import annotations

import os
import platform
import shlex
from pathlib import Path

from gateway.settings import Settings

#: /dev/shm below this many bytes (Docker gives 64 MB) crashes renderers: shared memory then goes to TMPDIR.
SMALL_SHM = 1 << 30

STEADY = (
    "--headless=new",
    "--no-first-run",
    "--no-default-browser-check",
    "--password-store=basic",  # no desktop keyring on a server
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-hang-monitor",  # a hung page is the watchdog's business
    "--disable-prompt-on-repost",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-breakpad",
    "--disable-domain-reliability",
    "--disable-client-side-phishing-detection",
    "--disable-gpu",
    "--disable-software-rasterizer",
    "--metrics-recording-only",
    "--log-level=3",  # fatal alone: a server has no D-Bus, and each start would log dozens of errors about it
    "--mute-audio",
    "--no-pings",
)
OFF = (
    "AcceptCHFrame",
    "AutofillServerCommunication",
    "BackForwardCache",  # a page left behind would keep its socket and its memory
    "CalculateNativeWinOcclusion",
    "DialMediaRouteProvider",
    "InterestFeedContentSuggestions",
    "MediaRouter",
    "OptimizationHints",
    "SpareRendererForSitePerProcess",  # a renderer kept for the next site: we have one
    "Translate",
)


def user_agent(version: str) -> str:
    """The reduced user agent of Chrome of that version: WhatsApp Web has turned "HeadlessChrome" away before."""
    machine = "aarch64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    return f"Mozilla/5.0 (X11; Linux {machine}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version.split('.')[0]}.0.0.0 Safari/537.36"


def arguments(settings: Settings, profile: Path, version: str) -> list[str]:
    """All arguments after the executable. The operator's come last and win; feature lists are joined, as Chromium heeds the last only."""
    own = shlex.split(settings.chromium_args)
    flags = [
        *STEADY,
        f"--user-data-dir={profile}",
        "--remote-debugging-port=0",  # a free port on 127.0.0.1, told in DevToolsActivePort
        f"--user-agent={user_agent(version)}",
        "--window-size=1280,900",
        "--lang=en-US",
    ]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")
    if _free("/dev/shm") < SMALL_SHM:  # noqa: S108 - named to be measured
        flags.append("--disable-dev-shm-usage")
    if settings.proxy:
        flags.append(f"--proxy-server={settings.proxy}")
    off = ",".join([*OFF, *_values(own, "--disable-features=")])
    own = [flag for flag in own if not flag.startswith("--disable-features=")]
    return [*flags, f"--disable-features={off}", *own, "about:blank"]


def _values(flags: list[str], name: str) -> list[str]:
    return [value for flag in flags if flag.startswith(name) for value in flag.removeprefix(name).split(",") if value]


def _free(directory: str) -> int:
    try:
        stat = os.statvfs(directory)
    except OSError:
        return 0
    return stat.f_bavail * stat.f_frsize
