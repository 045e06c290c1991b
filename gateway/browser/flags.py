"""Chromium's command line. Why each flag is there, and why others are not: docs/chromium-flags.md."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from gateway.browser import hosts
from gateway.settings import Settings

#: /dev/shm below this many bytes (Docker gives 64 MB) crashes renderers: shared memory then goes to TMPDIR.
SMALL_SHM = 1 << 30

#: A host that does not exist (RFC 2606), instead of Google's servers.
NOWHERE = "https://nowhere.invalid/"
#: Given once, as Chromium heeds the last one only: their values are joined with the operator's own.
JOINED = ("--disable-features=", "--host-resolver-rules=")

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
    # Google's services would be asked otherwise; what remains is stopped by --host-resolver-rules
    "--allow-browser-signin=false",
    f"--gaia-url={NOWHERE}",
    f"--google-apis-url={NOWHERE}",
    f"--component-updater=url-source={NOWHERE}",
    f"--apps-gallery-update-url={NOWHERE}",
    f"--variations-server-url={NOWHERE}",
    "--disable-component-extensions-with-background-pages",
)
OFF = (
    "AcceptCHFrame",
    "AutofillServerCommunication",
    "BackForwardCache",  # a page left behind would keep its socket and its memory
    "CalculateNativeWinOcclusion",
    "DialMediaRouteProvider",
    "InterestFeedContentSuggestions",
    "MediaRouter",
    "NetworkTimeServiceQuerying",  # the time of clients2.google.com
    "OptimizationHints",
    "SpareRendererForSitePerProcess",  # a renderer kept for the next site: we have one
    "Translate",
)


def user_agent(version: str) -> str:
    """The reduced user agent of Chrome of that version: WhatsApp Web has turned "HeadlessChrome" away before."""
    machine = "aarch64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    return f"Mozilla/5.0 (X11; Linux {machine}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version.split('.')[0]}.0.0.0 Safari/537.36"


def arguments(settings: Settings, profile: Path, version: str, proxy_port: int | None = None) -> list[str]:
    """All arguments after the executable. `proxy_port`: where the forwarder to GATEWAY_PROXY listens on 127.0.0.1; None: no proxy.

    The operator's come last and win; lists are joined, as Chromium heeds the last flag of a name only.
    """
    own = settings.chromium_flags
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
    if proxy_port is not None:
        # what of WebRTC would go past the proxy is left out
        flags += [f"--proxy-server=http://127.0.0.1:{proxy_port}", "--force-webrtc-ip-handling-policy=disable_non_proxied_udp"]
    flags.append("--disable-features=" + ",".join([*OFF, *_values(own, "--disable-features=")]))
    if rules := _resolver_rules(settings, own):
        flags.append(f"--host-resolver-rules={rules}")
    return [*flags, *(flag for flag in own if not flag.startswith(JOINED)), "about:blank"]


def _resolver_rules(settings: Settings, own: list[str]) -> str:
    """The operator's rules first: of two that match Chromium takes the first."""
    rules = [flag.removeprefix("--host-resolver-rules=") for flag in own if flag.startswith("--host-resolver-rules=")]
    return ", ".join([*rules, *filter(None, [hosts.resolver_rules(hosts.allowed_domains(settings))])])


def _values(flags: list[str], name: str) -> list[str]:
    return [value for flag in flags if flag.startswith(name) for value in flag.removeprefix(name).split(",") if value]


def _free(directory: str) -> int:
    try:
        stat = os.statvfs(directory)
    except OSError:
        return 0
    return stat.f_bavail * stat.f_frsize
