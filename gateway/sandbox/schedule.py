"""Things to do a little later: receipts, late acks. One heap and one task, so that a reset forgets them all."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable


class Schedule:
    """Calls plain functions at their time; owns its task."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._sooner = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to call; needs a running loop."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Forget everything and end the task."""
        self.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def clear(self) -> None:
        """Forget what has not been called yet."""
        self._heap.clear()

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call `call` in `seconds`; calls of one instant keep their order."""
        at = asyncio.get_running_loop().time() + seconds
        if not self._heap or at < self._heap[0][0]:
            self._sooner.set()
        heapq.heappush(self._heap, (at, next(self._order), call))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._sooner.clear()
            while self._heap and self._heap[0][0] <= loop.time():
                heapq.heappop(self._heap)[2]()
            wait = self._heap[0][0] - loop.time() if self._heap else None
            try:
                async with asyncio.timeout(wait):
                    await self._sooner.wait()
            except TimeoutError:
                continue
