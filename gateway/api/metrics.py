"""/metrics: counter rows and beats, read at each scrape. A scrape costs the same with ten messages and ten million."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from gateway import __version__
from gateway.api.answers import ProcessOut
from gateway.api.context import Context, context_of, wall
from gateway.api.evidence import processes, uses_of, why_unhealthy
from gateway.api.operations import Operations
from gateway.beat import boot_time
from gateway.message import State
from gateway.settings import Settings
from gateway.store import counters, outbox, sessions
from gateway.store.counters import Counter, Histogram
from gateway.store.database import room
from gateway.store.outbox import Waits
from gateway.store.sessions import SessionRow

operations = Operations("Health")

PREFIX = "whatsapp_gateway_"
#: Counter rows that are shown, with their labels in order and what they mean. Rows of other names are gauges below, or nobody's.
COUNTERS = {
    "messages_total": (("session", "state"), "Messages that ever came to a state."),
    "recoveries_total": (("session", "cause", "rung", "result"), "Recoveries that ended, by the last rung tried."),
    "session_healthy_seconds_total": (("session",), "Seconds that a session was healthy, as far as it was watched."),
    "session_seconds_total": (("session",), "Seconds that a session was watched."),
    "outcome_unknown_total": (("session",), "Messages given up because nobody can know whether they were sent."),
    "restrictions_total": (("session",), "Times that WhatsApp limited the account."),
    "session_transitions_refused_total": (
        ("session", "from", "to"),
        "Changes of a session's state that its state machine refused: bugs.",
    ),
    "illegal_transitions_total": ((), "Transitions that the state machine refused: bugs."),
}
HISTOGRAMS = {
    "send_seconds": (("session",), "From acceptance to WhatsApp's server."),
    "handover_seconds": (("session",), "From the claim to the page's confirmation."),
    "recovery_seconds": (("session",), "From the start of a recovery to its end."),
}


@dataclass(frozen=True, slots=True)
class _Snapshot:
    sessions: list[SessionRow]
    counters: list[Counter]
    histograms: list[Histogram]
    waits: dict[str, Waits]


def _read(conn: sqlite3.Connection, settings: Settings) -> _Snapshot:
    rows = sessions.all_(conn)
    found, histograms = counters.read(conn)
    now = wall()
    waits = {row.name: outbox.waits(conn, row, now=now, uses=uses_of(settings, row.name)) for row in rows}
    return _Snapshot(rows, found, histograms, waits)


@operations.get("/metrics", answers={200: ("text/plain", "application/openmetrics-text")})
async def metrics(request: web.Request) -> web.Response:
    """Metrics for Prometheus

    The Accept header chooses between Prometheus' text format and OpenMetrics. GATEWAY_METRICS_KEY opens only this.
    """
    context = context_of(request)
    snapshot = await context.read(lambda conn: _read(conn, context.settings))
    families = list(_families(snapshot, context))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(families))
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(registry), headers={"Content-Type": content_type})


class _Families(Collector):
    """Families made beforehand, in the form that the encoder wants."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(s: _Snapshot, context: Context) -> Iterator[Metric]:
    yield from _counters(s)
    yield from _histograms(s)
    yield from _of_sessions(s, context.settings)
    names = [row.name for row in s.sessions]
    yield from _of_processes(processes(context.settings, names), uptime=boot_time() - context.started_at)
    yield _gauge("disk_free_bytes", "Bytes free on the data directory's file system.", {(): room(context.settings.data)})
    yield _gauge("build_info", "The version that runs; always 1.", {(__version__,): 1}, ("version",))


def _gauge(name: str, text: str, values: Mapping[tuple[str, ...], float], labels: tuple[str, ...] = ()) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for label, value in values.items():
        family.add_metric(label, value)
    return family


def _from_zero(s: _Snapshot, labels: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The labels that are known before anything is counted: a counter that begins at 1 hides its first event from increase()."""
    known = {"session": [row.name for row in s.sessions], "state": [state.word for state in State]}
    return list(itertools.product(*(known[label] for label in labels))) if set(labels) <= known.keys() else []


def _counters(s: _Snapshot) -> Iterator[Metric]:
    for name, (labels, text) in COUNTERS.items():
        values = dict.fromkeys(_from_zero(s, labels), 0.0)
        values |= {tuple(row.labels.get(label, "") for label in labels): row.value for row in s.counters if row.name == name}
        family = CounterMetricFamily(PREFIX + name, text, labels=labels)
        for label, value in values.items():
            family.add_metric(label, value)
        yield family


def _histograms(s: _Snapshot) -> Iterator[Metric]:
    for name, (labels, text) in HISTOGRAMS.items():
        values = {label: counters.empty(name, dict(zip(labels, label, strict=True))) for label in _from_zero(s, labels)}
        values |= {tuple(found.labels.get(label, "") for label in labels): found for found in s.histograms if found.name == name}
        family = HistogramMetricFamily(PREFIX + name, text, labels=labels)
        for label, found in values.items():
            buckets = [("+Inf" if bound == float("inf") else str(float(bound)), count) for bound, count in found.buckets]
            family.add_metric(label, buckets, found.sum)
        yield family


def _of_sessions(s: _Snapshot, settings: Settings) -> Iterator[Metric]:
    standing = {(row.labels["session"], row.labels["state"]): row.value for row in s.counters if row.name == "messages"}

    def each(name: str, text: str, value: Callable[[SessionRow], float | None]) -> Metric:
        return _gauge(name, text, {(row.name,): value(row) or 0 for row in s.sessions}, ("session",))

    yield each(
        "queue_length",
        "Messages that wait: back-off, scheduled and held included.",
        lambda row: standing.get((row.name, State.QUEUED.word)),
    )
    yield each("queue_oldest_seconds", "Seconds that the oldest message waits; 0 if none does.", lambda row: s.waits[row.name].oldest)
    yield each(
        "queue_due_seconds",
        "Seconds for which a message could have gone and has not, the longest of all; what is held, scheduled, in back-off, paused,"
        " beyond a cap of pacing, or forbidden by WhatsApp for now does not count.",
        lambda row: s.waits[row.name].due,
    )
    yield each("last_sent_timestamp_seconds", "When WhatsApp took a message last; 0 if never.", lambda row: row.last_sent_at)
    yield each(
        "unconfirmed",
        "Messages handed over without proof of either outcome.",
        lambda row: standing.get((row.name, State.UNCONFIRMED.word)),
    )
    yield each("session_started", "1 unless its operator stopped the session.", lambda row: row.desired == "started")
    yield each(
        "session_healthy",
        "1 if the session is healthy by evidence at most 5 s old.",
        lambda row: not why_unhealthy(row, settings),
    )
    yield each(
        "session_logged_out",
        "1 if an account was linked to this session and none is now: the phone has to scan again.",
        lambda row: row.account is None and row.last_account is not None,
    )
    yield each("account_restricted", "1 while WhatsApp limits the account.", lambda row: s.waits[row.name].restricted)


def _of_processes(found: list[ProcessOut], uptime: float) -> Iterator[Metric]:
    """Of a process that gave no sign of life yet, the age is at least our own: it has been silent for as long as we look."""
    ages = {p.name: p.beat_age_seconds if p.beat_age_seconds is not None else uptime for p in found}
    memory = {p.name: p.memory_bytes for p in found if p.memory_bytes is not None}
    chromium = {name.removeprefix("chromium-"): bytes_ for name, bytes_ in memory.items() if name.startswith("chromium-")}
    yield _gauge("heartbeat_age_seconds", "Seconds since a process's last sign of life.", _by_name(ages), ("process",))
    ours = {name: bytes_ for name, bytes_ in memory.items() if not name.startswith("chromium-")}
    yield _gauge("process_memory_bytes", "Resident memory of a process.", _by_name(ours), ("process",))
    yield _gauge("chromium_memory_bytes", "Memory of all processes of a session's Chromium.", _by_name(chromium), ("session",))


def _by_name(values: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    return {(name,): value for name, value in values.items()}
