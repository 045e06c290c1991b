"""The sandbox as a server: in a process of its own (`main`) or inside a test (`Sandbox`)."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from types import TracebackType

from aiohttp import web

from .control import Control, Handler, sentences
from .happenings import cut
from .pages import MOST_UPLOAD, Pages, never_stale
from .world import World

_PR_SET_PDEATHSIG = 1


class Sandbox:
    """`async with Sandbox() as s:` serves at `s.url` until the end of the block; port 0 takes a free one.

    `close_doors` and `open_doors` make the server unreachable and reachable again without forgetting anything.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host, self.port = host, port
        self.world: World
        self._runner: web.AppRunner
        self._site: web.TCPSite | None = None

    @property
    def url(self) -> str:
        """Where it serves, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def __aenter__(self) -> Sandbox:
        self.world = World()
        app = web.Application(middlewares=[self._within_reach, sentences], client_max_size=MOST_UPLOAD)
        app.add_routes([*Pages(self.world).routes(), *Control(self.world).routes()])
        app.on_response_prepare.append(never_stale)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        self.world.schedule.start()
        await self.open_doors()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        cut(self.world)
        await self.world.schedule.close()
        await self._runner.cleanup()

    async def open_doors(self) -> None:
        """Listen. Raises OSError if the address is taken."""
        self._site = web.TCPSite(self._runner, self.host, self.port)
        await self._site.start()
        self.port = self._runner.addresses[0][1]

    async def close_doors(self) -> None:
        """Stop listening and cut every line: an outage of WhatsApp."""
        if self._site is not None:
            await self._site.stop()
            self._site = None
        cut(self.world)

    @web.middleware
    async def _within_reach(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """While WhatsApp is away, nobody gets as much as an error from it; what is not WhatsApp's goes on."""
        if self.world.faults.on("away") and not request.path.startswith(("/control", "/phone")):
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=503)  # never arrives
        return await handler(request)


def main(listen: str) -> int:
    """Serve on `HOST:PORT` until SIGTERM or SIGINT; the exit status."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdigit() or int(port) > 65_535:
        print(f"The sandbox's address must be HOST:PORT, such as 127.0.0.1:8090, not {listen!r}.", file=sys.stderr)
        return 2
    if "SUPERVISOR_ENABLED" in os.environ and sys.platform == "linux":
        # supervisord may be killed with -9, which leaves its children alive: this one goes with it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        asyncio.run(_serve(host, int(port)))
    except OSError as e:
        print(f"The sandbox cannot listen on {listen}: {e.strerror or e}.", file=sys.stderr)
        return 1
    return 0


async def _serve(host: str, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Sandbox(host, port) as sandbox:
        print(f"The sandbox's WhatsApp Web is at {sandbox.url}/ and its phone at {sandbox.url}/phone", flush=True)
        await stop.wait()
