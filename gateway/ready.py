"""`gateway ready`: whether messages are accepted, for a container's health check. Reads the settings, and uses no proxy.

It runs every half minute for ever, so it imports little: `gateway.__main__` comes here before it imports anything else.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

from gateway.listening import addresses, reached_at

#: Seconds for all of it: less than the 5 s that the image's HEALTHCHECK waits.
DEADLINE = 4.0


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Print one sentence; returns 0 if the API accepts messages, else 1 (Docker knows no other status)."""
    until = time.monotonic() + DEADLINE
    problem = ""
    try:
        for host, port, name in (reached_at(*address) for address in addresses(environ)):
            ready, said = _ask(host, port, name, until)
            if ready:
                print(said)
                return 0
            problem = problem or said  # the first address is the one that the other commands use
    except ValueError as error:
        problem = str(error)
    print(f"not ready: {problem}")
    return 1


def _ask(host: str, port: int, name: str, until: float) -> tuple[bool, str]:
    """Whether the API there is ready, and a sentence."""
    request = f"GET /readyz HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    head = b""
    try:
        with socket.create_connection((host, port), timeout=max(0.001, until - time.monotonic())) as connection:
            connection.sendall(request.encode())
            while b"\r\n" not in head and len(head) < 1000:
                connection.settimeout(max(0.001, until - time.monotonic()))
                if not (more := connection.recv(1000)):
                    break
                head += more
    except TimeoutError:
        return False, f"no answer from {name} within {DEADLINE:.0f} s"
    except OSError as error:
        return False, f"nobody answers at {name} (GATEWAY_LISTEN): {error.strerror or error}"
    status = head.split(b"\r\n")[0].split()
    if len(status) < 2 or not status[0].startswith(b"HTTP/"):
        return False, f"what answers at {name} is not this gateway: `gateway doctor` says who uses the port"
    if status[1] == b"200":
        return True, f"ready: messages are accepted at {name}"
    if status[1] == b"503":
        return False, f"the API at {name} accepts no messages at present: `gateway status` says why"
    return False, f"what answers at {name} is not this gateway (HTTP {status[1].decode(errors='replace')}): see `gateway doctor`"
