"""Preferences of the profile for which Chromium has no command-line flag."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

#: Where a name cannot be resolved, Chromium's error page asks 8.8.8.8 and the local resolver for google.com.
QUIET: dict[str, Any] = {"alternate_error_pages": {"enabled": False}}


def quieten(profile: Path) -> None:
    """Write QUIET into the profile's preferences. To be called while no Chromium works on the profile.

    A file that cannot be read is left as it is: Chromium replaces it with its defaults.
    """
    path = profile / "Default" / "Preferences"
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        found = {}
    except (OSError, ValueError):
        return
    wanted = merged(found, QUIET)
    if wanted == found:
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name("Preferences.gateway")
    fresh.write_text(json.dumps(wanted, separators=(",", ":")))
    fresh.replace(path)


def merged(base: Any, over: Any) -> Any:
    """`base` with the values of `over`, object by object."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return {**base, **{key: merged(base.get(key), value) for key, value in over.items()}}
