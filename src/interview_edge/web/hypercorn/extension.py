"""A private ASGI extension: WebSocket frames as they are, several at a time.

`scope["extensions"][EXTENSION]` is a `Frames`. Beside plain `receive` and `send` it spares the decoding of
text that a JSON parser would only encode again, and a socket write for each ack. A handler may mix both
ways; one that doesn't know the extension sees plain ASGI.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from .frames import Frame

EXTENSION = "interview_edge.frames"


class PeerGoneError(Exception):
    """The peer closed or was dropped. `code` is its close code, 1005 for none given, 1006 for no close at
    all."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"the peer is gone (close code {code})")


class Frames(Protocol):
    """One accepted WebSocket, as frames."""

    async def receive_frames(self) -> list[Frame]:
        """Every message that has come, at least one, in order; text as UTF-8 bytes, checked.

        Call it after `websocket.connect` was received and the socket accepted. Cancellation loses nothing.
        Raises PeerGoneError once everything that came before the end was taken.
        """

    async def send_text(self, payloads: Iterable[bytes]) -> None:
        """Send each of `payloads` (UTF-8) as a text message, all in one socket write.

        Bounded by the send timeout and not torn by cancellation; silently nothing once the peer is gone or
        the socket closed, as with ASGI's `send`.
        """
