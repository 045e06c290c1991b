"""Which hosts Chromium may ask."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.browser.flags import arguments
from gateway.browser.hosts import WHATSAPP, allowed_domains, is_below, resolver_rules
from gateway.browser.preferences import quieten
from gateway.browser.scripts import CONFIG
from gateway.settings import Settings


@pytest.mark.parametrize(
    ("url", "further", "domains"),
    [
        ("https://web.whatsapp.com/", "", WHATSAPP),
        ("https://web.whatsapp.com/", "graph.facebook.com, *.Giphy.com", (*WHATSAPP, "graph.facebook.com", "giphy.com")),
        ("http://127.0.0.1:8090/", "", ("127.0.0.1",)),
        ("http://sandbox:8090/", "", ("sandbox",)),
        ("http://[::1]:8090/", "*", ("::1", "*")),
    ],
)
def test_allowed_domains(tmp_path: Path, url: str, further: str, domains: tuple[str, ...]) -> None:
    assert allowed_domains(Settings(data=tmp_path, whatsapp_url=url, chromium_hosts=further)) == domains


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("web.whatsapp.com", True), ("MMG.whatsapp.net.", True), ("scontent.xx.fbcdn.net", True), ("whatsapp.net", True),
        ("accounts.google.com", False), ("notwhatsapp.com", False), ("whatsapp.com.example.org", False), ("nowhere.invalid", False),
    ],
)  # fmt: skip
def test_is_below(host: str, allowed: bool) -> None:
    assert is_below(host, WHATSAPP) is allowed
    assert is_below(host, (*WHATSAPP, "*"))


def test_rules_for_the_resolver(tmp_path: Path) -> None:
    rules = resolver_rules(("whatsapp.net", "10.0.0.7", "::1"))
    assert rules == (
        "MAP * ~NOTFOUND, EXCLUDE whatsapp.net, EXCLUDE *.whatsapp.net, EXCLUDE 10.0.0.7, EXCLUDE [::1],"
        " EXCLUDE 127.0.0.1, EXCLUDE localhost"
    )
    assert resolver_rules(("whatsapp.net", "*")) is None
    own = Settings(data=tmp_path, chromium_args="'--host-resolver-rules=MAP web.whatsapp.com 10.0.0.7'")
    (flag,) = [f for f in arguments(own, tmp_path, "156.0.1.2") if f.startswith("--host-resolver-rules")]
    assert flag.startswith("--host-resolver-rules=MAP web.whatsapp.com 10.0.0.7, MAP * ~NOTFOUND")
    anywhere = Settings(data=tmp_path, chromium_hosts="*")
    assert not any(f.startswith("--host-resolver-rules") for f in arguments(anywhere, tmp_path, "156.0.1.2"))


def test_wa_js_asks_no_third_party() -> None:
    assert CONFIG["disableGoogleAnalytics"] is True and CONFIG["linkPreviewApiServers"] == []


def test_preferences_are_merged_into_what_is_there(tmp_path: Path) -> None:
    quieten(tmp_path)
    path = tmp_path / "Default" / "Preferences"
    assert json.loads(path.read_text()) == {"alternate_error_pages": {"enabled": False}}
    path.write_text('{"alternate_error_pages": {"enabled": true, "x": 1}, "intl": {"a": "b"}}')
    quieten(tmp_path)
    assert json.loads(path.read_text()) == {"alternate_error_pages": {"enabled": False, "x": 1}, "intl": {"a": "b"}}
    path.write_text("torn {")
    quieten(tmp_path)
    assert path.read_text() == "torn {"
