"""What is committed for systemd and for container engines, as far as it can be judged without either."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
#: What `systemd-analyze security` may give the unit, times ten; 23 today. What Chromium's sandbox needs costs 7 of them.
EXPOSURE = 25


def systemd_analyze(*words: str) -> str:
    if shutil.which("systemd-analyze") is None:  # installing it starts nothing where systemd is not process 1
        subprocess.run(["apt-get", "-qq", "update"], check=True)
        subprocess.run(["apt-get", "-qq", "-y", "--no-install-recommends", "install", "systemd"], check=True, capture_output=True)
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def unit(tmp_path: Path) -> Path:
    """The unit with this installation's command, as verify looks whether it is there."""
    text = (DEPLOY / "systemd" / "whatsapp-gateway.service").read_text()
    here = Path(sys.executable).with_name("gateway")
    path = tmp_path / "whatsapp-gateway.service"
    path.write_text(text.replace("/opt/whatsapp-gateway/.venv/bin/gateway up", f"{here} up"))
    assert str(here) in path.read_text()
    return path


def test_systemd_has_nothing_to_say_against_the_unit(tmp_path: Path) -> None:
    assert systemd_analyze("verify", "--man=no", str(unit(tmp_path))) == ""


def test_the_unit_is_shut_but_for_what_chromiums_sandbox_needs(tmp_path: Path) -> None:
    said = systemd_analyze("security", "--offline=yes", "--no-pager", f"--threshold={EXPOSURE}", str(unit(tmp_path)))
    left_open = set(re.findall(r"^✗ (RestrictNamespaces=~\w+|MemoryDenyWriteExecute=)", said, re.MULTILINE))
    assert left_open == {*(f"RestrictNamespaces=~{kind}" for kind in ("user", "pid", "net")), "MemoryDenyWriteExecute="}


def test_compose_opens_loopback_alone_and_waits_for_an_orderly_end() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    gateway = compose["services"]["gateway"]
    assert all(port.startswith("127.0.0.1:") for port in gateway["ports"])
    assert gateway["environment"]["GATEWAY_API_KEY_FILE"] == f"/run/secrets/{gateway['secrets'][0]}"
    assert gateway["volumes"] == ["data:/data"] and set(compose["volumes"]) == {"data"}
    conf = (DEPLOY.parent / "supervisor.conf").read_text()
    assert int(gateway["stop_grace_period"].removesuffix("s")) > sum(map(int, re.findall(r"stopwaitsecs = (\d+)", conf)))
    assert "privileged" not in gateway and "cap_add" not in gateway and gateway["cap_drop"] == ["ALL"]
    assert {"no-new-privileges:true", "seccomp=seccomp.json"} == set(gateway["security_opt"])


def test_the_seccomp_profile_permits_what_the_sandbox_needs() -> None:
    profile = json.loads((DEPLOY / "seccomp.json").read_text())
    denied = {name for rule in profile["syscalls"] for name in rule["names"]}
    assert not denied & {"clone", "clone3", "unshare", "chroot", "seccomp", "capset"}
    assert {"mount", "ptrace", "bpf", "keyctl", "init_module", "setns", "reboot", "io_uring_setup"} <= denied


def test_what_the_dockerfile_copies_is_let_into_its_context_and_nothing_else() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    copied = {source for line in lines if line.startswith("COPY ") for source in line.split()[1:-1]}
    let_in = {line.removeprefix("!") for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    assert let_in == copied
    assert all((DEPLOY.parent / source).exists() and not fnmatch(source, "data*") for source in copied)


def test_the_images_health_check_reads_the_settings_and_names_no_port() -> None:
    text = (DEPLOY / "Dockerfile").read_text() + (DEPLOY / "compose.yaml").read_text()
    assert 'CMD ["gateway", "ready"]' in text and "urlopen" not in text and "healthcheck:" not in text
