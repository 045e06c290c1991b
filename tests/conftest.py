"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from gateway_rig import Gateway

# the developer's own settings must not reach a test
OURS = ("GATEWAY_WA_JS", "GATEWAY_CHROMIUM", "GATEWAY_CHAOS_SEED", "GATEWAY_CHAOS_ALL", "GATEWAY_CHAOS_KILLS", "GATEWAY_CHAOS_MINUTES")
for name in [n for n in os.environ if n.startswith("GATEWAY_") and n not in OURS]:
    del os.environ[name]

# a busy machine is no failure: what a test takes is no property of the code
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    """The whole gateway on a sandbox, a phone linked: one for the module."""
    from gateway_rig import Gateway

    with Gateway() as g:
        g.link()
        yield g


@pytest.fixture
def story(request: pytest.FixtureRequest, gateway: Gateway) -> Iterator[None]:
    """What the module's gateway did is printed if the test fails."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        gateway.print_story()
