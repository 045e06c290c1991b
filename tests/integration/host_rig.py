"""A rig for tests of the browser host: sandbox, launcher, Chromium, host and store for real; the tests play supervisord.

async with HostRig(tmp_path) as rig:
    await rig.linked()
    message = await rig.accept("4915550001", "hello")
    await rig.reached(message, State.SENT)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from gateway import beat
from gateway import slot as slots
from gateway.executable import find_chromium
from gateway.message import State
from gateway.pacing import Use
from gateway.sandbox.server import Sandbox
from gateway.session import Evidence
from gateway.settings import Settings
from gateway.store import commands, doorbell, outbox, sessions
from gateway.store.model import Draft, MessageView, QueueStatus
from gateway.store.writer import Reader, Writer

T = TypeVar("T")
SESSION = "default"
#: Where the checkout is: subprocesses import the same code.
ROOT = Path(__file__).parents[2]
HOST = "import sys; from gateway.browser.host import main; from gateway.settings import load; sys.exit(main(load(), 'default'))"
LAUNCHER = "import sys; from gateway.browser.chromium import main; from gateway.settings import load; sys.exit(main(load(), 'default'))"


async def until(what: str, question: Callable[[], Awaitable[T]], seconds: float = 30.0, pause: float = 0.02) -> T:
    """Ask until the answer is true-ish."""
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        last = await question()
        if last:
            return last
        await asyncio.sleep(pause)
    raise AssertionError(f"never within {seconds} s: {what} (last answer: {last!r})")


class HostRig:
    """`settings` are further GATEWAY_… settings by their field names."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.sandbox = Sandbox()
        self.before: tuple[str, ...] = ()  #: a command that runs the processes, and becomes them
        self.given = {"send_interval": 0.0, "log_level": "debug", **settings}
        self.data = directory / "data"
        self.log = directory / "host.log"
        self.settings: Settings
        self.host: asyncio.subprocess.Process | None = None
        self.chromium: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> HostRig:
        self._stack = contextlib.AsyncExitStack()
        await self._stack.enter_async_context(self.sandbox)
        self.settings = Settings(data=self.data, whatsapp_url=self.sandbox.url, **self.given)
        self.settings.make_directories()
        self.http = await self._stack.enter_async_context(aiohttp.ClientSession())
        self.writer = await self._stack.enter_async_context(Writer(self.settings.database, ring=self._ring))
        self.reader = await self._stack.enter_async_context(Reader(self.settings.database))
        await self.writer.run(lambda conn: sessions.ensure(conn, name=SESSION, now=time.time()))
        return self

    def _ring(self, names: frozenset[str]) -> None:
        doorbell.ring(self.settings.run, *names)

    async def __aexit__(self, *_: object) -> None:
        for process in (self.host, self.chromium):
            if process is not None and process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
                    process.kill()
                await process.wait()
        await asyncio.to_thread(slots.sweep, self.data.resolve(), SESSION, find_chromium(None))
        if self.log.exists():  # pytest shows it where the test failed
            print(f"--- the host's log\n{self.log.read_text()[-6000:]}\n--- the sandbox\n{await self.truth()}")
        await self._stack.aclose()

    # -- processes

    async def _start(self, code: str) -> asyncio.subprocess.Process:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_") or k in ("GATEWAY_WA_JS", "GATEWAY_CHROMIUM")}
        given = {"data": self.data, "whatsapp_url": self.sandbox.url, **self.given}
        environ |= {f"GATEWAY_{name.upper()}": str(value) for name, value in given.items()}
        with self.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *self.before, sys.executable, "-c", code, env=environ, cwd=ROOT, stdout=log, stderr=log, process_group=0
            )

    async def start_host(self, code: str = HOST) -> asyncio.subprocess.Process:
        self.host = await self._start(code)
        return self.host

    async def start_chromium(self) -> asyncio.subprocess.Process:
        self.chromium = await self._start(LAUNCHER)
        return self.chromium

    async def kill_host(self) -> None:
        assert self.host is not None
        self.host.kill()
        await self.host.wait()

    async def kill_chromium(self) -> None:
        """-9 to its whole group, as the watchdog does."""
        assert self.chromium is not None
        os.killpg(self.chromium.pid, signal.SIGKILL)
        await self.chromium.wait()

    async def end_chromium(self) -> None:
        """As it is told to: it writes what it has to, its network log among it."""
        assert self.chromium is not None
        self.chromium.send_signal(signal.SIGTERM)
        await asyncio.wait_for(self.chromium.wait(), 10)

    def signal_chromium(self, number: signal.Signals) -> None:
        """To every process of it."""
        for pid in slots.chromium_processes(self.data.resolve(), SESSION, find_chromium(None)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    async def linked(self) -> None:
        """All up, scanned, ready."""
        await asyncio.gather(self.start_chromium(), self.start_host())
        await self.scanned()

    async def scanned(self) -> None:
        """A QR code comes on show, is scanned, and the session is ready."""
        await until("a QR code is on show", self._on_show)
        await self.control("scan")
        await self.ready()

    async def _on_show(self) -> bool:
        return any(p["qr"] for p in (await self.ask("state"))["pages"])

    async def ready(self, seconds: float = 30.0) -> None:
        async def question() -> bool:
            row = await self.session()
            return row.state == "ready"

        await until("the session is ready", question, seconds)

    async def session(self) -> sessions.SessionRow:
        row = await self.reader.run(lambda conn: sessions.get(conn, SESSION))
        assert row is not None
        return row

    def evidence(self) -> Evidence | None:
        found = beat.read(self.settings.beat(f"browser-{SESSION}"))
        return Evidence.from_dict(found.facts["evidence"]) if found and "evidence" in found.facts else None  # a first beat has none

    # -- the sandbox

    async def control(self, path: str, **body: Any) -> Any:
        async with self.http.post(f"{self.sandbox.url}/control/{path}", json=body) as answer:
            said = await answer.json()
            assert answer.status == 200, (path, body, said)
            return said

    async def ask(self, path: str) -> Any:
        async with self.http.get(f"{self.sandbox.url}/control/{path}") as answer:
            return await answer.json()

    async def fault(self, kind: str, **fields: Any) -> str:
        return str((await self.control("faults", kind=kind, **fields))["id"])

    async def heal(self, id: str) -> None:
        async with self.http.delete(f"{self.sandbox.url}/control/faults/{id}") as answer:
            assert answer.status == 200

    async def truth(self) -> list[dict[str, Any]]:
        """The rows that the sandbox's server has of messages from us."""
        rows: list[dict[str, Any]] = await self.ask("messages?direction=out")
        return rows

    async def twice(self) -> list[dict[str, Any]]:
        """Ids with more than one call, and bodies with more than one id."""
        rows = await self.truth()
        bodies = [r["body"] for r in rows]
        return [r for r in rows if r["calls"] > 1 or bodies.count(r["body"]) > 1]

    # -- the store

    async def accept(self, to: str, body: str, **fields: Any) -> str:
        """Accept a message as the API does; its public id."""
        return (await self.accept_many([(to, body)], **fields))[0]

    async def accept_many(self, messages: list[tuple[str, str]], **fields: Any) -> list[str]:
        addressed = [(to if "@" in to else f"{to}@c.us", body) for to, body in messages]
        drafts = [Draft(SESSION, to, "text", {"body": body, "preview_url": False}, **fields) for to, body in addressed]
        accepted = await self.writer.run(
            lambda conn: outbox.accept(
                conn, drafts=drafts, scope="", key=None, fingerprint=secrets.token_bytes(8), now=time.time(), queue_limit=100_000
            ),
            ring=(f"browser-{SESSION}",),
        )
        return accepted.ids

    async def message(self, id: str) -> MessageView:
        view = await self.reader.run(lambda conn: outbox.get(conn, id))
        assert view is not None
        return view

    async def queue_status(self, uses: dict[str, list[Use]] | None = None) -> QueueStatus:
        return await self.reader.run(lambda conn: outbox.queue_status(conn, now=time.time(), session=SESSION, uses=uses))

    async def reached(self, id: str, *states: State, seconds: float = 30.0) -> MessageView:
        async def question() -> MessageView | None:
            view = await self.message(id)
            return view if view.state in states else None

        return await until(f"{id} is {'/'.join(s.word for s in states)}", question, seconds)

    async def sent(self, *ids: str, seconds: float = 30.0) -> None:
        """Wait until each is sent or later."""
        for id in ids:
            await self.reached(id, State.SENT, State.DELIVERED, State.READ, State.PLAYED, seconds=seconds)

    async def order(self, kind: str, **args: Any) -> Any:
        """A command to the host, and its answer."""

        def ask(conn: sqlite3.Connection) -> int:
            now = time.time()
            return commands.ask(conn, session=SESSION, target="browser", kind=kind, args=args, now=now, deadline=now + 15)

        id = await self.writer.run(ask, ring=(f"browser-{SESSION}",))

        async def answered() -> commands.CommandRow | None:
            row = await self.reader.run(lambda conn: commands.get(conn, id))
            return row if row and row.answered_at else None

        return await until(f"{kind} is answered", answered, 16)
