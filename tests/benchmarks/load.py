"""A client that costs little: keep-alive connections that each send a POST, wait for its answer, and send the next.

A client library would take more CPU than the server it asks, and its cost would then be most of what is measured.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field

#: Seconds that a single answer may take before the run is given up.
PATIENCE = 30.0


@dataclass
class Load:
    """What one slice saw: answers within `seconds`, and how long each took (seconds)."""

    seconds: float
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    def quantile(self, q: float) -> float:
        """Seconds."""
        found = sorted(self.latencies)
        return found[min(len(found) - 1, int(q * len(found)))]


class _Connection(asyncio.Protocol):
    def __init__(self, slice_: _Slice) -> None:
        self._slice = slice_
        self._buffer = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._slice.request())

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        head, end, body = buffer.partition(b"\r\n\r\n")
        at = head.find(b"Content-Length: ") + 16
        if not end or len(body) < int(head[at : head.find(b"\r", at) if head.find(b"\r", at) > 0 else len(head)]):
            self._buffer = buffer
            return
        self._buffer = b""
        if head[9:12] != b"202":
            self._slice.fail(f"an answer other than 202: {buffer[:400].decode(errors='replace')}")
            self._transport.close()
        elif self._slice.answered(self._sent_at):
            self.send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._slice.ended(error)


class _Slice:
    def __init__(self, connections: int, seconds: float, request: Callable[[], bytes]) -> None:
        self.load = Load(seconds)
        self.request = request
        self._open = connections
        self._end = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin(self) -> None:
        self._end = time.perf_counter() + self.load.seconds

    def answered(self, sent_at: float) -> bool:
        """Note an answer; whether to go on. What comes after the end does not count."""
        now = time.perf_counter()
        if now >= self._end:
            return False
        self.load.latencies.append(now - sent_at)
        return True

    def ended(self, error: Exception | None) -> None:
        self._open -= 1
        if error is not None:
            self.fail(str(error))
        elif self._open == 0 and not self.done.done():
            self.done.set_result(None)

    def fail(self, text: str) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(text))


async def press(port: int, *, connections: int, seconds: float, request: Callable[[], bytes]) -> Load:
    """Keep `connections` busy for `seconds`. Raises RuntimeError on any answer but 202, TimeoutError on none."""
    slice_ = _Slice(connections, seconds, request)
    loop = asyncio.get_running_loop()
    opened = [loop.create_connection(lambda: _Connection(slice_), "127.0.0.1", port) for _ in range(connections)]
    made = [protocol for _, protocol in await asyncio.gather(*opened)]
    slice_.begin()
    for connection in made:
        connection.send()
    async with asyncio.timeout(seconds + PATIENCE):
        await slice_.done
    return slice_.load


def messages(port: int, *, recipients: int, keyed: bool = False) -> Callable[[], bytes]:
    """Makes requests, each another message to the next of so many recipients; `keyed`: each with an Idempotency-Key of its own."""
    numbers = itertools.count()
    head = f"POST /api/messages HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"

    def make() -> bytes:
        n = next(numbers)
        body = f'{{"to": "+4915551{n % recipients:06d}", "text": "Your order {n} is on its way and arrives on Tuesday."}}'
        key = f"Idempotency-Key: {port}-{time.time_ns()}-{n}\r\n" if keyed else ""
        return f"{head}{key}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    return make
