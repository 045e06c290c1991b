"""What every process of the gateway does alike: die with its parent, hold its lock, log, beat, stop when told to."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import gc
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import structlog

from gateway import beat
from gateway.filesystem import NO_ROOM, unfit
from gateway.ownership import by_sudo, refusal
from gateway.settings import Settings, SettingsError

log: structlog.stdlib.BoundLogger = structlog.get_logger()

T = TypeVar("T")
#: Seconds between two looks for room, or for whose the files are.
LOOK = 1.0
#: How deep each process looks for files of another user's; `gateway up` and `gateway doctor` look at all.
DEPTH = 2
#: EX_CONFIG: something that no restart mends.
REFUSED = 78
#: What supervisord sets for its programs: such a process dies with it.
SUPERVISED = "SUPERVISOR_ENABLED"
#: The umask of all that runs: what lies in the data directory is this user's alone (messages, logins, logs).
PRIVATE = 0o077
_PR_SET_PDEATHSIG = 1
#: New objects, less those that went by themselves, after which the collector looks for cycles: some megabytes.
GARBAGE = 20_000
_birth: beat.Birth | None = None


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies; survives exec.

    Without it a killed supervisord leaves its programs behind, and the next one starts second
    copies of all (measured with supervisor 4.3).
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1 and b"supervisord" not in Path("/proc/1/cmdline").read_bytes():
        os.kill(os.getpid(), signal.SIGKILL)  # it died before we could ask, and nobody would tell us any more


def hold_lock(path: Path) -> int:
    """Wait for the lock of this process' name and hold it for life; returns the descriptor.

    A flock dies with its holder, so a stopped process keeps its successor out until it is killed.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not try_lock(fd):
        log.warning("another process holds the lock, waiting for its end", lock=path.name)
        fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def try_lock(fd: int) -> bool:
    """Take the lock of an open file without waiting; False if another process holds it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def mask(number: str) -> str:
    """A phone number or address for the log: `4915…01`, never the whole."""
    user = number.split("@")[0].lstrip("+")
    return f"{user[:4]}…{user[-2:]}" if len(user) > 6 else "…"


def configure_logging(settings: Settings, process: str) -> None:
    """structlog to standard output: for people on a terminal, JSON elsewhere (supervisor writes it to data/logs).

    Tracebacks never show local variables, which hold message texts and passwords; structlog's default for terminals does.
    """
    people = settings.log_format == "console" or (settings.log_format == "auto" and sys.stdout.isatty())
    level = getattr(logging, settings.log_level.upper())
    renderer: list[Any] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if people
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    # pyppeteer, websockets and aiohttp speak through logging: warnings alone, through the same door
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(levelname)s %(name)s %(message)s", force=True)


def start(settings: Settings, name: str, *, beats: bool = True) -> int:
    """The first steps of a process called `name`; returns the descriptor of its lock, to be kept.

    It waits for what only its operator can mend: a full disk, files of another user's in the data directory.
    With `beats` it shows that it lives until keep_beating() does: the imports between take seconds on a loaded machine.
    """
    if os.environ.get(SUPERVISED):
        die_with_parent()
    os.umask(PRIVATE)
    if not settings.core_dumps:
        forbid_core_dumps()
    configure_logging(settings, name)
    when_it_is_ours(settings)
    with contextlib.suppress(OSError):
        # typed by hand, supervisord opens its log before it heeds the umask of supervisor.conf
        (settings.logs / "supervisord.log").chmod(0o600)
    if refused := unfit(settings.data.resolve(), settings.tried):
        log.error("The data directory cannot be used", reason=refused, alert=True)
        sys.exit(REFUSED)
    lock = when_there_is_room(lambda: hold_lock(settings.lock(name)))
    if beats:
        global _birth
        _birth = when_there_is_room(lambda: beat.Birth(settings.beat(name)))
    return lock


def forbid_core_dumps() -> None:
    """Set this process's limit of core dumps to 0, for it and all that it starts or becomes.

    A dump of Chromium holds message texts and keys, has hundreds of megabytes, and lands in the working directory, which
    is the data directory in the image and under systemd. systemd-coredump and apport heed the limit too.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def when_it_is_ours(settings: Settings) -> None:
    """Make the directories. While another user's files lie in the way, wait, look again each second, and say it once.

    Ending would only have supervisord start it again, for ever.
    """
    said = False
    while True:
        try:
            settings.make_directories()
            refused = by_sudo(settings.data) or refusal(settings.data, DEPTH)
        except SettingsError as error:
            refused = str(error)
        if refused is None:
            return
        if not said:
            log.error("The data directory cannot be used: this process waits", reason=refused, alert=True)
        said = True
        time.sleep(LOOK)


def when_there_is_room(make: Callable[[], T]) -> T:
    """What `make` gives, which may need some bytes of a disk that is full: tried again each second until there are, and said once."""
    said = False
    while True:
        try:
            return make()
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            if not said:
                log.error("The disk is full: this process waits for room for its first files", path=error.filename, alert=True)
            said = True
            time.sleep(LOOK)


def spare_what_stays() -> None:
    """Call it when a process has started up: what it has made by then lives as long as it does, and is not looked through again.

    By default Python's collector runs after each 700 new objects, and every now and then over all there are: 20 µs of each
    accepted message, a quarter of what the API adds to aiohttp.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE, 20, 20)


async def run_until_stopped(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `main` with an event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await main(stop)


async def keep_beating(path: Path, facts: Callable[[], dict[str, Any]]) -> None:
    """Beat each second for ever; cancel it to end. Runs on the main loop, so that a loop that hangs is a beat that fails."""
    if _birth is not None:
        _birth.over()
    heart = beat.Heart(path)
    try:
        while True:
            heart.beat(facts())
            await asyncio.sleep(beat.to_tick(beat.INTERVAL))
    finally:
        heart.close()
