"""One client of the load: a plain socket that speaks just enough WebSocket, at little cost.

A real client library would use more CPU a frame than the server does, and on two cores that is measured too.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections import deque
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import urlsplit

from benchmarks.speech_frames import SpeechFrames, masked_frame
from interview_edge.wire import chunk_dialect
from interview_edge.wire.frames import Ack, Hello, Ready

TIMEOUT = 30.0
RECEIVE = 1 << 18
NORMAL_CLOSURE = 1000
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10
_PONG_FRAME = b"\x8a\x80\0\0\0\0"


class WrongAnswer(Exception):
    """The server under test answered something else than what the load is owed: no number is worth that."""


class Answers(Protocol):
    """What a server owes for each chunk; raises WrongAnswer."""

    def check(self, connection: Connection, seq: int, payload: bytes) -> None: ...


class Acks:
    """Of the product: an ack of the chunk itself, stored, everything before it held."""

    def check(self, connection: Connection, seq: int, payload: bytes) -> None:
        frame = chunk_dialect.decode_server(payload)
        if not isinstance(frame, Ack) or (frame.seq, frame.status, frame.next_seq) != (
            seq,
            "stored",
            seq + 1,
        ):
            raise WrongAnswer(f"{connection.session_id} chunk {seq}: {payload[:300]!r}")


class Echoes:
    """Of the echo that sends the frame back."""

    def check(self, connection: Connection, seq: int, payload: bytes) -> None:
        if len(payload) != connection.frames.size(connection.session_id, seq):
            raise WrongAnswer(f"{connection.session_id} chunk {seq}: an echo of {len(payload)} bytes")


class ShortAnswers:
    """Of the echo that answers a short text."""

    def check(self, connection: Connection, seq: int, payload: bytes) -> None:
        if not payload.startswith(b'{"type":"ack"'):
            raise WrongAnswer(f"{connection.session_id} chunk {seq}: {payload[:300]!r}")


class Connection:
    """A WebSocket of one session. Sends chunks in seq order and takes their answers; never blocks."""

    def __init__(self, url: str, session_id: str, frames: SpeechFrames, answers: Answers) -> None:
        """Connect and upgrade. Raises OSError, WrongAnswer."""
        self.session_id = session_id
        self.frames = frames
        self.sent = 0  # the highest seq handed over; 1..sent were
        self.answered = 0
        self._answers = answers
        self._buffer = bytearray()
        self._unsent: deque[memoryview] = deque()
        address = urlsplit(url)
        self._socket = socket.create_connection((address.hostname, address.port), TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._upgrade(address.netloc)

    def _upgrade(self, host: str) -> None:
        self._socket.sendall(
            (
                f"GET /v1/audio/ws/{self.session_id} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            ).encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            part = self._socket.recv(RECEIVE)
            if not part:
                break
            answer += part
        if not answer.startswith(b"HTTP/1.1 101 "):
            raise WrongAnswer(f"no upgrade: {answer[:300]!r}")

    def greet(self) -> Ready:
        """Say hello and wait for `ready` (of the product; an echo would send it back)."""
        hello = chunk_dialect.encode_client(Hello(meeting_id=self.session_id))
        self._socket.sendall(masked_frame(hello.encode(), self.frames.key, text=True))
        while not (payloads := self._read_messages()):
            pass
        ready = chunk_dialect.decode_server(payloads[0])
        if not isinstance(ready, Ready) or ready.next_seq != 1:
            raise WrongAnswer(f"no ready for a new session: {payloads[0][:300]!r}")
        return ready

    def start(self) -> None:
        """From here on nothing blocks."""
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def in_flight(self) -> int:
        return self.sent - self.answered

    @property
    def blocked(self) -> bool:
        """The kernel took only a part; `flush` when the socket can be written again."""
        return bool(self._unsent)

    def send_next(self) -> None:
        """Hand the next chunk to the kernel, or what it takes of it."""
        self.sent += 1
        self._send(self.frames.chunk(self.session_id, self.sent))

    def _send(self, pieces: Sequence[bytes]) -> None:
        self._unsent.extend(memoryview(piece) for piece in pieces if piece)
        self.flush()

    def flush(self) -> None:
        """Send what is waiting, as far as the kernel takes it."""
        while self._unsent:
            try:
                count = self._socket.sendmsg(self._unsent)
            except BlockingIOError:
                return
            while self._unsent and count >= len(self._unsent[0]):
                count -= len(self._unsent.popleft())
            if count:
                self._unsent[0] = self._unsent[0][count:]

    def receive(self) -> int:
        """Take what has come, each answer checked; how many chunks were answered by it."""
        payloads = self._read_messages()
        for payload in payloads:
            self.answered += 1
            self._answers.check(self, self.answered, payload)
        return len(payloads)

    def _read_messages(self) -> list[bytes]:
        """One recv, and the messages that are whole now. Pings are answered; a close is a WrongAnswer."""
        try:
            data = self._socket.recv(RECEIVE)
        except BlockingIOError:
            return []
        if not data:
            raise WrongAnswer(f"{self.session_id}: the server closed after {self.answered} answers")
        self._buffer += data
        messages: list[bytes] = []
        position = 0
        while (frame := self._frame_at(position)) is not None:
            opcode, start, end = frame
            payload = bytes(memoryview(self._buffer)[start:end])
            position = end
            if opcode in (_TEXT, _BINARY):
                messages.append(payload)
            elif opcode == _PING:
                self._send((_PONG_FRAME,))
            elif opcode == _CLOSE:
                raise WrongAnswer(f"{self.session_id}: close {payload!r} after {self.answered} answers")
        del self._buffer[:position]
        return messages

    def _frame_at(self, position: int) -> tuple[int, int, int] | None:
        """(opcode, start, end of the payload) of the server's frame there; None while it isn't whole."""
        buffer, available = self._buffer, len(self._buffer) - position
        if available < 2:
            return None
        size, header = buffer[position + 1], 2
        if size >= 126:
            header = 4 if size == 126 else 10
            if available < header:
                return None
            size = int.from_bytes(buffer[position + 2 : position + header], "big")
        if available < header + size:
            return None
        return buffer[position] & 0x0F, position + header, position + header + size

    def close(self) -> None:
        """Leave as a browser tab does: a close frame, and gone without waiting for the answer."""
        with contextlib.suppress(OSError):  # the server may have gone first
            self._socket.send(b"\x88\x82\0\0\0\0" + struct.pack("!H", NORMAL_CLOSURE))
        self._socket.close()
