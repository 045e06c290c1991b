"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# the developer's own settings must not reach a test
OURS = ("GATEWAY_WA_JS", "GATEWAY_CHROMIUM", "GATEWAY_CHAOS_SEED", "GATEWAY_CHAOS_ALL", "GATEWAY_CHAOS_KILLS")
for name in [n for n in os.environ if n.startswith("GATEWAY_") and n not in OURS]:
    del os.environ[name]

# a busy machine is no failure: what a test takes is no property of the code
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
