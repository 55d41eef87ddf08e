"""Whole WebSocket frames out of received bytes, without I/O; and data frames to send.

What is common goes fast: an unfragmented text or binary message is unmasked in C straight from the received
bytes. Everything else (control frames, fragments, anything malformed) is handed to wsproto as it came, so
that what RFC 6455 allows stays wsproto's to judge. Hand-overs happen at frame boundaries only, which is why
wsproto never sees half a frame, and the two never disagree about where the next frame starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import attrs

from .masking import unmask

MAX_HEADER = 14  # bytes before a client frame's payload, at most
_FIN_TEXT = 0x81
_FIN_BINARY = 0x82
_WHOLE = frozenset((_FIN_TEXT, _FIN_BINARY))
_CONTINUATION, _TEXT, _BINARY = 0, 1, 2
_OPCODES = frozenset((_CONTINUATION, _TEXT, _BINARY, 8, 9, 10))


class Frame(NamedTuple):
    """One whole message, unmasked. `data` of a text message is UTF-8, checked."""

    text: bool
    data: bytes


@attrs.define
class FrameSplitter:
    """Splits a client's byte stream at frame boundaries.

    `split` received bytes, the `begun` ones of the last call in front of them. A message comes as a `Frame`
    (its text not yet checked), all else as the frame's raw bytes, for wsproto. At most one frame of
    `max_bytes` is begun.
    """

    max_bytes: int
    begun: bytes = b""
    too_big: bool = False
    """A frame, or the sum of a message's fragments, is over the limit; nothing after it is read."""
    _fragments: int | None = None  # bytes so far of a fragmented message, None outside one
    _malformed: bool = False

    def split(self, data: bytes | memoryview) -> list[Frame | bytes]:
        """The frames that are whole in `data`, each in memory of its own: `data` is free from here on."""
        frames: list[Frame | bytes] = []
        start = 0
        with memoryview(data) as view:
            while not self.too_big:
                end = self._next_frame(view, start, frames)
                if end is None:
                    break
                start = end
            self.begun = b"" if self.too_big else bytes(view[start:])
        return frames

    def _next_frame(self, view: memoryview, start: int, frames: list[Frame | bytes]) -> int | None:
        """Add the frame at `start`; where it ends, or None where it isn't whole yet or too big."""
        available = len(view) - start
        if self._malformed:
            if not available:
                return None
            frames.append(bytes(view[start:]))
            return len(view)
        if available < 2:
            return None
        first, second = view[start], view[start + 1]
        length, header = second & 0x7F, 6
        if length == 126:
            if available < 4:
                return None
            length, header = view[start + 2] << 8 | view[start + 3], 8
        elif length == 127:
            if available < 10:
                return None
            length, header = int.from_bytes(view[start + 2 : start + 10], "big"), 14
        if _is_malformed(first, second, length):
            self._malformed = True
            return start
        if length + (self._fragments or 0) > self.max_bytes:
            self.too_big = True
            return None
        end = start + header + length
        if available < header + length:
            return None
        if self._fragments is None and first in _WHOLE:
            data = unmask(view[start + header : end], bytes(view[start + header - 4 : start + header]))
            frames.append(Frame(first == _FIN_TEXT, data))
        else:
            self._count_fragment(first, length)
            frames.append(bytes(view[start:end]))
        return end

    def _count_fragment(self, first: int, length: int) -> None:
        if first & 0x08:  # a control frame may stand between fragments
            return
        self._fragments = None if first & 0x80 else (self._fragments or 0) + length


def _is_malformed(first: int, second: int, length: int) -> bool:
    """Whether a header breaks RFC 6455 section 5.2; which rule it breaks is wsproto's to say."""
    opcode = first & 0x0F
    control = bool(opcode & 0x08)
    short = second & 0x7F
    return (
        bool(first & 0x70)
        or opcode not in _OPCODES
        or not second & 0x80
        or (control and (not first & 0x80 or short > 125))
        or (short == 126 and length < 126)
        or (short == 127 and (length < 1 << 16 or bool(length >> 63)))
    )


def data_frame(data: bytes | bytearray | memoryview, *, text: bool) -> bytes:
    """One unfragmented, unmasked data frame, as a server sends it."""
    return b"".join((_header(len(data), text=text), data))


def text_frames(payloads: Iterable[bytes]) -> bytes:
    """Several text frames (UTF-8 each) as one run of bytes, for one socket write."""
    parts: list[bytes] = []
    for payload in payloads:
        parts += (_header(len(payload), text=True), payload)
    return b"".join(parts)


def _header(length: int, *, text: bool) -> bytes:
    first = _FIN_TEXT if text else _FIN_BINARY
    if length < 126:
        return bytes((first, length))
    if length < 1 << 16:
        return bytes((first, 126)) + length.to_bytes(2, "big")
    return bytes((first, 127)) + length.to_bytes(8, "big")
