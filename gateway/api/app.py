"""The API process: what runs beside the application, and where it listens."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator

import structlog
from aiohttp import web

from gateway.api.auth import Keys
from gateway.api.context import CONTEXT, Context
from gateway.api.gate import make_app
from gateway.api.guardian import Guardian
from gateway.api.housekeeping import Housekeeping, ballast
from gateway.api.news import News
from gateway.api.sessions import ensure_default
from gateway.api.wire import Runner
from gateway.process import keep_beating, run_until_stopped, spare_what_stays
from gateway.settings import Settings
from gateway.store.database import Full, Locked, SchemaTooNew
from gateway.store.doorbell import Bell, ring
from gateway.store.writer import Reader, Writer

log = structlog.get_logger()

#: Seconds that the writer stands back after each batch, so that host and watchdog get the lock (FACTS: p99 4.4 ms, without it far more).
WRITER_PAUSE = 0.0005
#: Seconds that requests under way get when the process is asked to stop; a long poll is cut off then.
SHUTDOWN = 3.0
#: A loopback address that this machine does not have (IPv6 switched off) is left out.
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def main(settings: Settings) -> int:
    """Run until told to stop, after process.start(). Returns the exit status: 1 if there is nothing to listen on, or a newer database."""
    status = 0

    async def run(stop: asyncio.Event) -> None:
        nonlocal status
        status = await serve(settings, stop)

    asyncio.run(run_until_stopped(run))
    return status


async def serve(settings: Settings, stop: asyncio.Event) -> int:
    """Open the store, listen, and run until `stop`. Beats from the first moment on, whatever the database does. Returns the exit status."""
    status = 0
    async with asyncio.TaskGroup() as group:
        beating = group.create_task(keep_beating(settings.beat("api"), dict))
        try:
            async with opened(settings, stop) as context:
                if context is not None:
                    status = await _listen(context, stop)
        except SchemaTooNew as error:
            log.error("The API cannot use the database", reason=str(error))
            status = 1
        finally:
            beating.cancel()
    return status


async def _listen(context: Context, stop: asyncio.Event) -> int:
    try:
        async with listening(make_app(context)):
            spare_what_stays()
            await stop.wait()
    except OSError as error:
        log.error("The API cannot listen: stop what uses the address, or change GATEWAY_LISTEN", reason=error.strerror)
        return 1
    return 0


@contextlib.asynccontextmanager
async def opened(settings: Settings, stop: asyncio.Event | None = None) -> AsyncIterator[Context | None]:
    """The store and what runs beside the server. A locked database is waited for; None if `stop` came before it was free."""
    stop = stop or asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        writer = await _writer(settings, stack, stop)
        if writer is None:
            yield None
            return
        await writer.run(ensure_default)
        reader = await stack.enter_async_context(Reader(settings.database))
        bell = Bell(settings.run, "api", settings.doorbells)
        stack.callback(bell.close)
        context = Context(settings, Keys.of(settings), writer, reader, News(bell, reader))
        # one that fails by a bug takes the process down, and supervisord brings it back: none of them may be missing unseen
        async with asyncio.TaskGroup() as group:
            background = [context.intake.run(), context.news.run(), Guardian(settings).run(), Housekeeping(settings, writer).run()]
            tasks = [group.create_task(job) for job in background]
            try:
                yield context
            finally:
                for task in tasks:
                    task.cancel()


async def _writer(settings: Settings, stack: contextlib.AsyncExitStack, stop: asyncio.Event) -> Writer | None:
    def ring_bells(names: frozenset[str]) -> None:
        if settings.doorbells:
            ring(settings.run, *names)

    while not stop.is_set():
        try:
            return await stack.enter_async_context(
                Writer(settings.database, ring=ring_bells, pause=WRITER_PAUSE, ballast=ballast(settings))
            )
        except (Locked, Full) as error:
            log.warning("The API waits for the database", reason=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await stop.wait()
    return None


@contextlib.asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[list[tuple[str, int]]]:
    """Serve on every address of the settings. Yields the addresses in fact. Raises OSError if one is taken, or none exists."""
    settings = app[CONTEXT].settings
    runner = Runner(app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN, handler_cancellation=True)
    await runner.setup()
    try:
        for host, port in _addresses(settings):
            try:
                await web.TCPSite(runner, host, port).start()
            except OSError as error:
                if host != "::1" or error.errno not in _NO_SUCH_ADDRESS:
                    raise OSError(error.errno, f"{host}:{port}: {error.strerror}") from None
                log.info("This machine has no IPv6 loopback, so the API does not listen there", address=f"[::1]:{port}")
        found = [(str(a[0]), int(a[1])) for a in runner.addresses]
        if not found:
            raise OSError(errno.EADDRNOTAVAIL, "none of the addresses in GATEWAY_LISTEN exists on this machine")
        shown = [f"http://[{h}]:{p}" if ":" in h else f"http://{h}:{p}" for h, p in found]
        if settings.key is None:
            log.info("The API listens; no key is set, so it serves this machine alone", addresses=shown)
        else:
            log.info("The API listens; every call but the probes asks for the key", addresses=shown)
        yield found
    finally:
        await runner.cleanup()


def _addresses(settings: Settings) -> list[tuple[str, int]]:
    """GATEWAY_LISTEN, `localhost` written out as both loopbacks."""
    spread = [[("127.0.0.1", p), ("::1", p)] if h == "localhost" else [(h, p)] for h, p in settings.addresses]
    return list(dict.fromkeys(pair for pairs in spread for pair in pairs))
