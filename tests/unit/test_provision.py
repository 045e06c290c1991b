"""Set-up says what it does and, where it cannot, what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import provision
from gateway.settings import Settings


def test_a_named_bundle_is_taken_as_it_is(tmp_path: Path) -> None:
    bundle = tmp_path / "wa.js"
    bundle.write_text("")
    assert provision.wa_js_path(Settings(data=tmp_path, wa_js=bundle)) == bundle


def test_a_missing_bundle_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(provision.SetupFailed, match="run `gateway setup`"):
        provision.wa_js_path(Settings(data=tmp_path, wa_js=tmp_path / "none.js"))


def test_a_missing_chromium_that_was_named_is_not_replaced_by_another(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(provision.SetupFailed, match="does not exist"):
        provision.setup(Settings(data=tmp_path / "data", chromium=tmp_path / "chromium"), said.append)
    assert said == ["Chromium: looking …"]


def test_the_lock_names_no_address_to_download_from() -> None:
    lock = provision.packaged("deploy/wa-js/package-lock.json").read_text()
    assert '"resolved"' not in lock and "http" not in lock.replace("https://opencollective", "").replace("https://github.com/sponsors", "")
    assert '"integrity"' in lock and f'"version": "{provision.WA_JS_VERSION}"' in lock


def test_a_failing_command_shows_what_it_said() -> None:
    with pytest.raises(provision.SetupFailed, match="because of that"):
        provision._run(["sh", "-c", "echo because of that >&2; exit 3"])


def test_a_user_without_a_home_gets_one_for_installing(monkeypatch: pytest.MonkeyPatch) -> None:
    """npm ends with `uv_os_homedir returned ENOENT` otherwise, where the user has no account either."""
    monkeypatch.delenv("HOME", raising=False)
    provision._run(["sh", "-c", 'test -n "$HOME" && test -w "$HOME"'])
    monkeypatch.setenv("HOME", "/mine")
    provision._run(["sh", "-c", 'test "$HOME" = /mine'])
