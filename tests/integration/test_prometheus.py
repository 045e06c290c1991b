"""What is committed for Prometheus, judged by Prometheus' own tools and seen to work on a living gateway."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator

import pytest
import yaml
from gateway_rig import Gateway, until
from prometheus_rig import CONFIG, Prometheus, hurried, promtool, seconds

RUNBOOKS = CONFIG.parents[1] / "docs" / "alerts.md"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway() as g:
        g.link()
        g.sent(g.send("one"))
        yield g


def rules() -> list[dict[str, object]]:
    return [rule for group in yaml.safe_load((CONFIG / "alerts.yml").read_text())["groups"] for rule in group["rules"]]


def test_configuration_and_rules_are_right() -> None:
    promtool("check", "config", str(CONFIG / "prometheus.yml"))
    assert f"{len(rules())} rules found" in promtool("check", "rules", str(CONFIG / "alerts.yml"))
    promtool("test", "rules", str(CONFIG / "alerts_test.yml"))


def test_the_tests_of_the_rules_can_fail(tmp_path) -> None:
    (tmp_path / "alerts_test.yml").write_text((CONFIG / "alerts_test.yml").read_text())
    wrong = (CONFIG / "alerts.yml").read_text().replace("for: 10m", "for: 0s")
    (tmp_path / "alerts.yml").write_text(wrong)
    with pytest.raises(AssertionError, match="FAILED"):
        promtool("test", "rules", str(tmp_path / "alerts_test.yml"))


def test_every_alert_says_what_to_do_and_has_its_section() -> None:
    sections = re.findall(r"^## (\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    assert sections == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning")  # type: ignore[index]
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}  # type: ignore[attr-defined]
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{str(rule['alert']).lower()}"  # type: ignore[index]


def test_waits_are_shortened_and_expressions_are_not() -> None:
    committed = rules()
    short = [rule for group in hurried({"groups": [{"rules": rules()}]})["groups"] for rule in group["rules"]]
    assert [rule["expr"] for rule in short] == [rule["expr"] for rule in committed]
    assert {rule.get("for") for rule in short} == {None, "300ms", "600ms", "1200ms", "6000ms"}
    assert seconds("1m30s") == 90


def test_metrics_are_as_prometheus_wants_them(gateway: Gateway) -> None:
    with urllib.request.urlopen(f"{gateway.api.base}/metrics", timeout=10) as answer:
        scraped = answer.read()
    assert promtool("check", "metrics", stdin=scraped) == ""
    for rule in rules():
        for name in re.findall(r"whatsapp_gateway_\w+", str(rule["expr"])):
            assert re.search(rf"^{name}(\{{| )", scraped.decode(), re.MULTILINE), f"{rule['alert']} asks for {name}, and nobody says it"


def test_an_alert_fires_and_is_resolved(gateway: Gateway) -> None:
    with Prometheus(gateway.api.base) as prometheus:
        until("no alert", lambda: prometheus.alerts() == {})  # a slow machine's session may have been a second late
        gateway.sandbox.post("/control/unlink")
        assert prometheus.firing("LoggedOut")["labels"]["session"] == "default"
        prometheus.firing("SessionUnhealthy")
        gateway.link()
        prometheus.resolved("LoggedOut")
        prometheus.resolved("SessionUnhealthy")
