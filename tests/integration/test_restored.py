"""A backup is put back after messages that waited in it have gone out: they are held and said, and never sent a second time."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from gateway_rig import GATEWAY, SENT, Gateway, until

WAITING = 6


def queue(gateway: Gateway) -> dict[str, str]:
    """Messages that wait, as the session is paused: body → id."""
    gateway.link()
    gateway.sent(gateway.send("long before"))
    gateway.api.post("/api/sessions/default/pause")
    return {f"waits {n}": gateway.send(f"waits {n}", f"49155509{n % 4:02d}") for n in range(WAITING)}


def go_out(gateway: Gateway, ids: dict[str, str]) -> None:
    gateway.api.post("/api/sessions/default/resume")
    for id_ in ids.values():
        gateway.sent(id_)


def held(gateway: Gateway) -> int:
    return int(gateway.api.get("/api/queue-status")["held"].get("restored", 0))


def each_once(gateway: Gateway, ids: dict[str, str]) -> None:
    found = Counter(row["body"] for row in gateway.rows() if row["body"] in ids)
    assert found == dict.fromkeys(ids, 1)


def command(gateway: Gateway, *words: str) -> str:
    return subprocess.run([*GATEWAY, *words], env=gateway.environ, capture_output=True, text=True, timeout=60, check=True).stdout


def copy(source: Path, to: Path) -> None:
    subprocess.run(["cp", "-a", str(source), str(to)], check=True)  # as an operator would; it copies sockets too


def by_command(gateway: Gateway, backup: Path) -> None:
    assert f"held when the gateway starts: {WAITING}\n" in command(gateway, "restore", str(backup))


def by_hand(gateway: Gateway, backup: Path) -> None:
    for path in gateway.data.glob("gateway.db-*"):
        path.unlink()
    shutil.copyfile(backup, gateway.data / "gateway.db")


@pytest.mark.parametrize("put_back", [by_command, by_hand])
def test_a_database_put_back_is_held_until_whatsapp_was_asked(tmp_path: Path, put_back: Callable[[Gateway, Path], None]) -> None:
    backup = tmp_path / "backup.db"
    with Gateway() as gateway:
        ids = queue(gateway)
        assert command(gateway, "backup", str(backup)).startswith(f"{backup}: ")
        go_out(gateway, ids)
        gateway.stop()
        put_back(gateway, backup)
        gateway.start()
        gateway.healthy()
        assert held(gateway) == WAITING
        assert "This database is a copy or a backup" in "".join(p.read_text() for p in (gateway.data / "logs").glob("*.log"))
        gateway.api.post("/api/sessions/default/resume")  # it was paused in the backup
        gateway.sent(gateway.send("what comes now goes out", "4915550901"))
        each_once(gateway, ids)
        gateway.api.post("/api/queue/release", {"hold": "restored"})
        for id_ in ids.values():
            gateway.sent(id_)
        each_once(gateway, ids)
        assert held(gateway) == 0
        gateway.stop()
        gateway.start()
        gateway.healthy()
        assert held(gateway) == 0, "it is noticed once"


def test_a_whole_directory_put_back_in_its_own_place_is_held(tmp_path: Path) -> None:
    """`rm -r data; cp -a backup data`: ext4 gives the directory the inode that it had."""
    backup = tmp_path / "backup"
    with Gateway() as gateway:
        ids = queue(gateway)
        gateway.stop()
        copy(gateway.data, backup)
        gateway.start()
        gateway.healthy()
        go_out(gateway, ids)
        gateway.stop()
        shutil.rmtree(gateway.data)
        copy(backup, gateway.data)
        gateway.start()
        gateway.healthy()
        assert held(gateway) == WAITING
        gateway.api.post("/api/sessions/default/resume")
        gateway.sent(gateway.send("what comes now goes out", "4915550901"))
        gateway.api.post("/api/queue/release", {"hold": "restored"})
        until("each was asked for", lambda: all(gateway.view(i)["status"] in {*SENT, "queued"} for i in ids.values()))
        each_once(gateway, ids)
