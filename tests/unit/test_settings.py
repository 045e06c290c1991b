"""Settings: one model, each documented, wrong ones refused with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli import settings_table
from gateway.settings import Settings, SettingsError, load

ROOT = Path(__file__).parent.parent.parent


def test_defaults_are_the_seeds(tmp_path: Path) -> None:
    settings = load({"GATEWAY_DATA": str(tmp_path)})
    assert settings.addresses == [("127.0.0.1", 3000), ("::1", 3000)]
    assert (settings.send_interval, settings.send_timeout, settings.health_interval) == (1.0, 120.0, 30.0)


def test_every_setting_is_documented() -> None:
    assert all(field.description for field in Settings.model_fields.values())
    assert settings_table() in (ROOT / "docs/settings.md").read_text(), "write docs/settings.md anew: gateway settings"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("send_interval = 5\nmax_attempts = 7\n")
    settings = load({"GATEWAY_DATA": str(tmp_path), "GATEWAY_SEND_INTERVAL": "0"})
    assert (settings.send_interval, settings.max_attempts) == (0.0, 7)


def test_an_unknown_name_in_the_file_is_refused_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("send_intervall = 5\n")
    with pytest.raises(SettingsError, match="did you mean send_interval"):
        load({"GATEWAY_DATA": str(tmp_path)})


def test_an_unknown_name_in_the_environment_is_warned_of_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load({"GATEWAY_DATA": str(tmp_path), "GATEWAY_PORT": "tcp://10.0.0.1:3000", "GATEWAY_SEND_INTERVALL": "1"})
    said = capsys.readouterr().err
    assert "GATEWAY_PORT is no setting" in said and "did you mean GATEWAY_SEND_INTERVAL?" in said


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"GATEWAY_LISTEN": "0.0.0.0:3000"}, "opens 0.0.0.0:3000 to the network and no key is set"),
        ({"GATEWAY_LISTEN": "3000"}, "write HOST:PORT"),
        ({"GATEWAY_API_KEY": "short"}, "shorter than 16 characters"),
        ({"GATEWAY_SEND_TIMEOUT": "0"}, "GATEWAY_SEND_TIMEOUT"),
        ({"GATEWAY_API_KEY": "x" * 32, "GATEWAY_API_KEY_FILE": "/x"}, "not both"),
    ],
)
def test_a_wrong_value_is_refused_with_a_sentence(tmp_path: Path, environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        load({"GATEWAY_DATA": str(tmp_path), **environ})


@pytest.mark.parametrize(
    ("given", "path"), [("/whatsapp", "/whatsapp"), ("/a/b-c_d.e~f/", "/a/b-c_d.e~f"), ("whatsapp", "/whatsapp"), ("/", ""), ("//", "")]
)
def test_a_root_path_is_taken_with_or_without_slashes_at_its_ends(tmp_path: Path, given: str, path: str) -> None:
    assert load({"GATEWAY_DATA": str(tmp_path), "GATEWAY_ROOT_PATH": given}).root_path == path


@pytest.mark.parametrize("given", ["https://example.com/whatsapp", "/a b", "/a//b", "/../a", "/a?b", "/a%20b", "/ä", "/a\r\nb"])
def test_a_root_path_that_is_none_is_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(SettingsError, match=r"GATEWAY_ROOT_PATH: must be a path alone, as in /whatsapp"):
        load({"GATEWAY_DATA": str(tmp_path), "GATEWAY_ROOT_PATH": given})


def test_a_key_is_never_shown() -> None:
    assert "x" * 32 not in repr(load({"GATEWAY_API_KEY": "x" * 32}))


def test_a_key_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("y" * 32 + "\n")
    named = {"GATEWAY_DATA": str(tmp_path), "GATEWAY_API_KEY_FILE": str(tmp_path / "key")}
    assert load({**named, "GATEWAY_LISTEN": "0.0.0.0:1"}).key == "y" * 32


def test_careful_brings_its_parts_and_what_is_set_by_name_wins(tmp_path: Path) -> None:
    where = {"GATEWAY_DATA": str(tmp_path), "GATEWAY_PACING": "careful"}
    careful = load(where)
    assert (careful.send_interval, careful.max_per_minute, careful.max_per_day, careful.new_chats_per_day) == (3.0, 10, 200, 20)
    (tmp_path / "gateway.toml").write_text("max_per_day = 50\n")
    mixed = load({**where, "GATEWAY_MAX_PER_MINUTE": "0"})
    assert (mixed.send_interval, mixed.max_per_minute, mixed.max_per_day, mixed.new_chats_per_day) == (3.0, 0, 50, 20)


def test_all_caps_are_off_by_default(tmp_path: Path) -> None:
    s = load({"GATEWAY_DATA": str(tmp_path)})
    assert not any((s.max_per_minute, s.max_per_hour, s.max_per_day, s.new_chats_per_day, s.chat_interval))
