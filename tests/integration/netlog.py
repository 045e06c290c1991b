"""What Chromium's network log (--log-net-log) says of names that were looked up and addresses that were connected to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Seen:
    """`names`: each name of a DNS query or a system look-up. `addresses`: each address of a TCP connection, without its port."""

    names: set[str] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)
    requests: int = 0


def read(path: Path) -> Seen:
    """The log of a Chromium that has ended; one that was killed leaves it without its last bracket."""
    text = path.read_text(errors="replace")
    try:
        log = json.loads(text)
    except ValueError:
        log = json.loads(text.rstrip().rstrip(",") + "]}")
    kinds = {number: name for name, number in log["constants"]["logEventTypes"].items()}
    seen = Seen()
    for event in log["events"]:
        kind, params = kinds[event["type"]], event.get("params") or {}
        if kind == "DNS_TRANSACTION_QUERY" and "qname" in params:
            seen.names.add(params["qname"])
        elif kind == "HOST_RESOLVER_SYSTEM_TASK" and "hostname" in params:
            seen.names.add(params["hostname"])
        elif kind == "TCP_CONNECT_ATTEMPT" and "address" in params:
            seen.addresses.add(params["address"].rpartition(":")[0])
        elif kind == "URL_REQUEST_START_JOB" and "url" in params:
            seen.requests += 1
    return seen
