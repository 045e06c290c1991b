"""supervisord over its unix socket: XML-RPC with a deadline on every call, and the surest way to kill a program.

Written on asyncio's own streams: one call is one short connection, and nothing else of an HTTP
client is needed.
"""

from __future__ import annotations

import asyncio
import enum
import os
import shlex
import signal
import xmlrpc.client
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.beat import boot_time
from gateway.settings import Settings
from gateway.slot import started_at

#: Seconds one call may take; getProcessInfo answers within 0.4 ms (p50), and while a log rotates within some tens of ms.
DEADLINE = 2.0
#: supervisord reaps a child at once on an RPC that arrives this many seconds after its death; earlier ones come too early.
REAPED_AFTER = 0.006
#: The code of the fault that every call gets while supervisord ends or reloads (supervisor.xmlrpc.Faults, 170 ms to import).
SHUTDOWN_STATE = 6
_TICKS = os.sysconf("SC_CLK_TCK")


class Unreachable(Exception):
    """supervisord did not answer, or not in time."""


class Fault(Exception):
    """supervisord refused; `code` is one of its fault codes."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class ProgramState(enum.IntEnum):
    """supervisord's own states of a program."""

    STOPPED = 0  #: by the operator's will, or not started yet
    STARTING = 10  #: runs for less than startsecs
    RUNNING = 20
    BACKOFF = 30  #: ended within startsecs; supervisord starts it again after a growing delay
    STOPPING = 40
    EXITED = 100
    FATAL = 200  #: supervisord gave up
    UNKNOWN = 1000


@dataclass(frozen=True, slots=True)
class Program:
    """One supervised program at one moment; `since` is the start of its process by the boot clock."""

    name: str
    state: ProgramState
    pid: int | None
    since: float | None = None
    exit_status: int = 0
    problem: str = ""  #: why supervisord could not even start it, in its words

    @property
    def wanted_down(self) -> bool:
        """Whether somebody stopped it: the operator's will, left alone."""
        return self.state in (ProgramState.STOPPED, ProgramState.STOPPING)


class Supervisor:
    """A client. Holds no connection, so there is nothing to close."""

    def __init__(self, socket: Path, deadline: float = DEADLINE) -> None:
        self._socket = socket
        self._deadline = deadline

    async def call(self, method: str, *params: Any) -> Any:
        """One XML-RPC call. Raises Unreachable, Fault."""
        body = xmlrpc.client.dumps(params, method).encode()
        head = (
            f"POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        try:
            async with asyncio.timeout(self._deadline):
                answer = await self._exchange(head.encode() + body)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
            raise Unreachable(f"supervisord does not answer {method}: {error or type(error).__name__}") from None
        try:
            return xmlrpc.client.loads(answer)[0][0]
        except xmlrpc.client.Fault as fault:
            raise Fault(fault.faultCode, fault.faultString) from None
        except Exception as error:  # expat's error has no public base; whatever it is, this was no answer
            raise Unreachable(f"supervisord answers {method} with no XML-RPC: {error}") from None

    async def _exchange(self, request: bytes) -> bytes:
        """The body of the answer."""
        reader, writer = await asyncio.open_unix_connection(str(self._socket))
        try:
            writer.write(request)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            if " 200 " not in head[0]:
                raise ValueError(head[0])
            sizes = [line.partition(":")[2] for line in head if line.lower().startswith("content-length:")]
            return await (reader.readexactly(int(sizes[0])) if sizes else reader.read())
        finally:
            writer.close()

    async def programs(self) -> dict[str, Program]:
        """All programs by name. Raises Unreachable, Fault."""
        return {info["name"]: _program(info) for info in await self.call("supervisor.getAllProcessInfo")}

    async def program(self, name: str) -> Program:
        """One program. Raises Fault (BAD_NAME), Unreachable."""
        return _program(await self.call("supervisor.getProcessInfo", name))

    async def poke(self) -> None:
        """Make supervisord look at its children now rather than within two seconds. Raises Unreachable, Fault."""
        await self.call("supervisor.getState")

    async def shutting_down(self) -> bool:
        """Whether supervisord is about to end or to reload, with all of its programs. Raises Unreachable."""
        try:
            await self.poke()
        except Fault as fault:
            return fault.code == SHUTDOWN_STATE
        return False

    async def start(self, name: str) -> None:
        """Start, also from BACKOFF (which alone faults ALREADY_STARTED: stop, then start). Raises Unreachable, Fault."""
        if (await self.program(name)).state is ProgramState.BACKOFF:
            await self.call("supervisor.stopProcess", name, False)
        await self.call("supervisor.startProcess", name, False)

    async def stop(self, name: str) -> None:
        """Ask it to stop, without waiting: supervisord spins while somebody waits. Raises Unreachable, Fault."""
        await self.call("supervisor.stopProcess", name, False)

    async def signal(self, name: str, number: signal.Signals) -> None:
        """A signal to the leader. Raises Unreachable, Fault."""
        await self.call("supervisor.signalProcess", name, number.name.removeprefix("SIG"))

    async def kill(self, name: str, pid: int, deadline: float = DEADLINE) -> bool:
        """Kill the program's process group while `pid` is its leader, and have supervisord restart it at once.

        False if that pid is the program's no more: somebody was faster, and its successor is innocent.
        Raises Unreachable, Fault; TimeoutError if the process does not end (stuck in the kernel).
        """
        if (await self.program(name)).pid != pid:
            return False
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            await self.poke()
            return False
        try:
            # asked again with the pidfd in hand: now the number cannot be anybody else's
            if (await self.program(name)).pid != pid:
                return False
            with suppress(Fault):
                await self.signal(name, signal.SIGKILL)  # hits the leader alone
            with suppress(ProcessLookupError, PermissionError):
                if os.getpgid(pid) == pid:
                    os.killpg(pid, signal.SIGKILL)
            async with asyncio.timeout(deadline):
                await _end(fd)
        finally:
            os.close(fd)
        await asyncio.sleep(REAPED_AFTER)
        await self.poke()
        return True


async def _end(fd: int) -> None:
    """Until the process behind a pidfd has ended."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    loop.add_reader(fd, lambda: None if ended.done() else ended.set_result(None))
    try:
        await ended
    finally:
        loop.remove_reader(fd)


def _program(info: Mapping[str, Any]) -> Program:
    pid = info["pid"] or None
    ticks = started_at(pid) if pid else None
    try:
        state = ProgramState(info["state"])
    except ValueError:
        state = ProgramState.UNKNOWN
    since = None if pid is None else boot_time() if ticks is None else ticks / _TICKS
    # of a program that it did start it says no more than that
    problem = "" if info["spawnerr"].startswith(("Exited too quickly", "Bad exit code")) else info["spawnerr"]
    return Program(info["name"], state, pid, since, info["exitstatus"], problem)


def supervisorctl(settings: Settings, *words: str) -> str:
    """The command line that a person types for this gateway's supervisord, with the file that it can be asked by."""
    of_checkout = settings.data.parent / "supervisor.conf"
    conf = of_checkout if settings.data.name == "data" and of_checkout.exists() else settings.data / "supervisor.conf"
    with suppress(ValueError):
        conf = conf.relative_to(Path.cwd())
    return shlex.join(["supervisorctl", "-c", str(conf), *words])
