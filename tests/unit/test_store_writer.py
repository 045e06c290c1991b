"""The database itself: opening, rights, migrations, group commit, faults, doorbells."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest
from store_rig import Rig

from gateway.api.intake import Intake
from gateway.beat import boot_time
from gateway.message import State
from gateway.settings import Settings
from gateway.store import counters, database, doorbell, events, lanes, outbox, sessions, transitions, writer
from gateway.store.database import Full, Locked, SchemaTooNew
from gateway.store.intake import Request
from gateway.store.outbox import Draft
from gateway.store.writer import Closed, QueueFull, Reader, Writer


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gateway.db"


def bump(conn, by=1.0):
    counters.bump(conn, "test", {}, by)


def counted(conn):
    return counters.value(conn, "test", {})


def grow(conn):
    conn.execute("INSERT INTO event(at, kind, data) VALUES (0, 'x', hex(zeroblob(1000000)))")


def stop_growing(conn):
    """What a full disk looks like to SQLite, for real: the file may not grow any more."""
    conn.execute(f"PRAGMA max_page_count = {conn.execute('PRAGMA page_count').fetchone()[0]}")


# -- opening


def test_the_database_is_durable_private_and_checks_its_references(path):
    conn = database.open_database(path)
    assert conn.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert conn.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert conn.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    assert conn.execute("PRAGMA auto_vacuum").fetchone()[0] == 2
    with database.transaction(conn, boot_time() + 1):
        bump(conn)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    with pytest.raises(sqlite3.IntegrityError):
        conn.execute("INSERT INTO alias VALUES ('default', 'x', 99)")


def test_opening_again_changes_nothing(path):
    with database.transaction(conn := database.open_database(path), boot_time() + 1):
        bump(conn)
    again = database.open_database(path)
    assert counted(again) == 1 and database.version(again) == len(database.STEPS)


def test_an_older_program_refuses_a_newer_schema_with_a_sentence(path):
    conn = database.open_database(path)
    conn.execute("PRAGMA user_version = 999")
    with pytest.raises(SchemaTooNew, match="newer version of the gateway"):
        database.open_database(path)


def test_processes_that_open_a_new_database_at_once_all_succeed(path):
    errors = []

    def open_it():
        try:
            database.open_database(path).close()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_failed_migration_leaves_nothing_behind(path, monkeypatch):
    database.open_database(path).close()
    monkeypatch.setattr(database, "STEPS", (*database.STEPS, "CREATE TABLE half(x) STRICT;\nCREATE TABLE broken(;\n"))
    with pytest.raises(sqlite3.Error):
        database.open_database(path)
    monkeypatch.undo()
    conn = database.open_database(path)
    assert conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'half'").fetchone() is None


# -- transactions


def test_the_lock_is_waited_for_until_the_deadline(path):
    one, two = database.open_database(path), database.open_database(path)
    one.execute("BEGIN IMMEDIATE")
    began = boot_time()
    with pytest.raises(Locked), database.transaction(two, boot_time() + 0.05):
        pass
    assert 0.05 <= boot_time() - began < 1
    one.execute("COMMIT")
    with database.transaction(two, boot_time() + 0.05):
        bump(two)


def test_a_full_disk_is_said_and_nothing_happened(path):
    conn = database.open_database(path)
    stop_growing(conn)
    with pytest.raises(Full), database.transaction(conn, boot_time() + 1):
        bump(conn)
        grow(conn)
    assert counted(conn) == 0 and not conn.in_transaction


def test_room_and_ballast(tmp_path, monkeypatch):
    assert database.room(tmp_path) > 0
    monkeypatch.setattr(database, "BALLAST", 4096)
    file = tmp_path / "ballast"
    monkeypatch.setattr(database, "room", lambda path: database.ACCEPT_ROOM)
    assert not database.keep_ballast(file)
    monkeypatch.setattr(database, "room", lambda path: database.ACCEPT_ROOM + 4096)
    assert database.keep_ballast(file) and database.keep_ballast(file) and file.stat().st_size == 4096
    assert database.drop_ballast(file) and not database.drop_ballast(file)


# -- the writer


async def test_operations_that_wait_are_committed_together_and_answered_in_order(path):
    commits = []
    async with Writer(path, ring=commits.append) as w:
        gate = threading.Event()
        first = asyncio.ensure_future(w.run(lambda conn: gate.wait(5), ring=["api"]))
        await asyncio.sleep(0)
        while w._waiting:  # until the thread has taken it
            await asyncio.sleep(0)
        others = [asyncio.ensure_future(w.run(lambda conn, n=n: (bump(conn), n)[1], ring=["browser-default"])) for n in range(50)]
        await asyncio.sleep(0)
        gate.set()
        assert await first
        assert await asyncio.gather(*others) == list(range(50))
        assert commits == [frozenset({"api"}), frozenset({"browser-default"})]
        async with Reader(path) as r:
            assert await r.run(counted) == 50
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                await r.run(bump)


async def test_an_operation_that_raises_undoes_itself_alone(path):
    def fail(conn):
        bump(conn, 100)
        raise ValueError("mine")

    async with Writer(path) as w:
        results = await asyncio.gather(w.run(bump), w.run(fail), w.run(bump), return_exceptions=True)
        assert [type(r) for r in results] == [type(None), ValueError, type(None)]
        with pytest.raises(ValueError, match="mine"):  # with no others beside it
            await w.run(fail)
        assert await w.run(counted) == 2
        await w.run(bump)
        assert await w.run(counted) == 3


async def test_a_locked_database_is_said_to_all_that_wait_and_the_writer_goes_on(path):
    rival = database.open_database(path)
    async with Writer(path, deadline=0.05) as w:
        rival.execute("BEGIN IMMEDIATE")
        results = await asyncio.gather(w.run(bump), w.run(bump), return_exceptions=True)
        assert [type(r) for r in results] == [Locked, Locked]
        rival.execute("COMMIT")
        await w.run(bump)
        assert await w.run(counted) == 1


async def test_a_full_disk_is_said_to_the_whole_batch(path):
    async with Writer(path) as w:
        await w.between(stop_growing)
        results = await asyncio.gather(w.run(bump), w.run(grow), return_exceptions=True)
        assert Full in [type(r) for r in results] and type(results[1]) is Full
        await w.run(bump)


async def test_on_a_full_disk_the_ballast_is_given_up_for_outcomes(path, tmp_path):
    ballast, tries = tmp_path / "ballast", []
    ballast.write_bytes(b"x")

    def outcome(conn):
        tries.append(1)
        if ballast.exists():
            grow(conn)
        bump(conn)

    async with Writer(path, ballast=ballast) as w:
        await w.between(stop_growing)
        await w.run(outcome)
        assert len(tries) == 2 and await w.run(counted) == 1


async def test_a_caller_that_is_cancelled_stops_neither_the_operation_nor_the_others(path):
    async with Writer(path) as w:
        gate = threading.Event()
        blocked = asyncio.ensure_future(w.run(lambda conn: gate.wait(5)))
        cancelled, other = asyncio.ensure_future(w.run(bump)), asyncio.ensure_future(w.run(bump))
        await asyncio.sleep(0)
        cancelled.cancel()
        gate.set()
        await asyncio.gather(blocked, other)
        assert await w.run(counted) == 2


async def test_so_many_may_wait_and_none_after_the_end(path):
    w = Writer(path, limit=1)
    async with w:
        gate = threading.Event()
        blocked = asyncio.ensure_future(w.run(lambda conn: gate.wait(5)))
        await asyncio.sleep(0)
        while w._waiting:
            await asyncio.sleep(0)
        waits = asyncio.ensure_future(w.run(bump))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await w.run(bump)
        gate.set()
        await asyncio.gather(blocked, waits)
        last = asyncio.ensure_future(w.run(bump))
        await asyncio.sleep(0)
    await last, "what waits at the end is still committed"
    with pytest.raises(Closed):
        await w.run(bump)


async def test_an_illegal_transition_is_refused_and_counted(tmp_path):
    rig = Rig(tmp_path)
    (id_,) = rig.accept("491@c.us")
    row = transitions.row_of(rig.conn, rig.get(id_).rowid)
    async with Writer(rig.path) as w:
        with pytest.raises(Exception, match="queued → unconfirmed"):
            await w.run(lambda conn: transitions.move(conn, row, State.UNCONFIRMED, now=0))
        assert await w.run(lambda conn: counters.value(conn, "illegal_transitions_total", {})) == 1
    rig.check()


async def five_at_once(path, break_):
    """Five requests that arrive together, and how many rows they made; an answer is what was accepted or an exception."""
    async with Writer(path, ring=lambda names: doorbell.ring(path.parent, *names)) as w:
        await w.run(lambda conn: sessions.ensure(conn, name="default", now=0))
        break_()
        intake = Intake(Settings(data=path.parent), w, lambda: True, lambda: 1e6)
        task = asyncio.create_task(intake.run())
        requests = [Request([Draft("default", f"49{n}@c.us", "text", {"body": "x"})], "s", None, b"") for n in range(5)]
        answers = await asyncio.gather(*(intake.accept(r) for r in requests), return_exceptions=True)
        rows = await w.run(lambda conn: conn.execute("SELECT count(*) FROM outbox").fetchone()[0])
        task.cancel()
        return answers, rows


def taken(answers):
    return [a for a in answers if not isinstance(a, BaseException)]


@pytest.mark.parametrize(
    "owner, name", [(writer.events, "last"), (writer.HighWater, "note"), (doorbell, "ring")], ids=["last event", "high water", "doorbells"]
)
async def test_an_error_around_a_commit_repeats_nothing_that_is_committed(path, monkeypatch, owner, name):
    """Five requests are five rows and five answers, whichever step beside the COMMIT fails once."""
    failed = []

    def break_():
        real = getattr(owner, name)

        def fail_once(*args):
            if not failed:
                failed.append(1)
                raise sqlite3.OperationalError("disk I/O error")
            return real(*args)

        monkeypatch.setattr(owner, name, fail_once)

    answers, rows = await five_at_once(path, break_)
    assert failed and rows == len(taken(answers)) == 5
    assert len({id for one in taken(answers) for id in one.ids}) == 5


async def test_an_error_that_lasts_is_said_and_leaves_no_row(path, monkeypatch):
    real = events.last

    def fail(conn):
        if conn.in_transaction and conn.execute("SELECT count(*) FROM outbox").fetchone()[0]:
            raise sqlite3.OperationalError("disk I/O error")
        return real(conn)

    answers, rows = await five_at_once(path, lambda: monkeypatch.setattr(events, "last", fail))
    assert taken(answers) == [] and rows == 0


async def test_a_reply_that_fails_keeps_no_other_request_of_its_round_from_its_answer(path):
    async with Writer(path) as w:
        await w.run(lambda conn: sessions.ensure(conn, name="default", now=0))
        intake, heard = Intake(Settings(data=path.parent), w, lambda: True, lambda: 1e6), []

        def broken(outcome):
            raise ConnectionResetError("the client is gone")

        request = Request([Draft("default", "491@c.us", "text", {"body": "x"})], "s", None, b"")
        for reply in (broken, heard.append, broken, heard.append):
            intake.submit(request, reply)
        task = asyncio.create_task(intake.run())
        while len(heard) < 2 and not task.done():
            await asyncio.sleep(0.001)
        assert not task.done() and [len(one.ids) for one in heard] == [1, 1]
        assert await w.run(lambda conn: conn.execute("SELECT count(*) FROM outbox").fetchone()[0]) == 4
        task.cancel()


SYNC_FAILS = """
import asyncio, pathlib, sys
from gateway.store import database, writer
def fail(conn):
    raise database.CommitFailed("disk I/O error")
async def main():
    async with writer.Writer(pathlib.Path(sys.argv[1])) as w:
        writer.database.commit = fail
        run = getattr(w, sys.argv[2])
        try:
            await run(lambda conn: fail(conn) if sys.argv[2] == "between" else None)
        finally:
            print("answered")
asyncio.run(main())
"""


@pytest.mark.parametrize("run", ["run", "between"])
def test_a_commit_that_fails_while_syncing_answers_nothing_and_exits(path, run):
    done = subprocess.run([sys.executable, "-c", SYNC_FAILS, str(path), run], capture_output=True, text=True, timeout=20)
    assert (done.returncode, "answered" in done.stdout) == (writer.SYNC_FAILED, False)


def accept_many(path, name, count):
    """A process that accepts messages, one by one and as fast as it can."""

    async def main():
        async with Writer(path, pause=0.0005) as w:
            for n in range(count):
                draft = Draft("default", f"49{n % 7}@c.us", "text", {"from": name})
                await w.run(
                    lambda conn, draft=draft: outbox.accept(
                        conn, drafts=[draft], scope="s", key=None, fingerprint=b"", now=1e6, queue_limit=10**6
                    )
                )

    asyncio.run(main())


def test_two_processes_write_at_once_and_nothing_is_lost(path):
    conn = database.open_database(path)
    with database.transaction(conn, boot_time() + 1):
        sessions.ensure(conn, name="default", now=0)
    conn.close()
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=accept_many, args=(path, name, 100)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    assert [p.exitcode for p in processes] == [0, 0]
    conn = database.open_database(path)
    assert conn.execute("SELECT count(*), count(DISTINCT public), count(DISTINCT hex) FROM outbox").fetchone()[:] == (200, 200, 200)
    assert lanes.check(conn) == []
    assert conn.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


# -- doorbells


async def test_a_ring_wakes_whoever_waits_and_one_before_the_wait_counts(tmp_path):
    run = tmp_path / ("deep-" * 30)  # longer than a Unix address may be
    run.mkdir()
    bell = doorbell.Bell(run, "api")
    assert not await bell.wait(0.001)
    doorbell.ring(run, "nobody", "api")
    assert await bell.wait(5)
    doorbell.ring(run, "api")
    doorbell.ring(run, "api")
    assert await bell.wait(5)
    assert not await bell.wait(0.001), "rings before a wait are one"
    successor = doorbell.Bell(run, "api")
    doorbell.ring(run, "api")
    assert await successor.wait(5)
    successor.close()
    bell.close()
    doorbell.ring(run, "api")
    doorbell.ring(tmp_path / "gone", "api")


async def test_a_bell_that_is_switched_off_only_sleeps(tmp_path):
    bell = doorbell.Bell(tmp_path, "api", enabled=False)
    doorbell.ring(tmp_path, "api")
    assert not await bell.wait(0.001)
    assert list(tmp_path.iterdir()) == []
    bell.close()
