"""For tests: clients that speak the browser dialect to a node without a network, and scribes that listen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from interview_edge.access.principal import EVERYBODY, Principal
from interview_edge.app import Edge
from interview_edge.core.declared_utterances import Mark, VadState
from interview_edge.core.models import Event
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.speech.transcriber import Transcript
from interview_edge.web.browser_socket import BrowserSocket
from interview_edge.web.peers import Message
from interview_edge.web.transcripts import Scribe, Utterance
from interview_edge.wire import browser_dialect
from nodes import ChannelPeer


class BrowserClient(ChannelPeer):
    """The client's side of one socket, and its peer: as our server does, it gives what has come in one go."""

    async def receive(self) -> Sequence[Message]:
        messages = list(await super().receive())
        while messages:
            try:
                messages.append(self._inbox.receive_nowait())
            except (trio.WouldBlock, trio.EndOfChannel):
                break
        return messages

    async def start(self, session_id: str | None = None) -> str:
        """Begin a recording; its session's id."""
        await self.send_json(type="audio_stream_start", session_id=session_id)
        ack = await self.answer()
        assert ack["type"] == "audio_stream_start_ack", ack
        session: str = ack["session_id"]
        return session

    async def audio(
        self, pcm: bytes = b"", state: VadState | None = None, offset_ms: int | None = None, **more: Any
    ) -> None:
        mark = None if state is None else Mark(state, offset_ms)
        await self.send_text(browser_dialect.encode_audio(pcm, mark, **more))

    async def record(self, pcm: bytes, piece: int = CHUNK_BYTES) -> None:
        """Send audio in pieces of so many bytes."""
        for at in range(0, len(pcm), piece):
            await self.audio(pcm[at : at + piece])

    async def end(self) -> list[dict[str, Any]]:
        """End the recording; all that was said until that was acked, the ack the last."""
        await self.send_json(type="audio_stream_end")
        said = [await self.answer()]
        while said[-1]["type"] not in ("audio_stream_end_ack", "error"):
            said.append(await self.answer())
        return said

    async def ping(self) -> list[dict[str, Any]]:
        """All that was said until the pong."""
        await self.send_json(type="ping")
        said = [await self.answer()]
        while said[-1]["type"] != "pong":
            said.append(await self.answer())
        return said[:-1]


@attrs.define
class ListeningScribe:
    """A scribe that keeps what it is asked for, and has done it when the test says so."""

    asked: list[tuple[str, str]] = attrs.Factory(list)
    utterances: list[Utterance] = attrs.Factory(list)
    may_settle: trio.Event = attrs.Factory(trio.Event)

    def prefetch(self, utterance: Utterance) -> None:
        self._ask("prefetch", utterance)

    def drop(self, utterance_id: str) -> None:
        self.asked.append(("drop", utterance_id))

    def finish(self, utterance: Utterance, *, reuse: bool) -> None:
        self._ask("reuse" if reuse else "finish", utterance)

    def _ask(self, what: str, utterance: Utterance) -> None:
        self.asked.append((what, utterance.utterance_id))
        self.utterances.append(utterance)

    def partial(self, utterance: Utterance, found: Transcript) -> None:
        """Not looked at."""

    def tell(self, events: Sequence[Event]) -> None:
        """The tests look at the events themselves."""

    async def settled(self) -> None:
        await self.may_settle.wait()


async def everybody_may(_session_id: str) -> None:
    """For sockets whose admission is no part of the test."""


@asynccontextmanager
async def recording(
    edge: Edge,
    *,
    principal: Principal = EVERYBODY,
    make_scribe: Callable[..., Scribe] | None = None,
) -> AsyncIterator[BrowserClient]:
    """One admitted socket, greeted; the client hangs up at the end."""
    peer = BrowserClient()
    socket = BrowserSocket(peer, edge.registry, edge.parts, principal, everybody_may, make_scribe)

    async def serve() -> None:
        with edge.sockets.hold(socket):
            await socket.run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        greeting = await peer.answer()
        assert (greeting["type"], greeting["userId"]) == ("auth_success", principal.user)
        yield peer
        peer.hang_up()
