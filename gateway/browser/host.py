"""The browser host: leads messages from the outbox to WhatsApp's page, and what the page says back into the store.

Crash-only: it holds nothing that its successor could not find in the store or in the page. It ends
when it is told to, when a newer epoch exists, or when a task fails, the last two with a status that
is not 0; supervisord starts the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from typing import TYPE_CHECKING, Any

import structlog

from gateway import pacing, process
from gateway.beat import boot_time
from gateway.pacing import Pacer
from gateway.settings import Settings
from gateway.slot import end_of_chromium
from gateway.store.sessions import Fenced

if TYPE_CHECKING:
    from gateway.browser.standing import Standing
    from gateway.store.doorbell import Bell
    from gateway.store.sessions import Fence, SessionRow
    from gateway.store.writer import Reader, Writer

log = structlog.get_logger()

#: Exit status of a host that has a successor (EX_TEMPFAIL), and of one that failed (EX_SOFTWARE).
FENCED, FAILED = 75, 70
#: Seconds before the store is asked again while it is locked: that is no reason to end.
PAUSE = 0.2
#: Seconds for asking supervisord, at our end, whether everything stops; and for Chromium's end then: it is killed after 4
#: (supervisor.conf), and we after 6.
ASK, CHROMIUM_ENDS = 0.5, 5.0


class _Stopped(Exception):
    """We were told to stop."""


def main(settings: Settings, session: str) -> int:
    """Run the host of a session until it is told to stop. Returns an exit status."""
    begun, status = boot_time(), 0
    lock = process.start(settings, f"browser-{session}")
    try:
        asyncio.run(process.run_until_stopped(functools.partial(host, settings, session, begun)))
    except* Fenced as group:
        status = FENCED
        log.error("This host has a successor and ends", session=session, reason=str(_first(group)))
    except* Exception as group:
        status = FAILED
        log.critical("The browser host failed; its successor takes over", session=session, exc_info=group)
    assert lock >= 0  # held until here
    return status


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def host(settings: Settings, session: str, begun: float, stop: asyncio.Event) -> None:
    """All tasks of the host, until `stop`. Raises a group with what failed."""
    _load()
    from gateway.browser.standing import Standing

    standing = Standing(session=session, epoch=0, since=begun, pacer=_pacer(settings))

    def facts() -> dict[str, Any]:
        standing.stalls.look(boot_time())
        return {"evidence": standing.evidence().as_dict()}

    try:
        async with asyncio.TaskGroup() as group:
            beat = settings.beat(f"browser-{session}")
            group.create_task(process.keep_beating(beat, facts))
            group.create_task(_until(stop))
            group.create_task(_serve(settings, standing))
    except* _Stopped:
        log.info("The browser host stops", session=session)
    await _farewell(settings, session)


def _pacer(settings: Settings) -> Pacer:
    every = pacing.caps(
        minute=settings.max_per_minute, hour=settings.max_per_hour, day=settings.max_per_day, new_chats=settings.new_chats_per_day
    )
    jitter = pacing.CAREFUL_JITTER if settings.pacing == "careful" else pacing.JITTER
    return pacing.Pacer(settings.send_interval, jitter=jitter, caps=every)


def _load() -> None:
    """Import all that the work needs: late, so that the lock is waited for without pyppeteer in memory, and before the loop has to beat."""
    from gateway.browser import (  # noqa: F401
        attendant,
        incarnation,
        inquiry,
        keeper,
        lookout,
        orders,
        receiver,
        reconciler,
        records,
        resolver,
        scripts,
        sender,
    )


async def _until(stop: asyncio.Event) -> None:
    await stop.wait()
    raise _Stopped


async def _serve(settings: Settings, standing: Standing) -> None:
    from gateway.store import doorbell
    from gateway.store.writer import Reader

    async with contextlib.AsyncExitStack() as stack:
        writer = await _open(settings, stack)
        reader = await stack.enter_async_context(Reader(settings.database))
        bell = doorbell.Bell(settings.run, f"browser-{standing.session}", settings.doorbells)
        stack.callback(bell.close)
        before, fence = await _begin(writer, standing.session)
        waited = boot_time() - standing.since
        standing.epoch, standing.since = fence.epoch, boot_time()  # what the database made it wait is not Chromium's time
        log.info("The browser host has begun", session=standing.session, epoch=fence.epoch, seconds=round(waited, 3))
        await _work(settings, standing, writer, reader, fence, before, bell)


async def _open(settings: Settings, stack: contextlib.AsyncExitStack) -> Writer:
    """The writer, once the database can be had."""
    from gateway.store import doorbell
    from gateway.store.database import Full, Locked
    from gateway.store.writer import Writer

    ring = functools.partial(doorbell.ring, settings.run)
    while True:
        writer = Writer(
            settings.database, ring=lambda names: ring(*names) if settings.doorbells else None, ballast=settings.data / "ballast"
        )
        try:
            return await stack.enter_async_context(writer)
        except (Locked, Full) as error:
            log.warning("The database cannot be opened yet", reason=str(error))
            await asyncio.sleep(PAUSE)


async def _begin(writer: Writer, session: str) -> tuple[SessionRow | None, Fence]:
    """A new epoch: from its commit on, predecessors can change nothing. Returns the session as they left it."""
    import sqlite3

    from gateway.session import State
    from gateway.store import commands, outbox, sessions
    from gateway.store.database import Full, Locked

    def op(conn: sqlite3.Connection) -> tuple[SessionRow | None, Fence]:
        now = time.time()
        before = sessions.get(conn, session)
        fence = sessions.attach_host(conn, name=session, now=now)
        sessions.set_state(conn, fence, state=State.STARTING, now=now)
        outbox.older_epochs(conn, fence, now=now)
        commands.interrupt(conn, target="browser", session=session, now=now)
        return before, fence

    while True:
        try:
            return await writer.run(op, ring=("api",))
        except (Locked, Full) as error:
            log.warning("The host cannot begin: the database takes nothing at present", reason=str(error))
            await asyncio.sleep(PAUSE)


async def _work(
    settings: Settings,
    standing: Standing,
    writer: Writer,
    reader: Reader,
    fence: Fence,
    before: SessionRow | None,
    bell: Bell,
) -> None:
    from gateway.browser.attendant import Attendant
    from gateway.browser.inquiry import Inquiry
    from gateway.browser.keeper import Keeper
    from gateway.browser.lookout import Lookout
    from gateway.browser.orders import Orders
    from gateway.browser.reachability import Reachability
    from gateway.browser.receiver import Receiver
    from gateway.browser.reconciler import Reconciler
    from gateway.browser.records import Records
    from gateway.browser.resolver import Resolver
    from gateway.browser.scripts import Scripts
    from gateway.browser.sender import Sender
    from gateway.provision import wa_js_path

    records = Records(writer, reader, fence)
    attendant = Attendant(settings, standing, Scripts(settings.whatsapp_url, wa_js_path(settings)))
    keeper = Keeper(settings, standing, records)
    sender = Sender(settings, standing, records)
    reconciler = Reconciler(settings, standing, records, sender, known=before.generation if before else None)
    receiver = Receiver(settings, standing, records)
    resolver = Resolver(standing, records)
    orders = Orders(standing, records, bell, resolver)
    lookout = Lookout(settings, standing, records, keeper)
    inquiry = Inquiry(settings, standing)
    async with asyncio.TaskGroup() as group:
        for task in (
            attendant.run, attendant.measure, Reachability(settings, standing).run, keeper.run, lookout.run, sender.run,
            reconciler.run, receiver.run, resolver.run, orders.run, inquiry.run,
        ):  # fmt: skip
            group.create_task(task())


async def _farewell(settings: Settings, session: str) -> None:
    """Say on disk that Chromium has ended, so that the next boot knows that nothing was lost. Where everything stops it is waited for."""
    from gateway.browser import incarnation
    from gateway.supervision import Supervisor, Unreachable

    with contextlib.suppress(OSError, Unreachable, TimeoutError):
        if await Supervisor(settings.supervisor_socket, ASK).shutting_down():
            await asyncio.to_thread(end_of_chromium, settings.data.resolve(), session, CHROMIUM_ENDS)
    with contextlib.suppress(OSError):
        if await asyncio.to_thread(incarnation.mark_clean, settings.slot(session).resolve()):
            log.info("Chromium has ended clean", session=session)
