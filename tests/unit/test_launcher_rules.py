"""What the launcher decides without starting anything: which executable, which profile, which flags."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import executable as executables
from gateway.browser.chromium import Refused, judge_lock, judge_version
from gateway.browser.flags import OFF, arguments, user_agent
from gateway.executable import Unusable, find_chromium, version
from gateway.settings import Settings
from gateway.watchdog.locks import holder


def program(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def test_a_script_is_resolved_to_the_program_beside_it(tmp_path: Path) -> None:
    real = program(tmp_path / "opt" / "chrome", b"\x7fELF")
    program(tmp_path / "opt" / "google-chrome", b'#!/bin/bash\nexec -a "$0" "$HERE/chrome" "$@"\n')
    (tmp_path / "google-chrome-stable").symlink_to(tmp_path / "opt" / "google-chrome")
    assert find_chromium(tmp_path / "google-chrome-stable") == real


def test_a_snap_stub_is_refused_with_a_sentence(tmp_path: Path) -> None:
    stub = program(tmp_path / "chromium-browser", b'#!/bin/sh\nif ! [ -x /snap/bin/chromium ]; then echo "snap install chromium"; fi\n')
    with pytest.raises(Unusable, match=r"is a snap, .* install Chromium or Google Chrome"):
        find_chromium(stub)


def test_what_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unusable, match="does not exist"):
        find_chromium(tmp_path / "none")
    monkeypatch.setattr(executables, "BEHIND", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unusable, match="no Chromium was found: install it"):
        find_chromium()


def test_the_version_is_asked_once_for_each_build(tmp_path: Path) -> None:
    chromium = program(tmp_path / "chromium", b'#!/bin/sh\necho "Chromium 156.0.8078.79 built on something"\necho x >> "$0.asked"\n')
    cache = tmp_path / "cache"
    assert version(chromium, cache) == version(chromium, cache) == "156.0.8078.79"
    assert (tmp_path / "chromium.asked").read_text() == "x\n"
    program(chromium, b"#!/bin/sh\necho Chromium 157.0.1.2\n")
    assert version(chromium, cache) == "157.0.1.2"


@pytest.mark.parametrize(
    ("last", "ours", "refused"),
    [
        ("157.0.1.2", "156.0.8078.79", True),
        ("156.9.9.9", "156.0.8078.79", False),
        ("99.0.1.2", "156.0.1.2", False),
        ("garbage", "156.0.1.2", False),
    ],
)
def test_an_older_major_version_is_refused(tmp_path: Path, last: str, ours: str, refused: bool) -> None:
    (tmp_path / "Last Version").write_text(last)
    if refused:
        with pytest.raises(Refused, match="would wipe the login"):
            judge_version(tmp_path, ours)
    else:
        judge_version(tmp_path, ours)


@pytest.mark.parametrize("owner", ["another-host-1", f"{socket.gethostname()}-4194304", f"{socket.gethostname()}-{os.getpid()}", "garbage"])
def test_a_lock_whose_owner_is_gone_or_no_chromium_is_cleared(tmp_path: Path, owner: str) -> None:
    for name in ("SingletonLock", "SingletonSocket", "SingletonCookie"):
        (tmp_path / name).symlink_to(owner)
    judge_lock(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_flags(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, chromium_args="--disable-features=Mine,Yours --lang=de '--x=a b'")
    flags = arguments(settings, tmp_path / "profile", "156.0.8078.79", 4711)
    assert "--remote-debugging-port=0" in flags
    assert "--proxy-server=http://127.0.0.1:4711" in flags
    assert [f for f in flags if f.startswith("--disable-features=")] == [f"--disable-features={','.join(OFF)},Mine,Yours"]
    assert flags.index("--lang=de") > flags.index("--lang=en-US")
    assert "--x=a b" in flags
    assert ("--no-sandbox" in flags) == (os.geteuid() == 0)
    assert "Headless" not in user_agent("156.0.8078.79")
    assert "Chrome/156.0.0.0" in user_agent("156.0.8078.79")


@pytest.mark.parametrize(
    ("line", "pid"),
    [
        ("3: POSIX  ADVISORY  WRITE 4711 fe:01:1234 120 120", 4711),
        ("3: POSIX  ADVISORY  WRITE 4711 fe:01:1234 120 127", 4711),
        ("3: POSIX  ADVISORY  READ 4711 fe:01:1234 120 120", None),
        ("3: POSIX  ADVISORY  WRITE 4711 fe:01:1234 124 124", None),
        ("3: POSIX  ADVISORY  WRITE 4711 fe:01:1235 120 120", None),
        ("3: -> POSIX  ADVISORY  WRITE 4711 fe:01:1234 120 120", None),
        ("3: POSIX  ADVISORY  WRITE -1 fe:01:1234 120 120", None),
        ("3: FLOCK  ADVISORY  WRITE 4711 fe:01:1234 0 EOF", None),
        ("", None),
    ],
)
def test_who_holds_the_write_lock(line: str, pid: int | None) -> None:
    assert holder(f"1: FLOCK  ADVISORY  WRITE 1 00:01:9 0 EOF\n{line}\n", "fe:01:1234") == pid


def test_slots_are_found_without_heavy_modules() -> None:
    """`gateway setup` imports the search for Chromium before anything else is installed."""
    code = "import sys, gateway.executable; assert not {'aiohttp', 'pyppeteer', 'pydantic', 'structlog'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
