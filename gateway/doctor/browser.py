"""Chromium, its profiles, its sandbox; wa-js."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from gateway.browser import profile_check
from gateway.browser.chromium import Refused, judge_version, profile_owner
from gateway.browser.walls import missing_walls
from gateway.doctor.finding import Finding, fail, ok, split, warn
from gateway.executable import Unusable, find_chromium, version
from gateway.provision import WA_JS_SHA256, WA_JS_VERSION, SetupFailed, wa_js_path
from gateway.settings import Settings
from gateway.slot import chromium_processes


def chromium(settings: Settings) -> Finding:
    """Found, no snap, and it says its version."""
    try:
        found = find_chromium(settings.chromium)
        return ok(f"Chromium {version(found)} at {found}")
    except Unusable as error:
        return split(str(error))


def profiles(settings: Settings) -> Finding:
    """No profile was written by a newer Chromium, none is in use by a Chromium that is not the gateway's, none was moved aside."""
    try:
        ours = version(find_chromium(settings.chromium))
    except Unusable:
        return warn("the profiles' versions cannot be compared without a Chromium", "see to Chromium first")
    slots = sorted(settings.data.glob("sessions/*/profile"))
    for profile in slots:
        try:
            judge_version(profile, ours)
        except Refused as error:
            return split(str(error))
        owner = profile_owner(profile)
        if owner is not None and owner not in chromium_processes(settings.data, profile.parent.name):
            return fail(f"the profile {profile} is in use by pid {owner}, a Chromium that the gateway did not start", f"end pid {owner}")
    if kept := [path for profile in slots for path in profile_check.aside(profile.parent)]:
        return warn(
            f"Chromium did not start with {', '.join(map(str, kept))}, which was moved aside for a new profile",
            "link the phone anew (`gateway qr`), then remove what was moved aside; docs/operating.md says how to put it back",
        )
    return ok(f"{len(slots)} profiles, none from a newer Chromium, none in foreign use")


def sandbox(settings: Settings) -> Finding:
    """Chromium's own sandbox works for this user."""
    if os.geteuid() == 0:
        return warn(
            "as root Chromium runs without its own sandbox, so whoever breaks into the page is root on this machine",
            "run the gateway as a user of its own",
        )
    if "--no-sandbox" in settings.chromium_flags:
        return warn(
            "GATEWAY_CHROMIUM_ARGS switches Chromium's own sandbox off: whoever breaks into the page has every right of this user",
            "leave --no-sandbox out if user namespaces can be had",
        )
    try:
        missing = missing_walls(find_chromium(settings.chromium), os.environ)
    except Unusable:
        return warn("Chromium's sandbox cannot be tried without a Chromium", "see to Chromium first")
    return split(missing) if missing else ok("Chromium's own sandbox works for this user")


def wa_js(settings: Settings) -> Finding:
    """Present, and the bundle that we know."""
    try:
        path = wa_js_path(settings)
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except (SetupFailed, OSError) as error:
        return split(str(error))
    return judge_bundle(path, found, chosen=settings.wa_js is not None)


def judge_bundle(path: Path, sha256: str, *, chosen: bool) -> Finding:
    """`chosen`: GATEWAY_WA_JS names it, so another one may be meant."""
    if sha256 == WA_JS_SHA256:
        return ok(f"wa-js {WA_JS_VERSION} at {path}, checksum right")
    said = f"{path} is not wa-js {WA_JS_VERSION} as we know it: its SHA-256 is {sha256[:16]}…, not {WA_JS_SHA256[:16]}…"
    if chosen:
        return warn(said, "unset GATEWAY_WA_JS unless you mean this bundle; it runs inside your WhatsApp session")
    return fail(said, "remove it and run `gateway setup`")
