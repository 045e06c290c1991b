"""`gateway demo`, as `make demo` runs it."""

from __future__ import annotations

import re
import subprocess

from gateway_rig import GATEWAY


def test_the_demo_ends_with_everything_delivered_once() -> None:
    done = subprocess.run([*GATEWAY, "demo"], capture_output=True, text=True, timeout=150)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert "accepted 30  delivered 30  lost 0  twice 0" in done.stdout
    assert re.search(r"\d+\.\d\d s from kill to next send", done.stdout)
