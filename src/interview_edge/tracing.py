"""OpenTelemetry, where the extra `otel` is installed and the standard OTEL_* variables ask for it: a span a
request and a socket, none a chunk. Without it nothing is imported and nothing is done.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Protocol

import structlog
import trio

from interview_edge.settings import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Span as OtelApiSpan

log = structlog.get_logger(__name__)

SERVICE = "interview-edge"
FLUSH_TIMEOUT = 5.0  # seconds, at the end
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
_CARRIED = (b"traceparent", b"tracestate")

Headers = Iterable[tuple[bytes, bytes]]


class Span(Protocol):
    """One span under way."""

    def name(self, name: str) -> None:
        """What it is, once that is known."""
        ...

    def note(self, attributes: Mapping[str, str | int]) -> None:
        """Add to what it tells. Never a secret: spans leave the machine."""
        ...

    def fail(self) -> None:
        """What it stands for went wrong by our fault."""
        ...


class Tracing(Protocol):
    """Makes spans."""

    def span(self, name: str, headers: Headers) -> AbstractContextManager[Span]:
        """A span for the block, under the caller's where the request's headers have a `traceparent`."""
        ...

    def outgoing(self) -> Mapping[str, str]:
        """Headers that tell an upstream under which span it is asked; lower-case names."""
        ...


class _NoSpan:
    def name(self, name: str) -> None:
        pass

    def note(self, attributes: Mapping[str, str | int]) -> None:
        pass

    def fail(self) -> None:
        pass

    def __enter__(self) -> Span:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class NoTracing:
    """`Tracing` that does nothing."""

    _span = _NoSpan()

    def span(self, name: str, headers: Headers) -> AbstractContextManager[Span]:
        return self._span

    def outgoing(self) -> Mapping[str, str]:
        return {}


class OtelTracing:
    """`Tracing` by a provider of our own: several nodes may live in one process, and its global is somebody
    else's.
    """

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = provider.get_tracer(SERVICE)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def span(self, name: str, headers: Headers) -> Iterator[Span]:
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind

        carrier = {
            key.lower().decode(): value.decode("latin-1") for key, value in headers if key.lower() in _CARRIED
        }
        # An empty context, not the task's: a server's tasks know nothing of who asks.
        parent = self._propagator.extract(carrier, Context())
        with self._tracer.start_as_current_span(
            name,
            parent,
            kind=SpanKind.SERVER,
            record_exception=False,  # its text could hold anything
            set_status_on_exception=False,
        ) as span:
            yield _OtelSpan(span)

    def outgoing(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        self._propagator.inject(found)
        return found


class _OtelSpan:
    def __init__(self, span: OtelApiSpan) -> None:
        self._span = span

    def name(self, name: str) -> None:
        self._span.update_name(name)

    def note(self, attributes: Mapping[str, str | int]) -> None:
        self._span.set_attributes(attributes)

    def fail(self) -> None:
        from opentelemetry.trace import StatusCode

        self._span.set_status(StatusCode.ERROR)


@asynccontextmanager
async def open_tracing(version: str, environ: Mapping[str, str] = os.environ) -> AsyncIterator[Tracing]:
    """What the environment asks for; flushed at the end, within FLUSH_TIMEOUT. Raises SettingsError."""
    if not is_wanted(environ):
        yield NoTracing()
        return
    if importlib.util.find_spec("opentelemetry") is None or _exporter_missing():
        log.warning("OTEL_* variables are set, but the extra `otel` is not installed: there are no traces")
        yield NoTracing()
        return
    provider = make_provider(version, _make_processor(environ))
    try:
        yield OtelTracing(provider)
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + FLUSH_TIMEOUT):
            # It exports what waits, and may hang with the receiver.
            await trio.to_thread.run_sync(provider.shutdown, abandon_on_cancel=True)


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether the standard variables ask for traces."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if exporter:
        return exporter != "none"
    return any(environ.get(name) for name in ENDPOINTS)


def _exporter_missing() -> bool:
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is None
    except ModuleNotFoundError:
        return True


def make_provider(version: str, processor: SpanProcessor) -> TracerProvider:
    """A provider with the resource and sampler of OTEL_*; the service's name is ours where they give none."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    resource = Resource.create({"service.version": version})
    if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": SERVICE}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return provider


def _make_processor(environ: Mapping[str, str]) -> SpanProcessor:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor

    match environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp":
        case "console":
            return SimpleSpanProcessor(ConsoleSpanExporter())
        case "otlp":
            for name in PROTOCOLS:
                if environ.get(name, "http/protobuf") != "http/protobuf":
                    raise SettingsError(f"{name} must be http/protobuf")
            return BatchSpanProcessor(OTLPSpanExporter())
        case _:
            raise SettingsError("OTEL_TRACES_EXPORTER must be otlp, console or none")
