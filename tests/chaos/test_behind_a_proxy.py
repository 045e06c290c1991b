"""The whole gateway behind a proxy that asks for a name and a password: started, hit, asked, stopped; and the password is nowhere."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from gateway_rig import GATEWAY, Gateway, until
from proxy_rig import Proxy

from gateway import slot as slots

SIGN_IN, PASSWORD = "user:p%40ss%25", "p@ss%"
NOWHERE = ("p%40ss", PASSWORD, "dXNlcjpwQHNzJQ==")


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """In a thread of its own, as the gateway's rig waits without a loop."""
    loop, proxy = asyncio.new_event_loop(), Proxy("user", PASSWORD)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(proxy.start(), loop).result(5)
    yield proxy
    asyncio.run_coroutine_threadsafe(proxy.stop(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)


def forwarder(g: Gateway) -> slots.Launch | None:
    """The launch whose forwarder runs."""
    launch = slots.read_launch(g.data.resolve(), "default")
    return launch if launch and launch.forwarder and not slots.forwarder_fails(launch) else None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_forwarder_is_hit_and_messages_go_on(proxy: Proxy, number: signal.Signals) -> None:
    settings = {"GATEWAY_PROXY": f"http://{SIGN_IN}@127.0.0.1:{proxy.port}", "GATEWAY_CHROMIUM_ARGS": "--proxy-bypass-list=<-loopback>"}
    with Gateway(**settings) as g:
        g.link()
        g.sent(g.send("before"))
        first = until("a forwarder runs", lambda: forwarder(g))
        assert first is not None
        os.kill(first.forwarder, number)
        g.sent(g.send("after"))
        second = until("another one runs", lambda: (found := forwarder(g)) and found.forwarder != first.forwarder and found)
        g.healthy()
        assert all(one.signed_in for one in proxy.asked)
        assert set(proxy.hosts()) == {"127.0.0.1"}
        # asked, and shown
        shown = subprocess.run([*GATEWAY, "doctor", "--json"], env=g.environ, capture_output=True, text=True, timeout=60).stdout
        checks = {c["name"]: c["said"] for c in json.loads(shown)["checks"]}
        assert "takes the name and password" in checks["proxy"] and "through http://127.0.0.1" in checks["whatsapp"]
        conf = g.data / "supervisor.conf"
        assert stat.S_IMODE(conf.stat().st_mode) == 0o600
        texts = [shown, g.supervisorctl("status"), str(g.health())]
        texts += [path.read_text(errors="replace") for path in (g.data / "logs").iterdir()]
        texts += [path.read_text(errors="replace") for path in (g.data / "run").iterdir() if path.suffix in (".json", ".beat")]
        texts += [path.read_text(errors="replace") for path in Path("/proc").glob("[0-9]*/cmdline")]
        assert [word for word in NOWHERE if any(word in text for text in texts)] == []
        g.stop()
        until("nothing is left", lambda: slots.started_at(second.forwarder) is None and not g.chromium())
