"""The table of checks, and how they are shown."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from functools import partial
from textwrap import fill

from gateway.doctor import books, browser, ground, neighbours, network
from gateway.doctor.finding import Finding, Level, fail, ok, split, warn
from gateway.settings import Settings, SettingsError, load

#: In the order in which one would mend things.
CHECKS: dict[str, Callable[[Settings], Finding]] = {
    "data directory": ground.rights,
    "file system": ground.file_system,
    "disk": ground.disk,
    "temporary files": ground.temporary,
    "chromium": browser.chromium,
    "profiles": browser.profiles,
    "sandbox": browser.sandbox,
    "wa-js": browser.wa_js,
    "policies": network.policies,
    "proxy": network.proxy,
    "whatsapp": network.whatsapp,
    "locks": neighbours.locks,
    "ports": neighbours.ports,
    "other users": neighbours.people,
    "schema": books.schema,
    "clock": books.clock,
    "lanes": books.lanes_in_step,
}


def examine() -> dict[str, Finding]:
    """Every finding by the name of its check."""
    found: dict[str, Finding] = {}
    settings: Settings | None = None
    try:
        settings = load()
        found["settings"] = key(settings)
    except SettingsError as error:
        finding = split(str(error))
        found["settings"] = finding if " " in finding.said else fail(str(error), "correct it: `gateway settings` lists what there is")
        settings = _what_can_be_read()
    if settings is not None:
        for name, check in CHECKS.items():
            try:
                found[name] = check(settings)
            except OSError as error:  # one thing that cannot be looked at must not hide the others
                found[name] = fail(f"it cannot be looked at: {error}", "run `gateway doctor` as the user who runs the gateway")
    return found


def _what_can_be_read() -> Settings | None:
    """Enough of wrong settings to look at everything else."""
    kept = ("GATEWAY_DATA", "GATEWAY_CHROMIUM", "GATEWAY_WA_JS", "GATEWAY_CHROMIUM_ARGS", "GATEWAY_WHATSAPP_URL")
    try:
        return load({name: value for name, value in os.environ.items() if name in kept})
    except SettingsError:
        return None


def key(settings: Settings) -> Finding:
    """The settings can be read, and the key fits the addresses. (Keyless on another address than loopback they are refused.)"""
    if settings.key is None:
        return ok(f"all can be read; no key is set, so {settings.listen} serves this machine alone")
    file = settings.api_key_file
    if file is not None and file.stat().st_mode & 0o077:
        return warn(f"other users may read the key in {file}", f"chmod 600 {shlex.quote(str(file))}")
    return ok(f"all can be read; {settings.listen} asks for the key")


def exit_status(found: dict[str, Finding]) -> int:
    """0 unless something fails; a warning does not."""
    return int(any(f.level is Level.FAIL for f in found.values()))


def as_json(found: dict[str, Finding]) -> str:
    checks = [{"name": name, "level": f.level.value, "said": f.said, "todo": f.todo or None} for name, f in found.items()]
    return json.dumps({"status": "fail" if exit_status(found) else "ok", "checks": checks}, indent=2)


def as_text(found: dict[str, Finding], width: int = 100) -> str:
    """A line each, and under it what to do."""
    lines, row = [], partial(fill, width=width, break_on_hyphens=False, break_long_words=False)  # a path or a command stays whole
    for name, f in found.items():
        lines.append(row(f"{f.level:<5} {name}: {f.said}", subsequent_indent=" " * 6))
        if f.todo:
            lines.append(row(f"→ {f.todo}", initial_indent=" " * 6, subsequent_indent=" " * 8))
    return "\n".join(lines)
