"""A real Prometheus on the committed configuration and rules, once a second and with the waits of the rules made short.

    with Gateway() as g, Prometheus(g.api.base) as p:
        p.firing("DiskLow")
        p.resolved("DiskLow")

Debian's package is taken where it is installed; else it is downloaded and unpacked beside the tests' Python packages, so that no
service is installed, and none started.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from gateway_rig import free_port, until

from gateway.client import Client
from gateway.process import die_with_parent

CONFIG = Path(__file__).parents[2] / "deploy" / "prometheus"
#: What a rule waits (`for`, `keep_firing_for`) is divided by this: ten minutes become six seconds. Expressions stay as they are.
FASTER = 100
_UNPACKED = Path(sys.prefix) / "share" / "whatsapp-gateway" / "prometheus"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def program(name: str) -> Path:
    """`prometheus` or `promtool`."""
    found = shutil.which(name)
    path = Path(found) if found else _UNPACKED / "usr" / "bin" / name
    if not path.exists():
        _download()
    return path


def _download() -> None:
    _UNPACKED.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_UNPACKED.parent) as at:
        download = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "prometheus"]
        if subprocess.run(download, cwd=at, capture_output=True).returncode:
            sudo = ["sudo", "-n"] if shutil.which("sudo") else []
            subprocess.run([*sudo, "apt-get", "-qq", "update"], check=True)
            subprocess.run(download, cwd=at, check=True)
        [package] = Path(at).glob("*.deb")
        subprocess.run(["dpkg", "-x", str(package), f"{at}/unpacked"], check=True)
        Path(at, "unpacked").rename(_UNPACKED)


def promtool(*words: str, stdin: bytes | None = None) -> str:
    """What promtool says; AssertionError if it is not content."""
    done = subprocess.run([str(program("promtool")), *words], input=stdin, capture_output=True, timeout=60)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


def seconds(duration: str) -> float:
    """`1m30s` → 90."""
    parts = re.findall(r"(\d+)(ms|[smhd])", duration)
    assert parts and "".join(number + unit for number, unit in parts) == duration, duration
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


def hurried(rules: dict[str, Any]) -> dict[str, Any]:
    """The rules with what they wait divided by FASTER."""
    for group in rules["groups"]:
        for rule in group["rules"]:
            for name in {"for", "keep_firing_for"} & rule.keys():
                rule[name] = f"{max(1, round(1000 * seconds(rule[name]) / FASTER))}ms"
    return rules


class Prometheus:
    """Scrapes and judges the gateway at `base` each second."""

    def __init__(self, base: str) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="gw-prometheus-"))
        self.client = Client(f"http://127.0.0.1:{free_port()}")
        config = yaml.safe_load((CONFIG / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["scrape_configs"][0]["static_configs"][0]["targets"] = [base.removeprefix("http://")]
        (self.home / "prometheus.yml").write_text(yaml.safe_dump(config))
        rules = hurried(yaml.safe_load((CONFIG / "alerts.yml").read_text()))
        (self.home / "alerts.yml").write_text(yaml.safe_dump(rules))

    def __enter__(self) -> Prometheus:
        self._log = (self.home / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                str(program("prometheus")),
                f"--config.file={self.home}/prometheus.yml",
                f"--storage.tsdb.path={self.home}/data",
                f"--web.listen-address={self.client.base.removeprefix('http://')}",
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
        until("Prometheus scrapes the gateway", lambda: self.ask("up") == {"whatsapp-gateway": 1})
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            print("--- alerts", self.alerts(), "\n--- prometheus", (self.home / "prometheus.log").read_text()[-3000:])
        self._process.terminate()
        self._process.wait(20)
        self._log.close()
        shutil.rmtree(self.home)

    def ask(self, query: str) -> dict[str, float]:
        """Values by job."""
        answer = self.client.get(f"/api/v1/query?query={query}")
        return {one["metric"]["job"]: float(one["value"][1]) for one in answer["data"]["result"]}

    def alerts(self) -> dict[str, dict[str, Any]]:
        """Those that fire now, by name."""
        found = self.client.get("/api/v1/alerts")["data"]["alerts"]
        return {one["labels"]["alertname"]: one for one in found if one["state"] == "firing"}

    def firing(self, name: str, within: float = 30.0) -> dict[str, Any]:
        """Wait until the alert fires, with all its texts filled in."""
        alert = until(f"{name} fires", lambda: self.alerts().get(name), within)
        assert alert["labels"]["severity"] in ("critical", "warning")
        for text in ("summary", "description"):
            assert alert["annotations"][text] and not re.search(r"{{|<no value>|error", alert["annotations"][text])
        return alert

    def resolved(self, name: str, within: float = 30.0) -> None:
        until(f"{name} is resolved", lambda: name not in self.alerts(), within)
