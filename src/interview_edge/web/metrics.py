"""`/metrics` for Prometheus: read from the parts' own figures when it is asked for; nothing is counted
twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from interview_edge.archive.retention import RemovalCounts
from interview_edge.web.context import WebContext
from interview_edge.web.health import Figures, measure_now
from interview_edge.web.traffic import BOUNDS, Traffic

CONTENT_TYPE = CONTENT_TYPE_LATEST
PREFIX = "interview_edge"


class NodeCollector(Collector):
    """One node's metrics. In a registry of its own, since several nodes may live in one process."""

    def __init__(self, context: WebContext, traffic: Traffic) -> None:
        self._context = context
        self._traffic = traffic

    def describe(self) -> Iterable[Metric]:
        """Nothing: else the registry would collect at once, before the parts run."""
        return ()

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            f"{PREFIX}_http_requests",
            "Answers by route, method and status",
            labels=["route", "method", "status"],
        )
        for route, method, status, many in self._traffic:
            requests.add_metric([route, method, str(status)], many)
        yield requests
        yield from self._of_traffic()
        figures = measure_now(self._context, catalog_ok=True)
        for name, text, value in _gauges(figures):
            yield GaugeMetricFamily(f"{PREFIX}_{name}", text, value=value)
        yield CounterMetricFamily(
            f"{PREFIX}_evicted_windows",
            "Windows given back because the node was short of memory",
            value=figures.evicted_windows,
        )
        yield from _of_removals(figures.retention.counts)
        yield self._held()

    def _of_traffic(self) -> Iterator[Metric]:
        times = HistogramMetricFamily(
            f"{PREFIX}_http_request_seconds", "From the request to the end of its answer", labels=["route"]
        )
        for route, durations in self._traffic.durations.items():
            below = accumulate(durations.counts)
            names = (*(str(bound) for bound in BOUNDS), "+Inf")
            times.add_metric([route], list(zip(names, below, strict=True)), durations.total)
        yield times
        refused = CounterMetricFamily(
            f"{PREFIX}_refused",
            "Requests and sockets refused for what they showed, or how often",
            labels=["code"],
        )
        for code, many in self._traffic.refusals.items():
            refused.add_metric([code], many)
        yield refused
        calls = CounterMetricFamily(
            f"{PREFIX}_provider_calls", "Exchanges with the realtime provider", labels=["outcome"]
        )
        for outcome, many in self._context.realtime.outcomes.items():
            calls.add_metric([outcome], many)
        yield calls

    def _held(self) -> Metric:
        """Chunks of the sessions open now: a gauge, since a session takes its counts with it when it
        closes.
        """
        held = missing = repeats = 0
        for session in self._context.registry:
            for stream in session.streams.values():
                held += len(stream.ledger.held)
                missing += stream.ledger.missing_count
                repeats += stream.ledger.duplicates
        family = GaugeMetricFamily(
            f"{PREFIX}_open_session_chunks", "Chunks of open sessions", labels=["status"]
        )
        for status, count in (("stored", held), ("duplicate", repeats), ("missing", missing)):
            family.add_metric([status], count)
        return family


def _of_removals(counts: RemovalCounts) -> Iterator[Metric]:
    for name, text, amount in (
        ("deleted_files", "Objects of audio deleted, by age and by hand", counts.files),
        ("deleted_bytes", "Bytes of these objects", counts.freed_bytes),
        ("failed_deletions", "Tries to delete one that failed", counts.failed),
    ):
        yield CounterMetricFamily(f"{PREFIX}_{name}", text, value=amount)


def _gauges(figures: Figures) -> Iterator[tuple[str, str, float]]:
    journal, uploads = figures.journal, figures.uploads
    yield "sessions", "Sessions open on this node", figures.sessions
    yield "sockets", "Audio sockets open on this node", figures.sockets
    yield "window_bytes", "Bytes that the live windows hold", figures.window_bytes
    yield "resident_memory_bytes", "The process's resident set", figures.rss_bytes
    yield "memory_budget_bytes", "What the node may use", figures.budget_bytes
    yield "unjournalled_chunks", "Chunks of open sessions that no journal holds", figures.unjournalled
    yield "vad_failures", "Faults of voice detection in open sessions", figures.vad_failures
    yield (
        "vad_behind_seconds",
        "Audio that voice detection hasn't heard yet, of the stream furthest behind",
        (figures.vad_behind_seconds),
    )
    yield "journal_rows", "Chunks in the journal", journal.rows
    yield "journal_audio_bytes", "Audio in the journal", journal.bytes
    yield "journal_used_bytes", "The journal's file", journal.used_bytes
    yield "journal_queued_entries", "Chunks that wait for their commit", journal.queued_entries
    yield "journal_stalled", "1 while commits fail", journal.stalled is not None
    yield "backlog_chunks", "Chunks that wait for the object store", uploads.chunks_waiting
    yield "backlog_oldest_seconds", "Age of the oldest of them", (uploads.oldest_unstored_ms or 0) / 1000
    yield "recent_uploads_ok", "Confirmed among the last 1,000 uploads", uploads.uploads_ok
    yield "recent_uploads_failed", "Failed among the last 1,000 uploads", uploads.uploads_failed
    yield "retrying_streams", "Streams that wait to retry an upload", uploads.retrying
    if uploads.mean_upload_ms is not None and uploads.p99_upload_ms is not None:
        yield "upload_mean_seconds", "Mean of the last 1,000 uploads", uploads.mean_upload_ms / 1000
        yield "upload_p99_seconds", "99th percentile of the last 1,000 uploads", uploads.p99_upload_ms / 1000


def open_metrics(context: WebContext, traffic: Traffic) -> CollectorRegistry:
    """The node's registry."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(context, traffic))
    return registry


def render(registry: CollectorRegistry) -> bytes:
    """The text format, as CONTENT_TYPE names it."""
    return generate_latest(registry)
