"""The speaker inference API, served: our own, for nodes and for whoever else speaks it (contract
inference.md).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from ipaddress import ip_network

import trio

from interview_edge.access.exposure import is_loopback_name
from interview_edge.settings import Settings, SettingsError
from interview_edge.speech.speaker_providers import open_speaker_work
from interview_edge.web.client_address import counted_peer
from interview_edge.web.hypercorn import ServerLimits, serve
from interview_edge.web.inference_app import InferenceAsgi, InferenceRules

APP = "interview-edge inference"
DEFAULT_PORT = 8090
WAITING = 16  # requests, beside those that are worked on
GRACEFUL_TIMEOUT = 5.0  # seconds: what is being answered is answered, in half a second


@asynccontextmanager
async def open_inference_server(
    settings: Settings, *, host: str = "127.0.0.1", port: int = DEFAULT_PORT
) -> AsyncIterator[Sequence[str]]:
    """Serve on `host` and `port` (0: any free one) for the block; gives the URLs. The model is loaded first.

    Raises SettingsError for a host that others reach where no key is set, ModelError, OSError.
    """
    refuse_open_host(settings, host)
    work = open_speaker_work(settings, waiting=WAITING)
    operations = await work.load()
    about = {
        "app": APP,
        "version": version("interview-edge"),
        "model_id": operations.embedder.model_id,
        "model_revision": operations.embedder.model_revision,
    }
    trusted = [ip_network(text) for text in settings.trusted_proxies]
    app = InferenceAsgi(
        work, InferenceRules(api_key=settings.inference_api_key, trusted_proxies=trusted), about
    )
    limits = ServerLimits(
        max_connections=settings.max_connections,
        max_connections_of_client=settings.max_connections_per_ip,
        client_of=partial(counted_peer, trusted=trusted),
        send_timeout=settings.send_timeout,
        backlog=settings.backlog,
        graceful_timeout=GRACEFUL_TIMEOUT,
    )
    try:
        async with trio.open_nursery() as nursery:
            stop = trio.Event()
            urls = await nursery.start(
                partial(serve, app, host=host, port=port, limits=limits, shutdown_trigger=stop.wait)
            )
            try:
                yield urls
            finally:
                stop.set()
    finally:
        await work.aclose()


def refuse_open_host(settings: Settings, host: str) -> None:
    """Voices are as personal as interviews: without a key only this machine is served."""
    if settings.inference_api_key is None and not settings.insecure and not is_loopback_name(host):
        raise SettingsError(
            f"--host {host!r} is refused: set INFERENCE_API_KEY (or EDGE_INFERENCE_API_KEY_FILE), else "
            "whoever reaches the port could use it. Without a key only 127.0.0.1 and ::1 are served."
        )
