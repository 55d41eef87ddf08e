"""The frame splitter alone: byte boundaries, limits, and agreement with wsproto."""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Message, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason

from interview_edge.web.hypercorn.frames import (
    Frame,
    FrameSplitter,
    data_frame,
    text_frames,
)
from interview_edge.web.hypercorn.masking import unmask, unmask_numpy

LIMIT = 1 << 20


def masked(first: int, payload: bytes, key: bytes = b"\x01\x02\x03\x04") -> bytes:
    """A client frame, put together by hand from RFC 6455 section 5.2."""
    length = len(payload)
    if length < 126:
        head = bytes((first, 0x80 | length))
    elif length < 1 << 16:
        head = bytes((first, 0x80 | 126)) + struct.pack("!H", length)
    else:
        head = bytes((first, 0x80 | 127)) + struct.pack("!Q", length)
    # As one number: a byte at a time, a busy machine took seconds for an example of large frames.
    mask = (key * (length // 4 + 1))[:length]
    return head + key + (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(length, "big")


def gather(events: Iterable[object], parts: list[str | bytes]) -> Iterable[tuple[str, object]]:
    """wsproto's events as (kind, value), a fragmented message put together."""
    for event in events:
        if isinstance(event, Message):
            parts.append(event.data)
            if event.message_finished:
                text = isinstance(event, TextMessage)
                whole = "".join(parts) if text else b"".join(bytes(part) for part in parts)
                parts.clear()
                yield ("text", whole.encode()) if text else ("binary", whole)
        elif isinstance(event, CloseConnection):
            yield "close", event.code
        elif isinstance(event, Ping | Pong):
            yield type(event).__name__, bytes(event.payload)


def by_wsproto(pieces: Iterable[bytes]) -> list[tuple[str, object]]:
    server, parts, seen = Connection(ConnectionType.SERVER), [], []
    for piece in pieces:
        server.receive_data(piece)
        seen += gather(server.events(), parts)
    return seen


def by_splitter(pieces: Iterable[bytes], limit: int = LIMIT) -> list[tuple[str, object]]:
    """As WebSocketStream does it: whole messages from the splitter, the rest through wsproto."""
    server, parts, seen = Connection(ConnectionType.SERVER), [], []
    splitter = FrameSplitter(limit)
    for piece in pieces:
        for frame in splitter.split(splitter.begun + piece):
            if isinstance(frame, Frame):
                seen.append(("text" if frame.text else "binary", frame.data))
            else:
                server.receive_data(frame)
                seen += gather(server.events(), parts)
    return seen


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


texts = st.text(max_size=200).map(str.encode)
binaries = st.one_of(st.binary(max_size=200), st.sampled_from([125, 126, 127, 65535, 65536]).map(os.urandom))
keys = st.binary(min_size=4, max_size=4)
controls = st.builds(masked, st.sampled_from([0x89, 0x8A]), st.binary(max_size=125), keys)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """One message: whole, or in fragments with control frames between them."""
    text = draw(st.booleans())
    payload = draw(texts if text else binaries)
    fragments = cut(payload, draw(st.lists(st.integers(0, 70_000), max_size=3)))
    opcode = 1 if text else 2
    out = b""
    for number, fragment in enumerate(fragments):
        first = (0x80 if number == len(fragments) - 1 else 0) | (opcode if number == 0 else 0)
        out += masked(first, fragment, draw(keys)) + b"".join(draw(st.lists(controls, max_size=2)))
    return out


@given(st.lists(st.one_of(messages(), controls), max_size=6), st.lists(st.integers(0, 1 << 18), max_size=12))
@example([masked(0x81, b"a") + masked(0x01, b"b"), masked(0x89, b"p") + masked(0x80, b"c")], list(range(40)))
def test_valid_streams_read_as_wsproto_reads_them_wherever_they_are_cut(
    sent: list[bytes], places: list[int]
) -> None:
    stream = b"".join(sent)
    assert by_splitter(cut(stream, places)) == by_wsproto([stream])


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5), st.lists(messages(), max_size=2))
def test_any_bytes_after_valid_frames_are_judged_by_wsproto(
    noise: bytes, places: list[int], before: list[bytes]
) -> None:
    stream = b"".join(before) + noise
    ours, theirs = by_splitter(cut(stream, places), 1 << 63), by_wsproto([stream])
    kept = list(itertools.takewhile(lambda seen: seen[0] != "text" or is_utf8(seen[1]), ours))
    rest = theirs[len(kept) :]
    assert theirs[: len(kept)] == kept
    if len(kept) < len(ours):  # WebSocketStream checks the text, and closes
        assert rest == [("close", CloseReason.INVALID_FRAME_PAYLOAD_DATA)]
    else:  # wsproto may see an error before the frame is whole; nothing else can be ahead of us
        assert rest in (
            [],
            [("close", CloseReason.INVALID_FRAME_PAYLOAD_DATA)],
            [("close", CloseReason.PROTOCOL_ERROR)],
        )


def is_utf8(data: object) -> bool:
    assert isinstance(data, bytes)
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"\x81\x01a", id="unmasked"),
        pytest.param(masked(0xC1, b"a"), id="reserved bit"),
        pytest.param(masked(0x83, b"a"), id="reserved opcode"),
        pytest.param(masked(0x09, b"a"), id="fragmented ping"),
        pytest.param(masked(0x89, b"a" * 126), id="long ping"),
        pytest.param(b"\x81\xfe\x00\x01" + b"\0" * 5, id="length not minimal, 16 bits"),
        pytest.param(b"\x81\xff" + b"\0" * 7 + b"\x01" + b"\0" * 5, id="length not minimal, 64 bits"),
        pytest.param(b"\x82\xff\x80" + b"\0" * 7 + b"\0" * 5, id="length over 63 bits"),
        pytest.param(masked(0x80, b"a"), id="continuation of nothing"),
        pytest.param(masked(0x01, b"a") + masked(0x81, b"b"), id="message inside a message"),
        pytest.param(masked(0x88, b"\x03"), id="close of one byte"),
    ],
)
def test_a_broken_frame_is_a_protocol_error_byte_by_byte(frame: bytes) -> None:
    assert by_splitter(bytes((byte,)) for byte in frame)[-1] == ("close", CloseReason.PROTOCOL_ERROR)


def test_an_oversize_frame_is_refused_from_its_header() -> None:
    splitter = FrameSplitter(1000)
    header = masked(0x82, b"x" * 1001)[:4]
    assert len(splitter.split(masked(0x82, b"before") + header)) == 1
    assert splitter.too_big
    assert splitter.begun == b""
    assert splitter.split(masked(0x82, b"after")) == []


def test_the_largest_frame_passes() -> None:
    assert by_splitter([masked(0x82, b"x" * 1000)], 1000) == [("binary", b"x" * 1000)]


def test_fragments_are_limited_by_their_sum() -> None:
    splitter = FrameSplitter(1000)
    frames = splitter.split(masked(0x02, b"x" * 600) + masked(0x89, b"") + masked(0x80, b"y" * 401)[:4])
    assert [type(frame) for frame in frames] == [bytes, bytes]
    assert splitter.too_big


def test_frames_outlive_the_memory_they_were_read_from() -> None:
    received = bytearray(masked(0x82, b"whole") + masked(0x89, b"ping") + masked(0x82, b"begun")[:7])
    splitter = FrameSplitter(1000)
    with memoryview(received) as view:
        frames = splitter.split(view)
    received[:] = bytes(len(received))
    assert frames == [Frame(False, b"whole"), masked(0x89, b"ping")]
    assert splitter.begun == masked(0x82, b"begun")[:7]


def test_a_message_after_a_fragmented_one_has_the_whole_limit() -> None:
    pieces = [masked(0x02, b"x" * 600), masked(0x80, b"y" * 400), masked(0x82, b"z" * 1000)]
    assert [value for _, value in by_splitter(pieces, 1000)] == [b"x" * 600 + b"y" * 400, b"z" * 1000]


@given(st.binary(max_size=100), keys)
def test_numpy_unmasks_as_c_does(data: bytes, key: bytes) -> None:
    assert unmask_numpy(memoryview(data), key) == unmask(memoryview(data), key) == masked(0, data, key)[6:]


@pytest.mark.parametrize("length", [0, 125, 126, 65535, 65536])
def test_frames_to_send_are_read_back_by_a_client(length: int) -> None:
    client = Connection(ConnectionType.CLIENT)
    payload = b"a" * length
    client.receive_data(data_frame(payload, text=False) + text_frames([payload, b"two"]))
    parts: list[str | bytes] = []
    assert list(gather(client.events(), parts)) == [("binary", payload), ("text", payload), ("text", b"two")]
