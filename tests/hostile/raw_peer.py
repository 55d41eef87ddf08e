"""A peer that speaks WebSocket byte by byte, and as badly as a test wants."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import attrs
import trio

from interview_edge.wire import chunk_dialect
from interview_edge.wire.frames import ChunkFrame
from server_process import ServerProcess

TEXT, BINARY = 1, 2
HELLO = b'{"type":"hello"}'
STATUS = b'{"type":"status"}'
UPGRADE = (
    b"GET /v1/audio/ws/%s HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n"
)
GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
SMALL_BUFFER = 4096
PATIENCE = 20.0  # seconds


def frame(payload: bytes, opcode: int = TEXT, *, first: int | None = None) -> bytes:
    """One frame, masked with zeros: legal, and as fast as a flood should be. `first`: another first byte."""
    head = 0x80 | opcode if first is None else first
    if len(payload) < 126:
        header = struct.pack("!BB", head, 0x80 | len(payload))
    elif len(payload) < 1 << 16:
        header = struct.pack("!BBH", head, 0x80 | 126, len(payload))
    else:
        header = struct.pack("!BBQ", head, 0x80 | 127, len(payload))
    return header + bytes(4) + payload


def chunk(seq: int) -> bytes:
    """A valid chunk frame."""
    pcm = seq.to_bytes(4, "little") * 8_000
    return frame(chunk_dialect.encode_chunk_binary(ChunkFrame(seq, 1, False, pcm)), BINARY)


@attrs.frozen
class RawPeer:
    stream: trio.SocketStream

    async def upgrade(self, session_id: str, headers: bytes = b"") -> bytes:
        """Ask for a WebSocket; answers the head of the answer."""
        await self.stream.send_all(UPGRADE % (session_id.encode(), headers))
        head = b""
        with trio.fail_after(PATIENCE):
            while not head.endswith(b"\r\n\r\n"):
                more = await self.stream.receive_some(1)
                assert more, head
                head += more
        return head

    async def send(self, data: bytes) -> bool:
        """Send; False once the server has gone."""
        try:
            await self.stream.send_all(data)
        except GONE:
            return False
        return True

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        said = bytearray()
        with trio.fail_after(PATIENCE), suppress(*GONE):
            while more := await self.stream.receive_some(65_536):
                said += more
        return bytes(said)

    def reset(self) -> None:
        """Drop the connection without a goodbye."""
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()


@asynccontextmanager
async def raw_peer(server: ServerProcess, *, small_buffer: bool = False) -> AsyncIterator[RawPeer]:
    """A TCP connection to the server. `small_buffer`: of what it doesn't read, the kernel takes little."""
    with socket.socket() as plain:
        if small_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        sock = trio.socket.from_stdlib_socket(plain)
        await sock.connect(server.address)
        peer = RawPeer(trio.SocketStream(sock))
        async with peer.stream:
            yield peer
