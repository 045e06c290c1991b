"""The systemd unit under a real systemd, installed by the commands in its head: a machine is made of the image for it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from container_rig import Machine
from gateway_rig import until
from image_rig import CHECKOUT, Image

pytestmark = pytest.mark.timeout(1200)
UNIT = CHECKOUT / "deploy" / "systemd" / "whatsapp-gateway.service"
#: Where the unit expects the checkout.
HOME = "opt/whatsapp-gateway"
#: The unit's TimeoutStopSec.
STOP = 30.0


@pytest.fixture
def machine(image: Image) -> Iterator[Machine]:
    root = Path(tempfile.mkdtemp(prefix="gw-machine-"))
    root.chmod(0o755)
    try:
        subprocess.run(["cp", "-a", f"{image.root}/.", str(root)], check=True)
        installed = Image(root, env={"PATH": image.env["PATH"] + ":/usr/sbin:/sbin"})
        installed.run("apt-get update -q && apt-get install -y -q --no-install-recommends dbus sudo systemd systemd-sysv")
        # `make install` has been done there, in the words of the unit's head
        (root / HOME).mkdir()
        (root / HOME / ".venv").symlink_to("/opt/gateway")
        (root / HOME / "deploy/systemd").mkdir(parents=True)
        shutil.copy(UNIT, root / HOME / "deploy/systemd")
        settings = root / "etc/systemd/system/whatsapp-gateway.service.d"
        settings.mkdir(parents=True)
        (settings / "sandbox.conf").write_text("[Service]\nEnvironment=GATEWAY_WHATSAPP_URL=http://127.0.0.1:8090/\n")
        with Machine(installed, {"GATEWAY_DATA": "/var/lib/whatsapp-gateway", "HOME": "/root"}) as booted:
            yield booted
    finally:
        shutil.rmtree(root)
        root.with_suffix(".log").unlink(missing_ok=True)


def test_the_service_sends_comes_back_and_leaves_nothing_behind(machine: Machine) -> None:
    def typed(command: str) -> subprocess.CompletedProcess[str]:
        return machine.run("/bin/sh", "-c", f"cd /{HOME} && {command}")

    def main_pid() -> int:
        return int(machine.run("systemctl", "show", "--value", "-p", "MainPID", "whatsapp-gateway").stdout)

    *install, qr = re.findall(r"^#     (.+)$", UNIT.read_text(), re.MULTILINE)
    assert machine.run("systemd-run", "--unit=sandbox", "/opt/gateway/bin/gateway", "sandbox").returncode == 0
    for command in install:
        done = typed(command)
        assert done.returncode == 0, (command, done)
    uid = int(typed("id -u whatsapp-gateway").stdout)
    machine.image.user = f"{uid}:{int(typed('id -g whatsapp-gateway').stdout)}"
    assert "█" in until("the QR", lambda: (done := typed(qr)).returncode == 0 and done.stdout, 60)
    machine.link()
    machine.sends("from a service")
    machine.sandboxed()

    before = main_pid()
    typed("systemctl kill --signal=KILL --kill-who=main whatsapp-gateway")
    until("systemd has started it anew", lambda: main_pid() not in (0, before))
    until("it listens", lambda: machine.python("call('/readyz')"), 60)
    machine.healthy()
    machine.sends("from its successor")

    begun = time.monotonic()
    assert typed("systemctl stop whatsapp-gateway").returncode == 0
    stopped = time.monotonic() - begun
    assert stopped < STOP and [p for p in machine.processes() if p.uids().real == uid] == []
    said = typed("systemd-analyze security --no-pager whatsapp-gateway").stdout.splitlines()[-1]
    print(f"stopped within {stopped:.1f} s; {said.strip()}")
