"""Policies of an administrator that Chromium obeys before any flag: the files that hold them, and those that stop the gateway.

Chromium reads every *.json in `managed` and `recommended` of its policy directory; of two files in one directory the last by name wins.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

#: Where a browser looks, by the directory of its executable; all other builds look in the first.
DIRECTORIES = {"/opt/google/chrome": Path("/etc/opt/chrome/policies")}
USUAL = Path("/etc/chromium/policies")


@dataclass(frozen=True, slots=True)
class Policy:
    """One value, and the file that it stands in."""

    name: str
    value: Any
    file: Path


def directory_of(executable: Path) -> Path:
    """The policy directory of that Chromium or Chrome."""
    return next((found for home, found in DIRECTORIES.items() if executable.is_relative_to(home)), USUAL)


def read(directory: Path) -> dict[str, Policy]:
    """All policies in force by name. Files that cannot be read as an object of JSON hold none, for Chromium too."""
    found: dict[str, Policy] = {}
    for level in ("recommended", "managed"):
        try:
            files = sorted((directory / level).glob("*.json"))
        except OSError:
            continue
        for file in files:
            found.update({name: Policy(name, value, file) for name, value in _values(file).items()})
    return found


def _values(file: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


#: Policies under which Chromium cannot be used at all: which values, and what to do.
FATAL: dict[str, tuple[Callable[[Any], bool], str]] = {
    "RemoteDebuggingAllowed": (lambda value: value is False, "set it to true: the gateway speaks to Chromium over DevTools"),
    "HeadlessMode": (lambda value: value == 2, "set it to 1: Chromium runs without a window here"),
}


def fatal(policies: Mapping[str, Policy]) -> str | None:
    """A sentence that names the policy, its file, and what to do, where Chromium cannot be used under it."""
    for name, (forbids, todo) in FATAL.items():
        policy = policies.get(name)
        if policy is not None and forbids(policy.value):
            return f"the policy {name} in {policy.file} forbids what the gateway needs: {todo}"
    return None


def blocking(policies: Mapping[str, Policy], url: str) -> Policy | None:
    """The policy by which Chromium does not load `url`, by its own rules for URLBlocklist and URLAllowlist; None if there is none."""
    blocked, allowed = policies.get("URLBlocklist"), policies.get("URLAllowlist")
    strongest = _strongest(blocked, url)
    if blocked is None or strongest is None or _strongest(allowed, url, at_least=strongest) is not None:
        return None
    return blocked


def _strongest(policy: Policy | None, url: str, at_least: tuple[int, int] = (0, 0)) -> tuple[int, int] | None:
    """How narrow the narrowest matching pattern is (characters of its host, of its path); None if none matches, or none so narrow."""
    patterns = policy.value if policy is not None and isinstance(policy.value, list) else []
    matching = [weight for one in patterns if isinstance(one, str) and (weight := matches(one, url)) is not None and weight >= at_least]
    return max(matching, default=None)


def matches(pattern: str, url: str) -> tuple[int, int] | None:
    """Whether a pattern of URLBlocklist matches, and how narrow it is.

    `[scheme://][.]host[:port][/path]`: a host includes those below it unless a dot stands before it; `*` is every host.
    """
    page = urlsplit(url)
    scheme, separator, rest = pattern.strip().rpartition("://")
    if separator and scheme not in ("*", page.scheme):
        return None
    authority, slash, path = rest.partition("/")
    host, colon, port = authority.rpartition(":") if not authority.endswith("]") else (authority, "", "")
    if not colon:
        host, port = authority, ""
    if port not in ("", "*") and port != str(page.port or {"https": 443, "http": 80}.get(page.scheme, 0)):
        return None
    name, here = host.lower().strip("[]"), (page.hostname or "")
    exact = name.startswith(".")
    name = name.removeprefix(".")
    if name not in ("*", "") and here != name and (exact or not here.endswith(f".{name}")):
        return None
    if slash and path not in ("", "*") and not (page.path or "/").startswith(f"/{path.rstrip('*')}"):
        return None
    return (0 if name == "*" else len(name) + exact, len(path))
