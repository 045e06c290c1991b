"""A trial of a file system whose name tells nothing: two processes on a small WAL database, with its locks and its shared memory.

Run as a script it is one of the two, with nothing but the standard library: `filesystem_trial.py first|second DIRECTORY`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import IO

#: Seconds for all of it; it takes a tenth on a local disk.
DEADLINE = 10.0
#: A unix socket's path may have this many bytes.
_LONGEST_SOCKET = 107
#: What says nothing about the file system, but that a trial cannot be made now.
_NO_TRIAL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOENT, errno.EMFILE})


def problem(data: Path, deadline: float = DEADLINE) -> str | None:
    """What does not work in that directory, as the end of a sentence; None if all does, or no trial can be made now."""
    try:
        directory = tempfile.mkdtemp(prefix=".trial-", dir=data)
    except OSError as error:
        return None if error.errno in _NO_TRIAL else f"no directory can be made ({error.strerror})"
    try:
        return _run(directory, deadline)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _run(directory: str, deadline: float) -> str | None:
    command = [sys.executable, "-I", "-S", __file__, "first", directory]
    trial = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        said = trial.communicate(timeout=deadline)[0].decode(errors="replace").strip()
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(trial.pid, signal.SIGKILL)  # and no wait: one that hangs in the kernel does not end
        return f"two processes on one database do not end within {deadline:.0f} s"
    if trial.returncode == 0:
        return None
    return said.splitlines()[-1] if said else "two processes cannot work on one database"


class Broken(Exception):
    """The file system does what it must not do; the text is the end of a sentence."""


def _need(right: object, otherwise: str) -> None:
    if not right:
        raise Broken(otherwise)


def _open(directory: Path) -> sqlite3.Connection:
    conn = sqlite3.connect(directory / "trial.db", isolation_level=None, timeout=0)
    conn.execute("PRAGMA synchronous = FULL")
    return conn


def _count(conn: sqlite3.Connection) -> int:
    return int(conn.execute("SELECT count(*) FROM trial").fetchone()[0])


def _first(directory: Path) -> None:
    _make_socket(directory)
    with (directory / "lock").open("w") as lock, closing(_open(directory)) as conn:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mode = conn.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        _need(mode == "wal", "SQLite's write-ahead log cannot be used (no shared memory)")
        conn.execute("CREATE TABLE trial (n)")
        conn.execute("INSERT INTO trial VALUES (1)")
        command = [sys.executable, "-I", "-S", __file__, "second", str(directory)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as second:
            assert second.stdin and second.stdout
            _expect(second.stdout, "writing")
            try:
                conn.execute("BEGIN IMMEDIATE")
                raise Broken("locks are lost: two processes write at once")
            except sqlite3.OperationalError:
                pass
            _need(_count(conn) == 1, "a transaction is seen before its end")
            _say(second.stdin)
            _expect(second.stdout, "written")
            _need(_count(conn) == 2, "one process does not see what another has written (shared memory)")
            conn.execute("INSERT INTO trial VALUES (3)")
            _say(second.stdin)
            _expect(second.stdout, "read")
        _need(conn.execute("PRAGMA quick_check").fetchone()[0] == "ok", "a small database is damaged after three writes")


def _second(directory: Path) -> None:
    with (directory / "lock").open("r+") as lock, closing(_open(directory)) as conn:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            raise Broken("locks are lost: two processes hold one lock")
        except BlockingIOError:
            pass
        _need(_count(conn) == 1, "one process does not see what another has written")
        conn.execute("BEGIN IMMEDIATE")
        conn.execute("INSERT INTO trial VALUES (2)")
        print("writing", flush=True)
        sys.stdin.readline()
        conn.execute("COMMIT")
        print("written", flush=True)
        sys.stdin.readline()
        _need(_count(conn) == 3, "one process does not see what another has written (shared memory)")
        print("read", flush=True)


def _make_socket(directory: Path) -> None:
    path = str(directory / "s")
    if len(os.fsencode(path)) > _LONGEST_SOCKET:
        return
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(path)
        except OSError as error:
            raise Broken(f"no unix socket can be made ({error.strerror})") from None


def _expect(stream: IO[str], word: str) -> None:
    said = stream.readline().strip()
    _need(said == word, said or "two processes cannot work on one database")


def _say(stream: IO[str]) -> None:
    stream.write("\n")
    stream.flush()


def main(role: str, directory: Path) -> int:
    """One of the two processes; prints what does not work, and returns 1 then."""
    try:
        {"first": _first, "second": _second}[role](directory)
    except Broken as error:
        print(error, flush=True)
    except sqlite3.Error as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            return 0
        print(f"SQLite fails: {error} ({error.sqlite_errorname})", flush=True)
    except OSError as error:
        if error.errno in _NO_TRIAL:
            return 0
        print(f"a file cannot be used: {error.strerror}", flush=True)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
