"""A rig for tests of the API: the real application on a real port, on a real store; and someone who plays the browser host.

    async with ApiRig(tmp_path) as api:
        status, body, _ = await api.post("/api/messages", {"to": "+4915123456789", "text": "Hello"})

The host is played on the store alone, through the same functions that the real one calls, and by
the same beat file.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from gateway.api.app import listening, opened
from gateway.api.context import Context
from gateway.api.gate import make_app
from gateway.beat import Heart, boot_time
from gateway.message import HandOverError
from gateway.session import Evidence, State
from gateway.settings import Settings
from gateway.store import commands, lanes, outbox, recipients, sessions
from gateway.store.doorbell import Bell
from gateway.store.model import Claim

T = TypeVar("T")
ACCOUNT = "491700000001@c.us"
ONE = {"to": "+49 151 23456789", "text": "Hello"}


class ApiRig:
    """The API on a port of its own. `url` has no slash at its end."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.settings = Settings(data=path, listen="127.0.0.1:0", **settings)
        self.url = ""
        self.context: Context
        self.http: aiohttp.ClientSession
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> ApiRig:
        self.settings.make_directories()
        context = await self._stack.enter_async_context(opened(self.settings))
        assert context is not None
        self.context = context
        ((host, port),) = await self._stack.enter_async_context(listening(make_app(self.context)))
        self.url = f"http://{host}:{port}"
        self.http = await self._stack.enter_async_context(aiohttp.ClientSession())
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.http.close()
        broken = await self.context.read(lanes.check)
        await self._stack.aclose()
        assert broken == [], "the lanes are what one query derives"

    # -- HTTP
    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Mapping[str, str]]:
        """(status, JSON or bytes, headers); underscores in the names of headers stand for dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body
        if body is not None and not isinstance(body, bytes):
            data = json.dumps(body).encode()
            named.setdefault("Content-Type", "application/json")
        async with self.http.request(method, self.url + path, data=data, headers=named, skip_auto_headers=["Content-Type"]) as reply:
            raw = await reply.read()
            is_json = reply.content_type == "application/json"
            return reply.status, json.loads(raw) if is_json and raw else raw, reply.headers

    async def get(self, path: str, **headers: str) -> tuple[int, Any, Mapping[str, str]]:
        return await self.ask("GET", path, **headers)

    async def post(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Mapping[str, str]]:
        return await self.ask("POST", path, body, **headers)

    async def send(self, **change: Any) -> str:
        """Accept one message; its id."""
        status, body, _ = await self.post("/api/messages", {**ONE, **change})
        assert status == 202, body
        return str(body["id"])

    async def until(self, path: str, ready: Callable[[Any], bool], seconds: float = 10.0) -> Any:
        """GET until the body is as wanted."""
        deadline = boot_time() + seconds
        while True:
            _, body, _ = await self.get(path)
            if ready(body):
                return body
            assert boot_time() < deadline, body
            await asyncio.sleep(0.02)


class PlayedHost:
    """Plays the browser host of session `default`: attaches, links, beats; hands over and answers commands when told to."""

    def __init__(self, api: ApiRig) -> None:
        self.api, self.settings = api, api.settings
        self.fence: sessions.Fence
        self.healthy = True
        self.pace: list[dict[str, Any]] = []  #: how each cap stands, as a host says it
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> PlayedHost:
        write = self.api.context.write
        self.fence = await write(lambda conn: sessions.attach_host(conn, name="default", now=time.time()))
        for state in (State.STARTING, State.SYNCING, State.READY):
            await write(lambda conn, state=state: sessions.set_state(conn, self.fence, state=state, now=time.time()))
        await write(
            lambda conn: sessions.linked(
                conn, self.fence, account=ACCOUNT, lid=None, device=None, incarnation="i1", generation="g1", now=time.time()
            )
        )
        self._heart = Heart(self.settings.beat("browser-default"))
        self.beat()
        self._tasks.append(asyncio.create_task(self._beating()))
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._heart.close()

    async def _beating(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            self.beat()

    def beat(self) -> None:
        now = boot_time()
        evidence = Evidence(
            session="default", state=State.READY, epoch=self.fence.epoch, since=now, connected=True, chromium_pid=os.getpid(),
            answered_at=now, canary=None if self.healthy else "WPP.chat.find is gone", socket="CONNECTED", stream_mode="MAIN",
            stream_info="NORMAL", account=ACCOUNT, expected_account=ACCOUNT, memory_bytes=300_000_000,
            pace=self.pace,
        )  # fmt: skip
        self._heart.beat({"evidence": evidence.as_dict()})

    async def claim(self) -> Claim:
        """Look up who is unknown, and claim the next message."""
        write = self.api.context.write

        def resolve(conn: Any) -> None:
            now = time.time()
            for one in recipients.unresolved(conn, session="default", now=now, limit=100):
                recipients.resolved(
                    conn, self.fence, recipient=one.recipient, wa_id=one.address, pn=one.address, lid=None, remote=one.address, now=now
                )

        await write(resolve)
        found = await write(lambda conn: outbox.claim(conn, self.fence, generation="g1", incarnation="i1", now=time.time()))
        assert found is not None
        return found

    async def hand_over(self, ack: int = 2) -> Claim:
        """Claim the next message, place it, and have it acked."""
        claim = await self.claim()
        await self.placed_and_acked(claim, ack)
        return claim

    async def placed_and_acked(self, claim: Claim, ack: int = 2) -> None:
        def op(conn: Any) -> None:
            now = time.time()
            outbox.placed(conn, self.fence, rowid=claim.rowid, attempt=claim.attempt, now=now)
            outbox.acked(conn, self.fence, hex=claim.key.hex, ack=ack, at=now, now=now)

        await self.api.context.write(op, "api")

    async def fail(self, claim: Claim, error: HandOverError, due: float | None = None) -> None:
        now = time.time()
        await self.api.context.write(
            lambda conn: outbox.sent_not(
                conn, self.fence, rowid=claim.rowid, attempt=claim.attempt, error=error, due=due or now + 60, now=now, max_attempts=5
            ),
            "api",
        )

    def answering(self, answer: Callable[[commands.Command], Any], target: Any = "browser") -> None:
        """Answer commands from now on: with what `answer` gives, or with the error that it raises as ValueError."""
        self._tasks.append(asyncio.create_task(answer_commands(self.api, answer, target)))


async def answer_commands(api: ApiRig, answer: Callable[[commands.Command], Any], target: Any) -> None:
    """Take commands as the host or the watchdog does, for ever."""
    session = "default" if target == "browser" else None
    bell = Bell(api.settings.run, f"browser-{session}" if session else "watchdog")
    try:
        while True:
            for command in await api.context.write(lambda conn: commands.take(conn, target=target, session=session, now=time.time())):
                result, error = None, None
                try:
                    result = answer(command)
                    if isinstance(result, Awaitable):
                        result = await result
                except ValueError as refused:
                    error = str(refused)
                await api.context.write(
                    lambda conn, id=command.id, r=result, e=error: commands.answer(conn, id=id, result=r, error=e, now=time.time()), "api"
                )
            await bell.wait(1.0)
    finally:
        bell.close()


@contextlib.asynccontextmanager
async def beating(settings: Settings, name: str) -> Any:
    """A process of that name beats."""
    heart = Heart(settings.beat(name))
    heart.beat()

    async def go_on() -> None:
        while True:
            await asyncio.sleep(1.0)
            heart.beat()

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        heart.close()
