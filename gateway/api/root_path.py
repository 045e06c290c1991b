"""The path under which a proxy shows the gateway (GATEWAY_ROOT_PATH). Pure.

A proxy may strip it or pass it on: each path is served with it and without it. What is handed out begins with it.
"""

from __future__ import annotations

import re

#: What the gateway's own paths begin with.
_OURS = ("/api/", "/healthz", "/readyz", "/metrics")
#: One of our paths in a sentence.
_NAMED = re.compile(r"(?<!\S)(?=/api/)")


def without(root: str, path: str) -> str:
    """The gateway's own path that a request asks for."""
    own = path.removeprefix(root)
    return own if own.startswith(_OURS) else path


def under(root: str, sentence: str) -> str:
    """A sentence, its paths as the caller has to write them."""
    return _NAMED.sub(root, sentence) if root else sentence
