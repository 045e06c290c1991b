"""Proxies: what names one, what is refused, and that no text holds a password."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from gateway import supervisor_conf
from gateway.browser.forwarder import Request, owner_of
from gateway.proxy import Proxy, parse
from gateway.settings import Settings, SettingsError, load


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("proxy.example:3128", Proxy("http", "proxy.example", 3128)),
        ("http://proxy.example", Proxy("http", "proxy.example", 80)),
        ("HTTPS://proxy.example/", Proxy("https", "proxy.example", 443)),
        ("socks5://127.0.0.1", Proxy("socks5", "127.0.0.1", 1080)),
        ("socks4://10.0.0.1:1081", Proxy("socks4", "10.0.0.1", 1081)),
        ("http://[::1]:3128", Proxy("http", "::1", 3128)),
        ("http://u:p%40ss@h:1", Proxy("http", "h", 1, "u", "p@ss")),
        ("http://u:p@ss/50%@h:1", Proxy("http", "h", 1, "u", "p@ss/50%")),
        ("http://u@h:1", Proxy("http", "h", 1, "u", "")),
    ],
)
def test_what_names_a_proxy(text: str, proxy: Proxy) -> None:
    assert parse(text) == proxy
    assert (proxy.password or "none such") not in f"{parse(text)} {parse(text)!r}"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("socks5://u:secret@h:1080", "SOCKS"),
        ("quic://u:secret@h:1", "scheme"),
        ("http=h:80;https=secret:81", "single proxy"),
        ("h:80,i:81", "single proxy"),
        ("http://u:secret@h:99999", "single proxy"),
        ("http://u%3Ax:secret@h:1", "colon"),
        ("http://", "single proxy"),
    ],
)
def test_what_is_refused_is_refused_without_its_password(tmp_path: Path, text: str, word: str) -> None:
    for given in ({"GATEWAY_PROXY": text}, {"GATEWAY_CHROMIUM_ARGS": f"--lang=de '--proxy-server={text}'"}):
        with pytest.raises(SettingsError) as refused:
            load({"GATEWAY_DATA": str(tmp_path), **given})
        assert word in str(refused.value) and "secret" not in str(refused.value)
        assert next(iter(given)) in str(refused.value)


def test_settings_show_no_password_and_a_flag_of_chromium_is_a_proxy_too(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, proxy="http://u:secret@h:1", chromium_args="--lang=de --proxy-server=http://v:other@i:2")
    assert "secret" not in repr(settings.upstream)
    assert "secret" not in repr(settings.proxy)
    assert settings.upstream == Proxy("http", "i", 2, "v", "other")
    assert settings.chromium_flags == ["--lang=de"]
    assert Settings(data=tmp_path).upstream is None


def test_an_error_of_supervisords_file_holds_no_value() -> None:
    assert "50%%%%" in supervisor_conf.environment({"GATEWAY_PROXY": "http://u:p%50%@h:1"}).replace("p%%%%", "")
    for value in ("secret'\"", "secret\nsecret"):
        with pytest.raises(supervisor_conf.NotHeld) as refused:
            supervisor_conf.environment({"GATEWAY_PROXY": value})
        assert "GATEWAY_PROXY" in str(refused.value) and "secret" not in str(refused.value)


def test_each_request_carries_the_credentials_and_no_header_of_chromiums_hop() -> None:
    given = Proxy("http", "h", 1, "u", "ü:p")
    assert given.authorization is not None
    assert base64.b64decode(given.authorization.removeprefix("Basic ")).decode() == "u:ü:p"
    head = b"CONNECT web.whatsapp.com:443 HTTP/1.1\r\nHost: web.whatsapp.com:443\r\nProxy-Connection: keep-alive\r\nUser-Agent: x\r\n\r\n"
    request = Request.read(head)
    assert (request.tunnel, request.host, request.port) == (True, "web.whatsapp.com", 443)
    assert request.for_proxy("Basic YQ==").split(b"\r\n") == [
        b"CONNECT web.whatsapp.com:443 HTTP/1.1", b"Host: web.whatsapp.com:443", b"User-Agent: x",
        b"Proxy-Authorization: Basic YQ==", b"", b"",
    ]  # fmt: skip
    plain = Request.read(b"GET http://h:8090/a/b?c=d HTTP/1.1\r\nHost: h:8090\r\nConnection: keep-alive\r\n\r\n")
    assert plain.for_proxy(None) == b"GET http://h:8090/a/b?c=d HTTP/1.1\r\nHost: h:8090\r\nConnection: close\r\n\r\n"
    assert plain.for_server().startswith(b"GET /a/b?c=d HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"GET ftp://h/ HTTP/1.1\r\n\r\n", b"CONNECT \xff:1 HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_request_to_a_proxy_is_refused(head: bytes) -> None:
    with pytest.raises(ValueError):
        Request.read(head)


def test_whose_connection_it_is() -> None:
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:0FA0 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 1 1\n"
        "   1: 0100007F:C350 0100007F:0FA0 01 00000000:00000000 00:00000000 00000000  1007        0 2 1\n"
    )
    assert owner_of(table, 50000, 4000) == 1007
    assert owner_of(table, 50001, 4000) is None
