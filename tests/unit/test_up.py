"""supervisor.conf, in the checkout and as `gateway up` writes it, read by supervisord's own parser."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from supervisor.options import ClientOptions, ServerOptions

from gateway.provision import SetupFailed
from gateway.settings import Settings, SettingsError
from gateway.up import check, command, write_conf

ROOT = Path(__file__).parent.parent.parent
NAMES = {"api", "watchdog", "browser-default", "chromium-default"}


def parsed(conf: Path) -> Any:
    options = ServerOptions()
    options.realize(["-c", str(conf)])
    return options


def asked(conf: Path) -> str:
    """Where supervisorctl asks."""
    options = ClientOptions()
    options.realize(["-c", str(conf), "status"])
    return str(options.serverurl)


def programs(options: Any) -> dict[str, Any]:
    return {p.name: p for group in options.process_group_configs for p in group.process_configs}


def test_the_checkouts_file_works_with_no_environment_set() -> None:
    found = programs(parsed(ROOT / "supervisor.conf"))
    assert set(found) == NAMES
    assert all(shlex.split(p.command)[0] == f"{ROOT}/.venv/bin/gateway" for p in found.values())
    assert all(p.environment["GATEWAY_DATA"] == f"{ROOT}/data" for p in found.values())


def test_supervisord_restarts_everything_for_ever_and_logs_are_bounded() -> None:
    for program in programs(parsed(ROOT / "supervisor.conf")).values():
        assert program.startretries >= 1_000_000
        assert program.stdout_logfile_maxbytes <= 10 * 2**20 and program.stdout_logfile_backups <= 3
        assert program.stopwaitsecs <= 6, "with supervisord's pass of a second, and its sweep, all is gone within 8 s"


def test_the_watchdog_stops_first_and_chromium_before_its_host() -> None:
    by_priority = sorted(programs(parsed(ROOT / "supervisor.conf")).values(), key=lambda p: -p.priority)
    assert [p.name for p in by_priority] == ["watchdog", "chromium-default", "browser-default", "api"]


def test_the_socket_is_the_owners_alone() -> None:
    (server,) = parsed(ROOT / "supervisor.conf").server_configs
    assert server["chmod"] == 0o700 and server["file"] == f"{ROOT}/data/run/supervisor.sock"


def test_up_writes_a_copy_for_another_data_directory(tmp_path: Path) -> None:
    data = tmp_path / "a b"
    environ = {"GATEWAY_SEND_INTERVAL": "0.5", "GATEWAY_API_KEY": "secret" * 5, "HOME": "/x"}
    conf = write_conf(Settings(data=data), environ=environ)
    found = programs(parsed(conf))
    assert set(found) == NAMES
    for program in found.values():
        assert shlex.split(program.command)[:3] == [sys.executable, "-m", "gateway"]
        assert program.environment == {"GATEWAY_DATA": str(data), "GATEWAY_SEND_INTERVAL": "0.5"}, "and no key in a file"
    assert conf.stat().st_mode & 0o077 == 0
    assert str(conf) in command(conf)


def test_with_the_sandbox_the_gateway_points_to_it(tmp_path: Path) -> None:
    found = programs(parsed(write_conf(Settings(data=tmp_path), sandbox="127.0.0.1:8090", environ={})))
    assert set(found) == NAMES | {"sandbox"}
    assert found["browser-default"].environment["GATEWAY_WHATSAPP_URL"] == "http://127.0.0.1:8090/"


def test_a_path_too_long_for_a_socket_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SetupFailed, match="set GATEWAY_DATA to a shorter one"):
        write_conf(Settings(data=tmp_path / ("x" * 100)), environ={})


#: Names that a shell, an INI file or a format string would read otherwise; also with what ends a comment's line.
ODD = ["a b", "Bob's", "50%", "%(here)s %s", "a ;b #c", "a;b#c", "ü 日本", "a,b=c", "$HOME `x`"]


@pytest.mark.parametrize("name", [*ODD, 'say "hi" twice'])
def test_a_data_directory_with_an_odd_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    data, python = tmp_path / name, f"/opt/{name}/bin/python"
    monkeypatch.setattr(sys, "executable", python)
    conf = write_conf(Settings(data=data), environ={"GATEWAY_CHROMIUM_ARGS": name})
    options = parsed(conf)
    for program in programs(options).values():
        assert shlex.split(program.command)[:3] == [python, "-m", "gateway"]
        assert program.environment == {"GATEWAY_DATA": str(data), "GATEWAY_CHROMIUM_ARGS": name}
        assert program.stdout_logfile == f"{data}/logs/{program.name}.log"
    assert options.logfile == f"{data}/logs/supervisord.log" and options.pidfile == f"{data}/run/supervisord.pid"
    assert asked(conf) == f"unix://{data}/run/supervisor.sock" == f"unix://{options.server_configs[0]['file']}"


@pytest.mark.parametrize("name", ODD)
def test_a_checkout_in_a_directory_with_an_odd_name(tmp_path: Path, name: str) -> None:
    checkout = tmp_path / name
    (checkout / "data" / "logs").mkdir(parents=True)
    (checkout / "data" / "run").mkdir()
    conf = Path(shutil.copy(ROOT / "supervisor.conf", checkout))
    options = parsed(conf)
    for program in programs(options).values():
        assert shlex.split(program.command)[0] == f"{checkout}/.venv/bin/gateway"
        assert program.environment == {"GATEWAY_DATA": f"{checkout}/data"}
        assert program.stdout_logfile == f"{checkout}/data/logs/{program.name}.log"
    assert options.logfile == f"{checkout}/data/logs/supervisord.log"
    assert asked(conf) == f"unix://{checkout}/data/run/supervisor.sock" == f"unix://{options.server_configs[0]['file']}"


@pytest.mark.parametrize("value", ["a\nb", "a\rb", """ both ' and " """, '--lang="de"', "it is Bob'", "\udcff"])
def test_a_value_that_supervisord_cannot_hold_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(SetupFailed, match=r"GATEWAY_CHROMIUM_ARGS.*leave out"):
        write_conf(Settings(data=tmp_path), environ={"GATEWAY_CHROMIUM_ARGS": value})
    assert not (tmp_path / "supervisor.conf").exists()


def test_a_key_that_cannot_be_read_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="GATEWAY_API_KEY_FILE cannot be read"):
        check(Settings(data=tmp_path, api_key_file=tmp_path / "none"))
