"""Load for a server that is about to be killed: what was sent and acked, and what a restart must show."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from urllib.parse import urlsplit

import attrs
import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, wrap_client_stream

from interview_edge.client.urls import ingest_url
from interview_edge.core.models import StreamKey
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.core.ranges import Ranges
from interview_edge.errors import CHUNK_CONFLICT, FINALIZE_TIMEOUT, RESOLVE_BUSY, STORAGE_UNAVAILABLE
from interview_edge.wire import chunk_dialect
from interview_edge.wire.frames import Ack, ChunkFrame, ErrorFrame, Finalize, Hello, Ready

PATIENCE = 60.0  # seconds: a test that would wait longer fails
LONGEST_PAUSE = 0.02  # seconds between two chunks of one stream, outside bursts
OTHER = b"\xff" * CHUNK_BYTES
BENIGN = (FINALIZE_TIMEOUT.code, RESOLVE_BUSY.code)


class LostAudio(AssertionError):
    """The server doesn't hold what it acknowledged, or holds what nobody sent: the promise is broken."""


class StorageComplaint(AssertionError):
    """The server said that its storage is unavailable, where nothing was wrong with that."""


@contextmanager
def loss_alone() -> Iterator[None]:
    """Of several errors in nurseries, the loss is what counts: the connections that it took down aren't."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group.subgroup(LostAudio) or group.subgroup(StorageComplaint) or group
        while isinstance(error, BaseExceptionGroup) and error is not group:
            error = error.exceptions[0]
        raise error from None


def audio(key: StreamKey, seq: int) -> bytes:
    """A second of audio that no other stream and seq has."""
    return hashlib.shake_256(f"{key.session_id}/{key.stream}/{seq}".encode()).digest(CHUNK_BYTES)


@attrs.define(eq=False)
class Sender:
    """One stream's client, over all the server's lives. `acked` only ever grows with the server's word."""

    key: StreamKey
    random: Random
    sent: set[int] = attrs.field(factory=set)
    acked: set[int] = attrs.field(factory=set)
    repeats_acked: int = 0
    conflicts: int = 0
    finalized: int = 0
    late: int = 0
    _last: int = 0
    _awaited: deque[tuple[int, bool]] = attrs.field(factory=deque)  # (seq, whether the bytes are others)

    async def connect_and_send(self, url: str, connected: trio.Event) -> None:
        """Resume on `url` and send until the connection is cut; the acks that still arrive count."""
        self._awaited.clear()
        try:
            host, port = url.removeprefix("http://").split(":")
            path = urlsplit(ingest_url(url, self.key.session_id, self.key.stream)).path
            # The stream is ours to close: trio-websocket leaves it open where the server went first.
            async with await trio.open_tcp_stream(host, int(port)) as stream, trio.open_nursery() as nursery:
                socket = await wrap_client_stream(nursery, stream, host, path, message_queue_size=1000)
                await self._greet(socket)
                connected.set()
                nursery.start_soon(self._send, socket)
                await self._receive(socket)
                nursery.cancel_scope.cancel()
        except* (ConnectionClosed, HandshakeError, OSError):
            pass  # it was killed, maybe before we were connected
        finally:
            connected.set()

    async def _greet(self, socket: WebSocketConnection) -> None:
        await socket.send_message(chunk_dialect.encode_client(Hello()))
        ready = chunk_dialect.decode_server(await socket.get_message())
        assert isinstance(ready, Ready), ready
        missing = Ranges(ready.missing)
        held = {seq for seq in range(1, ready.ingest.last_seq + 1) if seq not in missing}
        self.check_held(held)
        assert ready.next_seq == min(set(range(1, len(held) + 2)) - held), ready
        assert ready.ingest.received_chunks == len(held), ready

    def check_held(self, held: set[int]) -> None:
        """What a server holds is what it acked, and more only where an ack was lost with it."""
        if lost := self.acked - held:
            raise LostAudio(f"{self.key}: acked and gone: {sorted(lost)}")
        if invented := held - self.sent:
            raise LostAudio(f"{self.key}: held and never sent: {sorted(invented)}")

    # -- sending

    async def _send(self, socket: WebSocketConnection) -> None:
        try:
            while True:
                for _ in range(self.random.choice((1, 1, 1, 8))):
                    await self._send_one(socket)
                if self.random.random() < 0.05:
                    await socket.send_message(
                        chunk_dialect.encode_client(Finalize(metadata={"n": self._last}))
                    )
                await trio.sleep(self.random.uniform(0, LONGEST_PAUSE))
        except ConnectionClosed:
            return

    async def _send_one(self, socket: WebSocketConnection) -> None:
        seq, other = self._choose()
        chunk = ChunkFrame(seq, 1_000 * seq, False, OTHER if other else audio(self.key, seq))
        self._awaited.append((seq, other))
        if not other:
            self.sent.add(seq)
        if self.random.random() < 0.5:
            await socket.send_message(chunk_dialect.encode_chunk_binary(chunk))
        else:
            await socket.send_message(chunk_dialect.encode_chunk_text(chunk, session_id=self.key.session_id))

    def _choose(self) -> tuple[int, bool]:
        """The next chunk: mostly a new one, sometimes late, again, or with other bytes than acked ones."""
        luck = self.random.random()
        if luck < 0.15 and (gaps := [seq for seq in range(1, self._last) if seq not in self.sent]):
            self.late += 1
            return self.random.choice(gaps), False
        if luck < 0.30 and self.sent:
            return self.random.choice(sorted(self.sent)[-200:]), False
        if luck < 0.34 and self.acked:
            return self.random.choice(sorted(self.acked)), True
        self._last += self.random.choice((1, 1, 1, 1, 1, 2, 3))
        return self._last, False

    # -- receiving

    async def _receive(self, socket: WebSocketConnection) -> None:
        try:
            while True:
                self._take(await socket.get_message())
        except ConnectionClosed:
            return

    def _take(self, message: str | bytes) -> None:
        frame = chunk_dialect.decode_server(message)
        if isinstance(frame, Ack):
            self._acknowledge(frame)
        elif isinstance(frame, ErrorFrame):
            self._refuse(frame)
        else:
            self.finalized += 1

    def _acknowledge(self, ack: Ack) -> None:
        seq, other = self._awaited.popleft()
        assert seq == ack.seq, f"acks out of order: {ack} for {seq}"
        if other:
            raise LostAudio(f"{self.key}: other bytes at the acked seq {seq} were {ack.status}")
        if ack.status == "duplicate":
            self.repeats_acked += 1
        elif seq in self.acked:
            raise LostAudio(f"{self.key}: seq {seq} was acked before and is stored a second time")
        self.acked.add(seq)

    def _refuse(self, error: ErrorFrame) -> None:
        if error.code in BENIGN:
            return
        if error.code == STORAGE_UNAVAILABLE.code:
            raise StorageComplaint(error)
        assert error.code == CHUNK_CONFLICT.code, error
        seq, other = self._awaited.popleft()
        assert (seq, other) == (error.seq, True), error
        self.conflicts += 1


@attrs.frozen
class Workload:
    """Several streams of several sessions, sent at once. The seed says what is sent, not when it arrives."""

    senders: Sequence[Sender]

    @classmethod
    def of(cls, seed: int, sessions: int = 3) -> Workload:
        keys = [StreamKey(f"call/{n}", stream) for n in range(sessions) for stream in ("mixed", "teacher")]
        return cls([Sender(key, Random(f"{seed}/{key}")) for key in keys])

    async def run_until_cut(self, url: str, cut: trio.Event) -> None:
        """Send on all streams; `cut` is set once each is connected. Returns when every connection ended."""
        async with trio.open_nursery() as nursery:
            connected = [trio.Event() for _ in self.senders]
            for sender, event in zip(self.senders, connected, strict=True):
                nursery.start_soon(sender.connect_and_send, url, event)
            with trio.fail_after(PATIENCE):
                for event in connected:
                    await event.wait()
            cut.set()

    def describe(self) -> str:
        """How much there was of everything, so that a run that tested nothing shows."""
        fields = ("repeats_acked", "conflicts", "finalized", "late")
        counts = {name: sum(getattr(sender, name) for sender in self.senders) for name in fields}
        sent, acked = (sum(len(getattr(s, name)) for s in self.senders) for name in ("sent", "acked"))
        return f"sent {sent}, acked {acked}, {counts}"
