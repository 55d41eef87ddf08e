"""A node with its server: on a port, and until a signal comes."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from ipaddress import ip_network
from typing import Any

import attrs
import structlog
import trio

from interview_edge.access.exposure import MAKE_A_KEY, refuse_exposure
from interview_edge.app import SOCKETS_SHARE, Edge, bare_errors, open_edge
from interview_edge.settings import Settings
from interview_edge.web.client_address import counted_peer
from interview_edge.web.freed_memory import give_back_freed_memory
from interview_edge.web.full_collections import rare_full_collections
from interview_edge.web.hypercorn import ServerLimits, serve

log = structlog.get_logger(__name__)


@attrs.frozen
class Server:
    """A node that is being served. `url` is the address it listens on."""

    edge: Edge
    urls: Sequence[str]

    @property
    def url(self) -> str:
        return self.urls[0]


@asynccontextmanager
async def open_server(settings: Settings, **parts: Any) -> AsyncIterator[Server]:
    """`open_edge`, served on `settings.host` and `settings.port` (0: any free one). Leaving the block
    drains. Raises SettingsError for a host that others reach, while nobody has to show a key.
    """
    with bare_errors():
        async with open_edge(settings, **parts) as edge, trio.open_nursery() as nursery:
            _check_exposure(edge)
            stop = trio.Event()
            nursery.start_soon(give_back_freed_memory, stop, edge.registry)
            urls = await nursery.start(
                partial(
                    serve,
                    edge.asgi_app,
                    host=settings.host,
                    port=settings.port,
                    limits=_limits(settings),
                    shutdown_trigger=stop.wait,
                )
            )
            try:
                yield Server(edge, urls)
            finally:
                time_left = settings.drain_timeout * SOCKETS_SHARE
                with trio.CancelScope(shield=True, deadline=trio.current_time() + time_left):
                    await edge.drain(time_left)
                stop.set()


def _check_exposure(edge: Edge) -> None:
    """Keys are in the catalog, so that this can be said only now. A key is never forgotten: a node that was
    let out stays guarded.
    """
    guarded = edge.access.authenticator.guarded
    refuse_exposure(edge.settings, guarded=guarded)
    if edge.settings.insecure:
        log.warning("insecure is set: whoever reaches the port may do everything", host=edge.settings.host)
    elif not guarded:
        log.info("there is no API key yet: only clients of this machine are served", make_one=MAKE_A_KEY)


def _limits(settings: Settings) -> ServerLimits:
    return ServerLimits(
        max_frame_bytes=settings.max_frame_bytes,
        send_timeout=settings.send_timeout,
        ping_interval=settings.silent_peer_timeout / 3,
        silent_peer_timeout=settings.silent_peer_timeout,
        max_connections=settings.max_connections,
        max_connections_of_client=settings.max_connections_per_ip,
        client_of=partial(counted_peer, trusted=[ip_network(text) for text in settings.trusted_proxies]),
        backlog=settings.backlog,
        graceful_timeout=settings.drain_timeout * SOCKETS_SHARE,
    )


async def run_server(settings: Settings, *, on_started: Callable[[Sequence[str]], None]) -> None:
    """Serve until SIGTERM or SIGINT, then drain: clients are told where to resume, every accepted chunk is
    accounted for within `drain_timeout` (invariant 9). A second signal ends it at once.
    """
    with _handlers_restored(signal.SIGTERM, signal.SIGINT), ExitStack() as receiving:
        signals = receiving.enter_context(trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT))
        async with open_server(settings) as server:
            receiving.enter_context(rare_full_collections())
            on_started(server.urls)
            async for number in signals:
                log.info("draining", signal=signal.Signals(number).name)
                break
            receiving.close()
            # From here on a signal does what it does to any process: what was acked is in the journal.
            for each in (signal.SIGTERM, signal.SIGINT):
                signal.signal(each, signal.SIG_DFL)


@contextmanager
def _handlers_restored(*numbers: signal.Signals) -> Iterator[None]:
    """After the block these signals are handled as before it."""
    before = [(number, signal.getsignal(number)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
