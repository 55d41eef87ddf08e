"""Writes that end: each has a deadline, and a peer that doesn't read is reset.

A write must not be torn by cancellation (half a frame, then another), so Hypercorn shields it, for ever: one
peer that never reads then holds up the exit. Here the shield has a deadline for each 64 KiB, and after it
the socket is closed with a reset, which also wakes whoever else waits on it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct

import trio

PIECE = 64 * 1024
SENDS_A_CHECKPOINT = 16  # of small ones, some 20 µs each
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: on, 0 seconds


class Sender:
    """The writing half of one TCP stream, for any number of tasks."""

    def __init__(self, stream: trio.SocketStream, timeout: float) -> None:
        self._stream = stream
        self._timeout = timeout
        self._lock = trio.Lock()
        self._unyielded = 0  # bytes written since the last checkpoint

    async def send(self, data: bytes) -> bool:
        """Write all of `data`; False when the peer is gone or was just dropped for not reading.

        Cancellation is seen before the first byte only; from there on the deadline holds. Not a checkpoint
        where the kernel takes a little at once.
        """
        try:
            self._lock.acquire_nowait()  # spares a scheduler round in the common case
        except trio.WouldBlock:
            await self._lock.acquire()
        try:
            sent = os.write(self._stream.socket.fileno(), data)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = None
        try:
            if sent is None:
                await trio.lowlevel.checkpoint()
                return False
            if sent < len(data):
                return await self._send_rest(memoryview(data)[sent:])
            await self._yield_sometimes(sent)
            return True
        finally:
            self._lock.release()

    async def _send_rest(self, data: memoryview) -> bool:
        """What the kernel didn't take at once: wait for it, up to the timeout for each piece."""
        try:
            for start in range(0, len(data), PIECE):
                with trio.move_on_after(self._timeout, shield=True) as scope:
                    await self._stream.send_all(data[start : start + PIECE])
                if scope.cancelled_caught:
                    self.reset()
                    return False
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await trio.lowlevel.checkpoint()  # a closed stream raises without one
            return False
        return True

    async def _yield_sometimes(self, sent: int) -> None:
        """A checkpoint each so many bytes: an answer of 200 bytes is worth none of its own (trio's send makes
        one each time), and one that sends in a loop to a peer that reads must not stop the world.
        """
        self._unyielded += max(sent, PIECE // SENDS_A_CHECKPOINT)
        if self._unyielded >= PIECE:
            self._unyielded = 0
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def finish(self) -> None:
        """Say that nothing more comes (FIN), after what is being written.

        Within the timeout it is said in spite of a cancellation: an application that cancels itself when it
        is told of the disconnect (Quart does) is just then in its last `send`, which brought us here. Left
        unsaid, a peer that reads to the end of the stream waits for as long as we linger.
        """
        with trio.move_on_after(self._timeout, shield=True):
            async with self._lock:
                with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._stream.send_eof()

    def reset(self) -> None:
        """Close at once and forget unsent bytes; waiting reads and writes raise ClosedResourceError."""
        with contextlib.suppress(OSError):  # already closed, or reset by the peer
            self._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._stream.socket.close()
