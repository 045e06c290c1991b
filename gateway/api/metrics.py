"""/metrics: counter rows and beats, read at each scrape. A scrape costs the same with ten messages and ten million."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from gateway import __version__
from gateway.api.answers import ProcessOut
from gateway.api.context import context_of, wall
from gateway.api.evidence import processes, why_unhealthy
from gateway.api.operations import Operations
from gateway.message import State
from gateway.settings import Settings
from gateway.store import counters, outbox, sessions
from gateway.store.counters import Counter, Histogram
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
    oldest: dict[str, float | None]


def _read(conn: sqlite3.Connection) -> _Snapshot:
    rows = sessions.all_(conn)
    found, histograms = counters.read(conn)
    oldest = {row.name: outbox.queue_status(conn, now=wall(), session=row.name).oldest_age for row in rows}
    return _Snapshot(rows, found, histograms, oldest)


@operations.get("/metrics", answers={200: ("text/plain", "application/openmetrics-text")})
async def metrics(request: web.Request) -> web.Response:
    """Metrics for Prometheus

    The Accept header chooses between Prometheus' text format and OpenMetrics. GATEWAY_METRICS_KEY opens only this.
    """
    context = context_of(request)
    snapshot = await context.read(_read)
    families = list(_families(snapshot, context.settings))
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


def _families(s: _Snapshot, settings: Settings) -> Iterator[Metric]:
    for name, (labels, text) in COUNTERS.items():
        family = CounterMetricFamily(PREFIX + name, text, labels=labels)
        for row in s.counters:
            if row.name == name:
                family.add_metric([row.labels.get(label, "") for label in labels], row.value)
        yield family
    for name, (labels, text) in HISTOGRAMS.items():
        histogram = HistogramMetricFamily(PREFIX + name, text, labels=labels)
        for found in s.histograms:
            if found.name == name:
                buckets = [("+Inf" if bound == float("inf") else str(float(bound)), count) for bound, count in found.buckets]
                histogram.add_metric([found.labels.get(label, "") for label in labels], buckets, found.sum)
        yield histogram
    yield from _of_sessions(s, settings)
    yield from _of_processes(processes(settings, [row.name for row in s.sessions]))
    info = GaugeMetricFamily(PREFIX + "build_info", "The version that runs; always 1.", labels=("version",))
    info.add_metric((__version__,), 1)
    yield info


def _of_sessions(s: _Snapshot, settings: Settings) -> Iterator[Metric]:
    standing = {(row.labels["session"], row.labels["state"]): row.value for row in s.counters if row.name == "messages"}
    length = GaugeMetricFamily(PREFIX + "queue_length", "Messages that wait: back-off, scheduled and held included.", labels=("session",))
    unconfirmed = GaugeMetricFamily(PREFIX + "unconfirmed", "Messages handed over without proof of either outcome.", labels=("session",))
    oldest = GaugeMetricFamily(
        PREFIX + "queue_oldest_seconds", "Seconds that the oldest message waits; 0 if none does.", labels=("session",)
    )
    healthy = GaugeMetricFamily(PREFIX + "session_healthy", "1 if the session is healthy by evidence at most 5 s old.", labels=("session",))
    for row in s.sessions:
        label = (row.name,)
        length.add_metric(label, standing.get((row.name, State.QUEUED.word), 0))
        unconfirmed.add_metric(label, standing.get((row.name, State.UNCONFIRMED.word), 0))
        oldest.add_metric(label, s.oldest[row.name] or 0)
        healthy.add_metric(label, 0 if why_unhealthy(row, settings) else 1)
    yield from (length, oldest, unconfirmed, healthy)


def _of_processes(found: list[ProcessOut]) -> Iterator[Metric]:
    age = GaugeMetricFamily(PREFIX + "heartbeat_age_seconds", "Seconds since a process's last sign of life.", labels=("process",))
    memory = GaugeMetricFamily(PREFIX + "process_memory_bytes", "Resident memory of a process.", labels=("process",))
    chromium = GaugeMetricFamily(PREFIX + "chromium_memory_bytes", "Memory of all processes of a session's Chromium.", labels=("session",))
    for process in found:
        if process.beat_age_seconds is not None:
            age.add_metric((process.name,), process.beat_age_seconds)
        if process.memory_bytes is None:
            continue
        if process.name.startswith("chromium-"):
            chromium.add_metric((process.name.removeprefix("chromium-"),), process.memory_bytes)
        else:
            memory.add_metric((process.name,), process.memory_bytes)
    yield from (age, memory, chromium)
