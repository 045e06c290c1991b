"""Each cause for which WhatsApp cannot be reached has a sentence of its own. Real sockets on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway import reach
from gateway.browser import policies
from gateway.browser.reachability import BLOCKED, blocked, explain
from gateway.proxy import Proxy, parse
from gateway.reach import Server, find_trouble
from gateway.settings import Settings

WEB = Server("web.whatsapp.com", 443, tls=True)


@asynccontextmanager
async def server(answer: bytes | None) -> AsyncIterator[int]:
    """Answers each request with this; with None it never answers."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        if answer is None:
            await asyncio.sleep(5)
        else:
            writer.write(answer)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_each_cause_on_the_way_to_the_server() -> None:
    port = closed_port()
    found = await find_trouble(f"http://127.0.0.1:{port}/", None)
    assert found is not None and found.cause == "refused" and f"127.0.0.1:{port} refuses" in found.said
    unknown = await find_trouble(f"https://{'x' * 64}.invalid/", None)  # a label that no resolver is asked for
    assert unknown is not None and unknown.cause == "dns" and "x.invalid cannot be resolved" in unknown.said
    async with server(b"220 smtp\r\n") as port:
        plain = await find_trouble(f"https://127.0.0.1:{port}/", None)
        assert plain is not None and plain.cause == "tls"
        assert await find_trouble(f"http://127.0.0.1:{port}/", None) is None
    async with server(None) as port:
        mute = await find_trouble(f"https://127.0.0.1:{port}/", None, deadline=0.2)
        assert mute is not None and mute.cause == "timeout"


@pytest.mark.parametrize(
    ("answer", "sign_in", "cause", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "", "proxy_sign_in", "asks for a name and a password"),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "u:secret@", "proxy_sign_in", "does not accept the name and password"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "", "proxy_refuses", "403 Forbidden"),
        (b"", "", "proxy_refuses", "closes the connection"),
        (b"SSH-2.0\r\n\r\n", "", "proxy_refuses", "no HTTP"),
        (None, "", "proxy_timeout", "through the proxy"),
    ],
)
async def test_each_cause_at_a_proxy(answer: bytes | None, sign_in: str, cause: str, words: str) -> None:
    async with server(answer) as port:
        found = await find_trouble("https://web.whatsapp.com/", parse(f"http://{sign_in}127.0.0.1:{port}"), deadline=0.5)
    assert found is not None and found.cause == cause and words in found.said, found
    assert "secret" not in str(found)


async def test_a_proxy_that_is_not_there() -> None:
    for scheme in ("http", "socks5", "socks4", "https"):
        found = await find_trouble("https://web.whatsapp.com/", Proxy(scheme, "127.0.0.1", closed_port()))
        assert found is not None and found.cause == "proxy_refused" and "see whether it runs" in str(found)


async def test_socks_is_spoken() -> None:
    granted = b"\x05\x00" + b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"
    async with server(granted) as port:
        assert await find_trouble("http://web.whatsapp.com/", Proxy("socks5", "127.0.0.1", port)) is None
    async with server(b"\x05\x02") as port:
        found = await find_trouble("http://web.whatsapp.com/", Proxy("socks5", "127.0.0.1", port))
        assert found is not None and found.cause == "proxy_sign_in"
    async with server(b"\x05\x00" + b"\x05\x05\x00\x01") as port:
        found = await find_trouble("http://web.whatsapp.com/", Proxy("socks5", "127.0.0.1", port))
        assert found is not None and "connection refused" in found.said
    async with server(b"\x00\x5a" + bytes(6)) as port:
        assert await find_trouble("http://web.whatsapp.com/", Proxy("socks4", "127.0.0.1", port)) is None


def test_loopback_is_asked_directly_as_chromium_does(tmp_path: Path) -> None:
    far = Settings(data=tmp_path, proxy="http://h:1")
    assert reach.way(far) == Proxy("http", "h", 1)
    near = Settings(data=tmp_path, proxy="http://h:1", whatsapp_url="http://127.0.0.1:8090/")
    assert reach.way(near) is None
    flag = "'--proxy-bypass-list=<-loopback>'"
    both = Settings(data=tmp_path, proxy="http://h:1", whatsapp_url="http://localhost:1/", chromium_args=flag)
    assert reach.way(both) == Proxy("http", "h", 1)


def test_what_asking_brought_says_more_than_chromiums_error() -> None:
    proxy = Proxy("http", "h", 1)
    told: dict[str, Callable[[], str | None]] = {
        "cannot be resolved": lambda: explain("net::ERR_NAME_NOT_RESOLVED", None, WEB),
        "no route": lambda: explain("net::ERR_INTERNET_DISCONNECTED", None, WEB),
        "407": lambda: explain("net::ERR_TUNNEL_CONNECTION_FAILED", reach.proxy_trouble(proxy, "sign_in"), WEB),
        "certificate": lambda: explain("net::ERR_CERT_AUTHORITY_INVALID", reach.proxy_trouble(proxy, "refused"), WEB),
        "Chromium says net::ERR_SOMETHING": lambda: explain("net::ERR_SOMETHING", None, WEB),
    }
    assert [words for words, said in told.items() if words not in (said() or "")] == []
    assert explain(None, None, WEB) is None


POLICY_FILE = "a.json"


def policy_directory(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        level, _, file = name.partition("_")
        (directory / level).mkdir(exist_ok=True)
        (directory / level / f"{file}.json").write_text(text)
    return directory


def test_policies_are_read_as_chromium_reads_them(tmp_path: Path) -> None:
    where = policy_directory(
        tmp_path, managed_a='{"X": 1, "Y": 1}', managed_b='{"X": 2}', recommended_z='{"X": 3, "Z": 3}', managed_c="torn {", managed_d="[1]"
    )
    found = policies.read(where)
    assert {name: (p.value, p.file.name) for name, p in found.items()} == {"X": (2, "b.json"), "Y": (1, "a.json"), "Z": (3, "z.json")}
    assert policies.read(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"RemoteDebuggingAllowed": false}', "RemoteDebuggingAllowed"),
        ('{"HeadlessMode": 2}', "HeadlessMode"),
        ('{"UserDataDir": "/tmp/x"}', None),  # not heeded on Linux
        ('{"RemoteDebuggingAllowed": true, "HeadlessMode": 1}', None),
        ("{}", None),
    ],
)
def test_fatal_policies_are_named_with_their_file(tmp_path: Path, text: str, words: str | None) -> None:
    said = policies.fatal(policies.read(policy_directory(tmp_path, managed_a=text)))
    assert said is None if words is None else words in str(said) and str(tmp_path / "managed" / "a.json") in str(said)


@pytest.mark.parametrize(
    ("blocklist", "allowlist", "url", "is_blocked"),
    [
        (["*"], [], "https://web.whatsapp.com/", True),
        (["*"], ["whatsapp.com"], "https://web.whatsapp.com/", False),
        (["whatsapp.com"], [], "https://web.whatsapp.com/", True),
        ([".whatsapp.com"], [], "https://web.whatsapp.com/", False),
        (["https://*"], [], "https://web.whatsapp.com/", True),
        (["http://*"], [], "https://web.whatsapp.com/", False),
        (["web.whatsapp.com"], ["whatsapp.com"], "https://web.whatsapp.com/", True),
        (["whatsapp.com"], ["web.whatsapp.com"], "https://web.whatsapp.com/", False),
        (["whatsapp.com/channel"], [], "https://web.whatsapp.com/", False),
        (["web.whatsapp.com:8443"], [], "https://web.whatsapp.com/", False),
        (["127.0.0.1:8090"], [], "http://127.0.0.1:8090/", True),
        (["facebook.com", 7], [], "https://web.whatsapp.com/", False),
    ],
)
def test_a_list_that_blocks_whatsapp_is_known(
    tmp_path: Path, blocklist: list[object], allowlist: list[object], url: str, is_blocked: bool
) -> None:
    found = {
        "URLBlocklist": policies.Policy("URLBlocklist", blocklist, tmp_path / POLICY_FILE),
        "URLAllowlist": policies.Policy("URLAllowlist", allowlist, tmp_path / POLICY_FILE),
    }
    assert (policies.blocking(found, url) is not None) is is_blocked


def test_a_blocked_page_names_the_policys_file(tmp_path: Path) -> None:
    where = policy_directory(tmp_path, managed_list='{"URLBlocklist": ["*"]}')
    assert str(tmp_path / "managed" / "list.json") in blocked(where, "https://web.whatsapp.com/")
    assert "administrator" in blocked(tmp_path / "none", "https://web.whatsapp.com/")
    assert BLOCKED.startswith("net::")
