"""What a log shows of an error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
from gateway.process import configure_logging, log
from gateway.settings import load
configure_logging(load(), "api")
def fail():
    body = "a message text"
    raise RuntimeError("it failed")
try:
    fail()
except RuntimeError:
    log.exception("Something failed")
"""


@pytest.mark.parametrize("format", ["console", "json"])
def test_a_traceback_shows_no_local_variables(tmp_path: Path, format: str) -> None:
    environ = {**os.environ, "GATEWAY_DATA": str(tmp_path), "GATEWAY_LOG_FORMAT": format}
    shown = subprocess.run([sys.executable, "-c", CODE], env=environ, capture_output=True, text=True, check=True, timeout=30).stdout
    assert "it failed" in shown
    assert "a message text" not in shown.replace('body = "a message text"', "")
    assert "locals" not in shown
