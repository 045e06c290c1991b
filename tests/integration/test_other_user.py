"""The gateway as a user other than root: Chromium keeps its own sandbox, and nobody else can read anything."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator

import pytest
from gateway_rig import free_port, until
from user_rig import User, command_line, data_directory, status, without_user_namespaces

from gateway.client import Client

#: Seconds for a start: some ten on two cores that have nothing else to do, and the suite does not have them alone.
START = 90.0


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    with User() as one:
        yield one


def test_the_demo_with_chromiums_own_sandbox_and_nothing_readable_by_others(user: User) -> None:
    with user.gateway("demo", "--keep") as (demo, said):
        until("the demo is through", lambda: "Ctrl-C ends it." in said() or demo.poll() is not None, 150)
        assert "accepted 30  delivered 30  lost 0  twice 0" in said()
        data = data_directory(said())

        lines = {pid: command_line(pid) for pid in user.processes(demo)}
        assert not [line for line in lines.values() if "--no-sandbox" in line]
        chromium = {pid: line for pid, line in lines.items() if f"--user-data-dir={data}" in line or " --type=" in line}
        (browser,) = [pid for pid, line in chromium.items() if " --type=" not in line]
        renderers = [pid for pid, line in chromium.items() if " --type=renderer" in line]
        assert renderers
        for renderer in renderers:
            assert status(renderer)["Seccomp"] == "2"  # filtered
            assert len(status(renderer)["NSpid"].split()) > len(status(browser)["NSpid"].split())  # sees no other process

        assert {p.name for p in data.iterdir()} >= {"gateway.db", "gateway.db-wal", "gateway.db-shm", "run", "logs", "sessions"}
        assert user.exposed() == []
        demo.send_signal(signal.SIGINT)
        assert demo.wait(40) == 0
        until("none is left", lambda: not user.left(), 5)
        assert user.exposed() == []


#: A checkout of this user's: supervisor.conf and monitor.sh beside .venv and data. cron gives no terminal, and here no PATH and no home.
CHECKOUT = """mkdir -p .venv/bin && cp {code}/supervisor.conf {code}/monitor.sh . &&
printf '#!/bin/sh\\nexec {gateway} "$@"\\n' > .venv/bin/gateway &&
chmod 700 .venv .venv/bin .venv/bin/gateway monitor.sh && chmod 600 supervisor.conf && .venv/bin/gateway setup"""
ODD = "Bob's 50% ;a #b ü"
BARE = {"HOME": None, "PATH": None, "TERM": None, "USER": None}


def test_a_checkout_with_an_odd_name_started_by_a_user_without_a_name_and_a_home(user: User) -> None:
    """supervisord typed by hand, monitor.sh by a link and as from cron, `gateway up`; nothing is readable by others."""
    api = Client(f"http://127.0.0.1:{free_port()}")
    checkout, link = user.home / ODD, user.home / "watch it"
    data, conf = checkout / "data", str(checkout / "supervisor.conf")
    environ = {"GATEWAY_LISTEN": api.base.removeprefix("http://"), "GATEWAY_WHATSAPP_URL": "about:blank", **BARE}
    make = CHECKOUT.format(code=user.code, gateway=shlex.join(user.module("gateway")))
    assert user.popen(["install", "-d", "-m", "700", str(checkout)]).wait(START) == 0
    assert user.popen(["sh", "-c", make], environ={**environ, "PATH": os.environ["PATH"]}, cwd=checkout).wait(START) == 0
    link.symlink_to(checkout / "monitor.sh")
    os.chown(link, user.uid, -1, follow_symlinks=False)
    try:
        # it goes into the background by itself
        assert user.popen(user.module("supervisor.supervisord", "-c", conf), environ=environ).wait(START) == 0
        until("the API answers", lambda: api.get("/readyz"), START)
        until("Chromium has a profile", lambda: (data / "sessions/default/profile/Default").is_dir(), START)
        assert (data / "logs/supervisord.log").exists()
        shown, ended = user.said([str(link), "status"], environ=environ)
        assert ended == 1 and shown.startswith("Not healthy") and "process chromium-default: " in shown
        shown, ended = user.said([str(checkout / ".venv/bin/gateway"), "logs", "api"], environ={**environ, "GATEWAY_DATA": str(data)})
        assert ended == 0 and "api | " in shown
        assert user.exposed() == []
    finally:
        user.popen(user.module("supervisor.supervisorctl", "-c", conf, "shutdown"), stdout=subprocess.DEVNULL).wait(30)
    until("none is left", lambda: not user.left())
    with user.gateway("up", environ={**environ, "GATEWAY_DATA": str(data)}) as (_, told):
        until("the API answers", lambda: api.get("/readyz"), START)
        typed = shlex.split(next(line for line in told().splitlines() if line.startswith("supervisorctl ")))
        assert "RUNNING" in user.said(user.module("supervisor.supervisorctl", *typed[1:], "api"))[0]


def test_where_chromiums_sandbox_cannot_work_it_is_said_what_to_do(user: User) -> None:
    """In a namespace in which further ones are forbidden; the machine's own settings stay as they are."""
    port, sandbox = free_port(), f"127.0.0.1:{free_port()}"
    api = Client(f"http://127.0.0.1:{port}")
    environ = {"GATEWAY_DATA": str(user.tmp / "d"), "GATEWAY_LISTEN": f"127.0.0.1:{port}"}
    up = ("up", "--sandbox", "--sandbox-listen", sandbox)

    def session() -> dict[str, object]:
        return dict(api.get("/api/health")["sessions"][0])

    with user.gateway(*up, environ=environ, before=without_user_namespaces):
        until("the session is quarantined", lambda: session()["state"] == "quarantined", START)
        sentence = str(session()["detail"])
        assert "set user.max_user_namespaces above 0 by sysctl" in sentence
        assert "GATEWAY_CHROMIUM_ARGS=--no-sandbox" in sentence
        shown = user.popen(user.module("gateway", "status"), environ=environ, stdout=subprocess.PIPE)
        assert sentence in shown.communicate(timeout=30)[0].decode()
        assert shown.returncode == 1
        assert user.exposed() == []
    # and what the sentence says, helps
    with user.gateway(*up, environ={**environ, "GATEWAY_CHROMIUM_ARGS": "--no-sandbox"}, before=without_user_namespaces):
        until("a code is on show", lambda: session()["state"] == "awaiting_scan", START)
        assert session()["detail"] is None


def test_files_of_roots_are_named_with_the_command_and_waited_for(user: User) -> None:
    """What `sudo gateway …` leaves behind. Nothing is started again and again: who waits goes on once it is mended."""
    if not user.borrowed:
        pytest.fail("this test has to run as root: only root can leave files of root's behind")
    data, api = user.home / "left behind", Client(f"http://127.0.0.1:{free_port()}")
    environ = {"GATEWAY_DATA": str(data), "GATEWAY_LISTEN": api.base.removeprefix("http://")}
    assert user.popen(user.module("gateway", "setup"), environ=environ).wait(START) == 0
    for name in ("gateway.db", "logs/api.log"):
        (data / name).touch(mode=0o600)
    mends = f"as root, run `chown -R {user.uid}:{user.uid} '{data}'`"
    sentence = f"{data}/gateway.db belongs to root and uid {user.uid} may not use it: {mends}"

    assert user.said(user.module("gateway", "up"), environ) == (f"gateway: {sentence}\n", 78)
    shown, ended = user.said(user.module("gateway", "status"), environ)
    assert ended == 2 and sentence in shown
    assert user.said(user.module("gateway", "logs"), environ)[0].endswith(mends + "\n")
    shown, ended = user.said(user.module("gateway", "doctor"), environ)
    assert ended == 1 and "damaged" not in shown and f"chown -R {user.uid} '{data}'" in shown

    os.chown(data, 0, 0)
    for words in (["up"], ["status"], ["doctor"], ["queue"], ["logs", "api"], ["backup", "here.db"]):
        shown, ended = user.said(user.module("gateway", *words), environ)
        assert ended and f"{data} belongs to root" in shown and "chown -R" in shown and "Traceback" not in shown, shown
    os.chown(data, user.uid, user.uid)

    log = user.root / "waiting.out"
    with log.open("wb") as file, user.popen(user.module("gateway", "api"), environ=environ, stdout=file.fileno()) as waiting:
        until("the API says why it waits", lambda: sentence in log.read_text(), START)
        for name in ("gateway.db", "logs/api.log"):
            os.chown(data / name, user.uid, user.uid)
        until("the API answers", lambda: api.get("/readyz"), START)
        assert log.read_text().count("this process waits") == 1
        waiting.terminate()
