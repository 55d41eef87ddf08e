"""For tests: a node of real parts, and clients that speak the chunk dialect to it without a network."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from interview_edge.app import Edge, open_edge
from interview_edge.core.models import StreamKey
from interview_edge.settings import Settings
from interview_edge.web.audio_socket import AudioSocket
from interview_edge.web.peers import Message
from interview_edge.wire import chunk_dialect
from interview_edge.wire.frames import ChunkFrame

PATIENCE = 10.0  # seconds: a test that would wait longer fails


def second(seq: int) -> bytes:
    """A second of audio that no other seq has."""
    return seq.to_bytes(4, "little") * 8_000


class ChannelPeer:
    """The `Peer` seam over memory channels: what the socket is sent and what it answers."""

    def __init__(self) -> None:
        self._to_socket, self._inbox = trio.open_memory_channel[Message](64)
        self._outbox, self._from_socket = trio.open_memory_channel[dict[str, Any]](4096)
        self.closed: tuple[int, str] | None = None
        self.reads = trio.Event()  # cleared by a test that wants a peer that reads nothing
        self.reads.set()

    # -- the socket's side

    async def receive(self) -> Sequence[Message]:
        try:
            return [await self._inbox.receive()]
        except trio.EndOfChannel:
            return ()

    async def send(self, texts: Sequence[bytes]) -> None:
        await self.reads.wait()
        for text in texts:
            await self._outbox.send(json.loads(text))

    async def close(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.closed = (code, reason)
            self._outbox.close()

    # -- the client's side

    async def send_json(self, **frame: Any) -> None:
        await self._to_socket.send(Message(True, json.dumps(frame).encode()))

    async def send_text(self, text: bytes) -> None:
        await self._to_socket.send(Message(True, text))

    async def send_chunk(
        self, seq: int, pcm: bytes | None = None, *, final: bool = False, at: int = 1_000
    ) -> None:
        frame = ChunkFrame(seq, at, final, second(seq) if pcm is None else pcm)
        await self._to_socket.send(Message(False, chunk_dialect.encode_chunk_binary(frame)))

    async def answer(self) -> dict[str, Any]:
        with trio.fail_after(PATIENCE):
            return await self._from_socket.receive()

    async def answers(self, count: int) -> list[dict[str, Any]]:
        return [await self.answer() for _ in range(count)]

    async def hello(self, **more: Any) -> dict[str, Any]:
        await self.send_json(type="hello", **more)
        return await self.answer()

    async def status(self) -> dict[str, Any]:
        await self.send_json(type="status")
        return await self.answer()

    async def closed_with(self) -> tuple[int, str]:
        """The close's code and reason, after whatever came before it."""
        with trio.fail_after(PATIENCE):
            async for _ in self._from_socket:
                pass
        assert self.closed is not None
        return self.closed

    def hang_up(self) -> None:
        self._to_socket.close()


@asynccontextmanager
async def connect(edge: Edge, session_id: str, stream: str = "mixed") -> AsyncIterator[ChannelPeer]:
    """One audio socket of a stream; the client hangs up at the end."""
    peer = ChannelPeer()
    socket = AudioSocket(peer, StreamKey(session_id, stream), edge.registry, edge.parts)

    async def serve() -> None:
        with edge.sockets.hold(socket):
            await socket.run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield peer
        peer.hang_up()


class Gate:
    """A call that is carried out, and whose caller hears of it only when the test lets it."""

    def __init__(self, target: object, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go_on = trio.Event(), trio.Event()
        self._call: Callable[..., Any] = getattr(target, name)
        monkeypatch.setattr(target, name, self._held)

    async def _held(self, *args: Any, **more: Any) -> Any:
        answer = await self._call(*args, **more)
        self.reached.set()
        await self.go_on.wait()
        return answer


OpenNode = Callable[..., AbstractAsyncContextManager[Edge]]


def nodes_in(folder: Path) -> OpenNode:
    """`async with nodes_in(folder)(**settings) as edge`: a node; opened again on the folder, a restart."""

    @asynccontextmanager
    async def open_node(**changes: Any) -> AsyncIterator[Edge]:
        given = ("backend", "inference", "transcriber", "vad", "tracing")
        # A text is a setting, which may have the name of the part that it chooses.
        names = [name for name in given if name in changes and not isinstance(changes[name], str)]
        parts = {name: changes.pop(name) for name in names}
        defaults: dict[str, Any] = {
            "data_dir": folder / "data",
            "journal_min_free_bytes": 0,
            "event_flush_interval": 0.0,
            "drain_timeout": 5.0,
        }
        async with open_edge(Settings(**(defaults | changes)), **parts) as edge:
            yield edge

    return open_node
