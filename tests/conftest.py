"""What all tests share."""

from __future__ import annotations

import os

# the developer's own settings must not reach a test
for name in [n for n in os.environ if n.startswith("GATEWAY_") and n not in ("GATEWAY_WA_JS", "GATEWAY_CHROMIUM")]:
    del os.environ[name]
