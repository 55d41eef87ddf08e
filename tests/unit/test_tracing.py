"""When there are traces, and what they do to a node's end."""

from __future__ import annotations

import threading

import h11
import pytest
import trio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from interview_edge import tracing as module
from interview_edge.settings import SettingsError
from interview_edge.tracing import NoTracing, is_wanted, open_tracing


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, False),
        ({"OTEL_SERVICE_NAME": "edge"}, False),
    ],
)
def test_the_standard_variables_decide(environ: dict[str, str], wanted: bool) -> None:
    assert is_wanted(environ) is wanted


@pytest.mark.parametrize(
    "environ",
    [{"OTEL_TRACES_EXPORTER": "zipkin"}, {"OTEL_TRACES_EXPORTER": "otlp", module.PROTOCOLS[0]: "grpc"}],
)
async def test_what_we_can_t_do_is_refused_by_name(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="must be"):
        async with open_tracing("1", environ):
            pass


async def test_without_the_extra_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    async with open_tracing("1", {"OTEL_TRACES_EXPORTER": "otlp"}) as tracing:
        assert isinstance(tracing, NoTracing)


class Receiver:
    """An OTLP receiver over HTTP: takes spans, or where `silent` nothing at all."""

    def __init__(self, *, silent: bool = False) -> None:
        self.silent = silent
        self.requests: list[tuple[str, dict[str, str], ExportTraceServiceRequest]] = []
        self.came = trio.Event()
        self.url = ""

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        task_status.started()
        await trio.serve_listeners(self._handle, listeners)

    async def _handle(self, stream: trio.SocketStream) -> None:
        connection, body = h11.Connection(h11.SERVER), bytearray()
        self.came.set()
        if self.silent:
            await trio.sleep_forever()
        head: h11.Request | None = None
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            match event:
                case h11.Request():
                    head = event
                case h11.Data():
                    body += event.data
                case h11.NEED_DATA:
                    connection.receive_data(await stream.receive_some())
        assert head is not None
        headers = {name.decode(): value.decode() for name, value in head.headers}
        if headers.get("content-encoding") == "gzip":
            raise AssertionError("compression wasn't asked for")
        request = ExportTraceServiceRequest.FromString(bytes(body))
        self.requests.append((head.target.decode(), headers, request))
        answer = [
            ("content-type", "application/x-protobuf"),
            ("content-length", "0"),
            ("connection", "close"),
        ]
        for part in (h11.Response(status_code=200, headers=answer), h11.EndOfMessage()):
            await stream.send_all(connection.send(part) or b"")
        await stream.aclose()


async def test_spans_reach_a_receiver_by_the_end(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = Receiver()
    await nursery.start(receiver.serve)
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_EXPORTER_OTLP_HEADERS": "x-team=edge"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)  # the SDK reads its own
    async with open_tracing("1.2") as tracing:
        with tracing.span("http", [(b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")]) as span:
            span.name("GET /x")
            span.note({"http.route": "/x"})
    ((target, headers, request),) = receiver.requests
    assert (target, headers["x-team"]) == ("/v1/traces", "edge")
    (spans,) = request.resource_spans
    resource = {pair.key: pair.value.string_value for pair in spans.resource.attributes}
    assert (resource["service.name"], resource["service.version"]) == ("interview-edge", "1.2")
    (sent,) = spans.scope_spans[0].spans
    assert (sent.name, sent.trace_id.hex(), sent.parent_span_id.hex()) == ("GET /x", "a" * 32, "b" * 16)


async def test_a_receiver_that_hangs_doesn_t_hold_up_the_end(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLUSH_TIMEOUT", 0.01)
    receiver = Receiver(silent=True)
    await nursery.start(receiver.serve)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")  # seconds: ends the thread that is left behind
    with trio.fail_after(10):
        async with open_tracing("1") as tracing:
            with tracing.span("http", []):
                pass
    # What is left behind logs and draws random numbers, which other tests would take for their own.
    for thread in threading.enumerate():
        if thread.name.startswith("OtelBatch"):
            await trio.to_thread.run_sync(thread.join, 10.0)
            assert not thread.is_alive()
    nursery.cancel_scope.cancel()
