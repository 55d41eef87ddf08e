"""The seam between a socket and the dialect: whole messages in, whole messages out, close.

Narrow on purpose, so that a faster source of frames can stand here without the dialect's handler knowing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from interview_edge.access.credentials import offered_protocols
from interview_edge.web.hypercorn.extension import EXTENSION, Frames, PeerGoneError

SUBPROTOCOL = "ie.v1"

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class Message(NamedTuple):
    """One WebSocket message; `data` of a text one is its UTF-8."""

    text: bool
    data: bytes


class Peer(Protocol):
    """One accepted WebSocket."""

    async def receive(self) -> Sequence[Message | tuple[bool, bytes]]:
        """The messages that have come, at least one, in order; none once the peer is gone.

        Reading less often than the peer sends pushes back on it.
        """
        ...

    async def send(self, texts: Sequence[bytes]) -> None:
        """Send text messages (UTF-8 each). A peer that is gone is not an error."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close with this code and reason (at most 123 bytes of UTF-8)."""
        ...


class AsgiPeer:
    """A WebSocket over plain ASGI: works under any server, one message a call."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    async def receive_first(self) -> tuple[bool, bytes] | None:
        """The first message alone, as (text, data), whatever came with it; None once the peer is gone."""
        messages = await self.receive()
        return messages[0] if messages else None

    async def receive(self) -> Sequence[Message]:
        event = await self._receive()
        if event["type"] != "websocket.receive":
            return ()
        text = event.get("text")
        if text is not None:
            return (Message(True, text.encode()),)
        return (Message(False, event.get("bytes") or b""),)

    async def send(self, texts: Sequence[bytes]) -> None:
        for text in texts:
            await self._send({"type": "websocket.send", "text": text.decode()})

    async def close(self, code: int, reason: str) -> None:
        await self._send({"type": "websocket.close", "code": code, "reason": reason})


class FramesPeer(AsgiPeer):
    """A WebSocket of our own server: whole frames in batches, acks of a batch in one socket write."""

    def __init__(self, frames: Frames, receive: Receive, send: Send) -> None:
        super().__init__(receive, send)
        self._frames = frames
        self._kept: Sequence[Any] = ()

    async def receive_first(self) -> tuple[bool, bytes] | None:
        messages = await self.receive()
        self._kept = messages[1:]
        return messages[0] if messages else None

    async def receive(self) -> Sequence[Any]:
        if self._kept:
            kept, self._kept = self._kept, ()
            return kept
        try:
            return await self._frames.receive_frames()
        except PeerGoneError:
            return ()

    async def send(self, texts: Sequence[bytes]) -> None:
        await self._frames.send_text(texts)


async def accept(scope: Scope, receive: Receive, send: Send) -> AsgiPeer:
    """Accept the WebSocket of an ASGI scope, by the fastest way that its server offers.

    Where the client offers our subprotocol, that one is chosen: a browser that shows a ticket among its
    offers takes an answer that chooses none for a failure, and the ticket itself is not for an answer.
    """
    await receive()  # websocket.connect
    headers = [(name.lower(), value.decode("latin-1")) for name, value in scope["headers"]]
    chosen = SUBPROTOCOL if SUBPROTOCOL in offered_protocols(headers) else None
    await send({"type": "websocket.accept", "subprotocol": chosen})
    frames = scope.get("extensions", {}).get(EXTENSION)
    return AsgiPeer(receive, send) if frames is None else FramesPeer(frames, receive, send)
