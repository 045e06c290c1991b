"""A backup is whole and private; it is put back only while nothing runs, and only if it is one."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path

import pytest
from store_rig import Rig

from gateway.settings import Settings
from gateway.store import backup, database


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    data = tmp_path / "data"
    settings = Settings(data=data)
    settings.make_directories()
    return settings


@pytest.fixture
def rig(settings: Settings) -> Rig:
    return Rig(settings.data)


def bodies(path: Path) -> int:
    conn = sqlite3.connect(path)
    count = conn.execute("SELECT count(*) FROM outbox").fetchone()[0]
    conn.close()
    return int(count)


def test_a_backup_is_whole_private_and_never_overwrites(rig: Rig, settings: Settings, tmp_path: Path) -> None:
    rig.accept("491@c.us", "492@c.us")  # in the log alone: the database is open
    to = tmp_path / "backup.db"
    assert backup.backup(settings, to) == to.stat().st_size
    assert to.stat().st_mode & 0o777 == 0o600 and bodies(to) == 2
    with pytest.raises(backup.Refused, match="exists"):
        backup.backup(settings, to)
    assert bodies(to) == 2


def test_what_cannot_be_backed_up_leaves_no_file(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(backup.Refused, match="no database"):
        backup.backup(settings, tmp_path / "backup.db")
    settings.database.write_bytes(b"not a database at all, but long enough to look at" * 100)
    with pytest.raises(backup.Refused, match="could not be made"):
        backup.backup(settings, tmp_path / "backup.db")
    with pytest.raises(backup.Refused, match="cannot be written"):
        backup.backup(settings, tmp_path / "missing" / "backup.db")
    assert not (tmp_path / "backup.db").exists()


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "killed, its log beside it"])
def test_what_was_there_is_kept_whole_and_its_log_does_not_touch_the_backup(
    rig: Rig, settings: Settings, tmp_path: Path, closed: bool
) -> None:
    rig.accept("491@c.us")
    backup.backup(settings, to := tmp_path / "backup.db")
    rig.accept("492@c.us", "493@c.us")
    if closed:
        rig.conn.close()
    done = backup.restore(settings, to)
    assert done.open == 1 and done.aside is not None
    assert (bodies(done.aside), bodies(settings.database)) == (3, 1)
    assert settings.database.stat().st_mode & 0o777 == 0o600
    opened = database.open_database(settings.database)
    assert opened.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_a_damaged_database_is_set_aside_as_it_is(rig: Rig, settings: Settings, tmp_path: Path) -> None:
    rig.accept("491@c.us")
    backup.backup(settings, to := tmp_path / "backup.db")
    rig.conn.close()
    damaged, log = b"damaged " * 1024, settings.database.with_name("gateway.db-wal")
    settings.database.write_bytes(damaged)
    log.write_bytes(damaged)
    done = backup.restore(settings, to)
    assert done.aside is not None and done.aside.read_bytes() == damaged
    assert not log.exists() and bodies(settings.database) == 1


def test_nothing_is_put_back_under_a_running_process(rig: Rig, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "ENDING", 0.2)
    backup.backup(settings, to := tmp_path / "backup.db")
    rig.accept("491@c.us")
    held = os.open(settings.lock("browser-default"), os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(backup.Refused, match="browser-default runs: stop the gateway first"):
        backup.restore(settings, to)
    os.close(held)
    assert bodies(settings.database) == 1
    backup.restore(settings, to)
    assert bodies(settings.database) == 0


@pytest.mark.parametrize("what", ["text", "empty", "foreign", "newer", "cut"])
def test_what_is_no_backup_changes_nothing(rig: Rig, settings: Settings, tmp_path: Path, what: str) -> None:
    rig.accept(*(f"49{n}@c.us" for n in range(300)))
    backup.backup(settings, file := tmp_path / "backup.db")
    if what == "text":
        file.write_text("hello\n" * 500)
    elif what == "empty":
        file.write_bytes(b"")
    elif what == "cut":
        file.write_bytes(file.read_bytes()[: -4096 * 10])
    else:
        conn = sqlite3.connect(file)
        conn.execute(f"PRAGMA user_version = {0 if what == 'foreign' else 99}")
        conn.close()
    with pytest.raises(backup.Refused, match=r"backup\.db (is|has|cannot)"):
        backup.restore(settings, file)
    assert bodies(settings.database) == 300
    assert not list(settings.data.glob("gateway.before*")) and not list(settings.data.glob("*.restoring"))
