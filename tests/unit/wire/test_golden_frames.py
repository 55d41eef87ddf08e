"""The wire, byte for byte: files in tests/golden/chunk_dialect, written without the code under test.

client/ and server/ hold frames as they are sent, refused/ what must be refused, refused.json how.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interview_edge.core.models import Event, IngestStatus
from interview_edge.errors import CHUNK_CONFLICT, FRAME_NOT_JSON, EdgeError
from interview_edge.wire import chunk_dialect
from interview_edge.wire.frames import (
    Ack,
    ChunkFrame,
    ClientFrame,
    Close,
    Closing,
    ErrorFrame,
    EventFrame,
    Finalize,
    Finalized,
    GoingAway,
    Hello,
    PartialFrame,
    Ping,
    Pong,
    Ready,
    ServerFrame,
    Status,
    StatusReply,
    StreamStatus,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "chunk_dialect"
SESSION = "interview-42"
PCM = bytes(range(250)) * 128

CHUNK = ChunkFrame(7, 1_700_000_000_123, False, PCM)
FINAL_CHUNK = ChunkFrame(8, 1_700_000_000_123, True, PCM[:6])

CLIENT_FRAMES: dict[str, ClientFrame] = {
    "hello.json": Hello(SESSION, 16_000, 1, "pcm_s16le", True),
    "chunk.json": CHUNK,
    "chunk.bin": CHUNK,
    "chunk_final.json": FINAL_CHUNK,
    "chunk_final.bin": FINAL_CHUNK,
    "status.json": Status(),
    "ping.json": Ping(),
    "finalize.json": Finalize(60, {"title": "面试"}),
    "finalize_bare.json": Finalize(),
    "close.json": Close("interview over"),
    "close_bare.json": Close(),
}
# Read, but not how we write it: other clients' spellings.
OTHER_SPELLINGS: dict[str, ClientFrame] = {
    "hello_bare.json": Hello(),
    "hello_source.json": Hello(SESSION, 48_000, 2, "opus"),
    "hello_nulls.json": Hello(),
    "finalize_nothing.json": Finalize(0),
    "chunk_spaced.json": CHUNK,
    "chunk_escaped.json": CHUNK,
    "close_untyped.json": Close(),
}

STATUS = IngestStatus(
    session_id=SESSION,
    meeting_id=SESSION,
    last_seq=9,
    received_chunks=6,
    duplicate_chunks=1,
    missing_chunks=3,
    bytes_stored=192_000,
    started_at="2023-11-14T22:13:20.000Z",
    updated_at="2023-11-14T22:13:29.000Z",
    missing=((3, 4), (7, 7)),
)
TRUNCATED = IngestStatus(
    SESSION, SESSION, 9, 6, 1, 3, 192_000, STATUS.started_at, STATUS.updated_at, STATUS.missing, True
)
SPEECH = Event(1, 1_700_000_009_000, "speech_started", {"sample": 16_320}, "mixed")

SERVER_FRAMES: dict[str, ServerFrame] = {
    "ready.json": Ready(
        session_id=SESSION,
        ingest=StreamStatus.of(STATUS),
        next_seq=3,
        missing=STATUS.missing,
        max_in_flight=32,
        ack="journal",
        epoch=2,
    ),
    "ack_stored.json": Ack(3, "stored", 9, 2, 1, 4, "sessions/interview-42/chunks/00000003.pcm"),
    "ack_duplicate.json": Ack(3, "duplicate", 9, 2, 2, 4),
    "status.json": StatusReply.of(STATUS),
    "status_truncated.json": StatusReply.of(TRUNCATED),
    "pong.json": Pong(1_700_000_009_000),
    "finalized.json": Finalized("sessions/interview-42/result.json", False, ((3, 4), (7, 7))),
    "finalized_streams.json": Finalized(
        "sessions/interview-42/result.json",
        False,
        ((3, 4), (7, 7)),
        missing_by_stream={"mixed": ((3, 4), (7, 7)), "teacher": ()},
    ),
    "closing.json": Closing.of(Close()),
    "error.json": ErrorFrame.of(EdgeError(FRAME_NOT_JSON)),
    "error_seq.json": ErrorFrame.of(EdgeError(CHUNK_CONFLICT, fields={"seq": 3})),
    "going_away.json": GoingAway(10, 9_500),
    "event.json": EventFrame(SPEECH.to_wire()),
    "partial.json": PartialFrame(
        stream="teacher",
        utterance=3,
        start_ms=12_480,
        end_ms=15_390,
        text="Ask not what your",
        language="en",
    ),
}

REFUSED: dict[str, dict[str, object]] = json.loads((GOLDEN / "refused.json").read_text())


def read_message(path: Path) -> str | bytes:
    data = path.read_bytes()
    return data if path.suffix == ".bin" else data.decode()


def encode_client(name: str, frame: ClientFrame) -> bytes:
    if not isinstance(frame, ChunkFrame):
        return chunk_dialect.encode_client(frame).encode()
    if name.endswith(".bin"):
        return chunk_dialect.encode_chunk_binary(frame)
    return chunk_dialect.encode_chunk_text(frame, session_id=SESSION).encode()


def test_every_golden_file_has_its_row() -> None:
    def names(folder: str) -> set[str]:
        return {path.name for path in (GOLDEN / folder).iterdir()}

    assert names("client") == {*CLIENT_FRAMES, *OTHER_SPELLINGS}
    assert names("server") == set(SERVER_FRAMES)
    assert names("refused") == set(REFUSED)


@pytest.mark.parametrize("name", [*CLIENT_FRAMES, *OTHER_SPELLINGS])
def test_client_frame_is_read(name: str) -> None:
    message = read_message(GOLDEN / "client" / name)

    assert chunk_dialect.decode(message, session_id=SESSION) == (CLIENT_FRAMES | OTHER_SPELLINGS)[name]


@pytest.mark.parametrize("name", CLIENT_FRAMES)
def test_client_frame_is_written(name: str) -> None:
    assert encode_client(name, CLIENT_FRAMES[name]) == (GOLDEN / "client" / name).read_bytes()


@pytest.mark.parametrize("name", SERVER_FRAMES)
def test_server_frame_is_written(name: str) -> None:
    assert chunk_dialect.encode(SERVER_FRAMES[name]).encode() == (GOLDEN / "server" / name).read_bytes()


@pytest.mark.parametrize("name", SERVER_FRAMES)
def test_server_frame_is_read(name: str) -> None:
    assert chunk_dialect.decode_server((GOLDEN / "server" / name).read_text()) == SERVER_FRAMES[name]


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    message = read_message(GOLDEN / "refused" / name)

    with pytest.raises(EdgeError) as caught:
        chunk_dialect.decode(message, session_id=SESSION)

    error = caught.value
    assert {"code": error.kind.code, "detail": error.detail, **error.fields} == REFUSED[name]
    assert error.kind.close is None, "the socket stays open for a bad frame"
