"""The rule on keys, as a table."""

import base64

import pytest
from aiohttp.http import HttpVersion10
from aiohttp.test_utils import make_mocked_request

from gateway.api.auth import Keys, admit, challenge, loopback
from gateway.api.errors import Problem
from gateway.settings import Settings

KEY = "k" * 32
WITH_KEY = Keys.of(Settings(api_key=KEY, metrics_key="m" * 16))
WITHOUT = Keys.of(Settings())


def refused(keys: Keys, path: str = "/api/messages", method: str = "GET", root: str = "", **headers: str) -> tuple[int, str] | None:
    """(status, code) of the refusal; None if the request is let through."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = make_mocked_request(method, path, headers={"Host": "localhost:3000", **named})
    try:
        admit(request, keys, root)
    except Problem as problem:
        return problem.status, problem.code
    return None


@pytest.mark.parametrize(
    "headers",
    [{"Authorization": f"Bearer {KEY}"}, {"Authorization": f"bearer {KEY}"}, {"X_Api_Key": KEY}],
)
def test_the_key_opens_everything(headers: dict[str, str]) -> None:
    assert refused(WITH_KEY, **headers) is None
    assert refused(WITH_KEY, "/metrics", **headers) is None


def test_with_a_key_host_and_proxies_do_not_matter() -> None:
    assert refused(WITH_KEY, X_Api_Key=KEY, Host="gateway.example.com", X_Forwarded_For="203.0.113.9", Via="1.1 proxy") is None


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ({}, (401, "key_missing")),
        ({"Authorization": "Bearer "}, (401, "key_missing")),
        ({"Authorization": f"Basic {KEY}"}, (401, "key_missing")),
        ({"X_Api_Key": KEY[:-1]}, (401, "key_unknown")),
        ({"X_Api_Key": KEY + "k"}, (401, "key_unknown")),
        ({"X_Api_Key": "ké" * 16}, (401, "key_unknown")),
        ({"X_Api_Key": ""}, (401, "key_unknown")),
        ({"X_Api_Key": "m" * 16}, (403, "key_lacks_scope")),
    ],
)
def test_without_the_right_key_nothing_opens(headers: dict[str, str], refusal: tuple[int, str]) -> None:
    assert refused(WITH_KEY, **headers) == refusal


def test_the_metrics_key_opens_metrics_alone() -> None:
    assert refused(WITH_KEY, "/metrics", X_Api_Key="m" * 16) is None
    assert refused(WITH_KEY, "/api/health", X_Api_Key="m" * 16) == (403, "key_lacks_scope")


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_the_probes_need_no_key(path: str) -> None:
    assert refused(WITH_KEY, path) is None
    assert refused(WITHOUT, path, Host="10.0.0.7:3000") is None


def test_a_person_may_open_the_docs_with_the_key_as_password() -> None:
    basic = "Basic " + base64.b64encode(f"me:{KEY}".encode()).decode()
    assert refused(WITH_KEY, "/api/docs", Authorization=basic) is None
    assert refused(WITH_KEY, "/api/openapi.json", Authorization=basic) is None
    assert refused(WITH_KEY, "/api/messages", Authorization=basic) == (401, "key_missing")
    assert refused(WITH_KEY, "/api/docs", Authorization="Basic !!") == (401, "key_missing")
    assert challenge(make_mocked_request("GET", "/api/docs")).startswith("Basic")
    assert challenge(make_mocked_request("GET", "/api/messages")).startswith("Bearer")


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:3000", "LocalHost:3000", "127.0.0.1", "127.0.0.1:3000", "127.8.8.8", "[::1]", "[::1]:3000"]
)
def test_without_a_key_loopback_is_served(host: str) -> None:
    assert loopback(host)
    assert refused(WITHOUT, Host=host) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        "example.com",
        "localhost.example.com",
        "127.0.0.1.nip.io",
        "10.0.0.1:3000",
        "[::2]:3000",
        "[::1",
        "0.0.0.0:3000",
        "localhostx",
        "::1:80:",
    ],
)
def test_without_a_key_another_host_is_turned_away(host: str) -> None:
    assert not loopback(host)
    assert refused(WITHOUT, Host=host) == (403, "host_not_loopback")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Origin": "https://evil.example"}, "origin_foreign"),
        ({"Origin": "null"}, "origin_foreign"),
        ({"Origin": "http://localhost:8090"}, "origin_foreign"),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}, "origin_foreign"),
        ({"Forwarded": "for=203.0.113.9"}, "forwarded"),
        ({"X_Forwarded_For": "203.0.113.9"}, "forwarded"),
        ({"x_forwarded_proto": "https"}, "forwarded"),
        ({"X_Real_IP": "203.0.113.9"}, "forwarded"),
        ({"x_real_ip": "203.0.113.9"}, "forwarded"),
        ({"Via": "1.1 proxy"}, "forwarded"),
    ],
)
def test_without_a_key_pages_and_proxies_are_turned_away(headers: dict[str, str], code: str) -> None:
    assert refused(WITHOUT, **headers) == (403, code)


@pytest.mark.parametrize("root", ["/whatsapp", "/api", "/metrics", "/healthz"])
def test_under_a_root_path_the_rule_is_the_same(root: str) -> None:
    basic = "Basic " + base64.b64encode(f"me:{KEY}".encode()).decode()
    for prefix in ("", root):
        assert refused(WITH_KEY, f"{prefix}/healthz", root=root) is None
        assert refused(WITH_KEY, f"{prefix}/metrics", root=root, X_Api_Key="m" * 16) is None
        assert refused(WITH_KEY, f"{prefix}/api/health", root=root, X_Api_Key="m" * 16) == (403, "key_lacks_scope")
        assert refused(WITH_KEY, f"{prefix}/api/docs", root=root, Authorization=basic) is None
        assert refused(WITH_KEY, f"{prefix}/api/messages", root=root) == (401, "key_missing")
        assert challenge(make_mocked_request("GET", f"{prefix}/api/docs"), root).startswith("Basic")


def test_our_own_page_is_welcome() -> None:
    assert refused(WITHOUT, method="POST", Origin="http://localhost:3000", Sec_Fetch_Site="same-origin") is None
    assert refused(WITHOUT, "/api/docs", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate") is None, "a link to the docs"


def test_http_1_0_is_turned_away() -> None:
    request = make_mocked_request("GET", "/api/health", headers={"Host": "localhost"}, version=HttpVersion10)
    with pytest.raises(Problem) as turned_away:
        admit(request, WITHOUT)
    assert turned_away.value.code == "http_1_0"
