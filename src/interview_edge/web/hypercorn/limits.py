"""The limits of one server: what a peer may make us hold, and for how long."""

from __future__ import annotations

from collections.abc import Callable

import attrs


def _nobody(_: str) -> None:
    return None


@attrs.frozen(kw_only=True)
class ServerLimits:
    """Limits of one `serve` call. Durations are seconds, sizes bytes; the defaults are the contract's."""

    max_frame_bytes: int = 256 * 1024
    """The longest WebSocket message, fragments summed. Over it: close 1009, the connection dropped."""

    inbox_bytes: int = 256 * 1024
    """What one connection may hold that its handler has not taken yet; one message more may stand above
    it."""

    send_timeout: float = 10.0
    """A peer that takes no 64 KiB within this is dropped."""

    ping_interval: float = 20.0
    """A WebSocket peer is pinged after this long without a frame from it."""

    silent_peer_timeout: float = 60.0
    """A WebSocket peer is dropped after this long without a whole frame from it, pongs included."""

    header_timeout: float = 10.0
    """From the accepted connection to the end of its first request's headers."""

    keep_alive: float = 75.0
    """From one answer to the end of the next request's headers. nginx keeps its upstream idle for 60."""

    linger: float = 1.0
    """How long a closed connection's remaining input is read and thrown away, so that the peer sees our last
    bytes: closing a socket with unread input resets it, and the reset overtakes the answer."""

    max_header_bytes: int = 16 * 1024
    max_connections: int = 4096
    """Over it, a connection is answered 503 and closed."""

    max_connections_of_client: int = 2000
    """Over it, likewise."""

    client_of: Callable[[str], str | None] = _nobody
    """What a peer's address is counted as; None for one that may have all connections."""

    backlog: int = 1024
    graceful_timeout: float = 10.0
    """From the shutdown trigger to every connection gone; what is open then is reset."""
