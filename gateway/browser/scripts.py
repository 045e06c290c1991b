"""What is put into WhatsApp's page: the prelude, the unmodified wa-js bundle, our bridge."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

#: The bridge's name in the page (bridge.js); nothing there enumerates it.
BRIDGE_NAME = "window.__whatsappGateway"
#: wa-js reads it while it loads: no analytics, no third party that sees links found in texts, no status of everybody.
CONFIG = {"disableGoogleAnalytics": True, "linkPreviewApiServers": [], "syncAllStatus": False}
_BRIDGE = Path(__file__).with_name("bridge.js")


@dataclass(frozen=True)
class Scripts:
    """The scripts for one session's page; `url` is WhatsApp Web's, `bundle` the path of wa-js."""

    url: str
    bundle: Path

    @cached_property
    def version(self) -> str:
        """The bridge's version: a hash of its file."""
        return hashlib.sha256(_BRIDGE.read_bytes()).hexdigest()[:16]

    @cached_property
    def bridge(self) -> str:
        """The bridge alone, to be evaluated in a living document."""
        return _BRIDGE.read_text().replace("'unversioned'", json.dumps(self.version), 1)

    @cached_property
    def document(self) -> str:
        """All three in their order, for each new document."""
        return f"window.WPPConfig = {json.dumps(CONFIG)};\n{self.bundle.read_text()}\n;{self.bridge}"
