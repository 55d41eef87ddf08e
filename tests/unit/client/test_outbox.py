"""The outbox's corners that its property test doesn't reach."""

from __future__ import annotations

from interview_edge.client.outbox import Outbox, Request
from interview_edge.wire.frames import ChunkFrame, Pong, Ready, StreamStatus


def ready(*, last_seq: int, missing: tuple[tuple[int, int], ...], truncated: bool = False) -> Ready:
    status = StreamStatus(
        session_id="s",
        meeting_id="s",
        last_seq=last_seq,
        received_chunks=0,
        duplicate_chunks=0,
        missing_chunks=0,
        bytes_stored=0,
        started_at="",
        updated_at="",
        missing=missing,
    )
    return Ready(
        session_id="s",
        ingest=status,
        next_seq=missing[0][0] if missing else last_seq + 1,
        missing=missing,
        missing_truncated=truncated,
        max_in_flight=8,
        ack="journal",
        epoch=1,
    )


def test_past_a_truncated_list_everything_goes_again() -> None:
    outbox = Outbox()
    for seq in (1, 2, 3, 4):
        outbox.add(ChunkFrame(seq, 1, False, b""))

    assert outbox.resume(ready(last_seq=9, missing=((2, 2),), truncated=True)) == (1,)
    assert outbox.unacked == (2, 3, 4)


def test_requests_keep_their_place_and_come_again() -> None:
    outbox = Outbox()
    outbox.resume(ready(last_seq=0, missing=()))
    first, second = ChunkFrame(1, 1, False, b""), ChunkFrame(2, 1, False, b"")
    request = Request("{}", Pong)
    outbox.add(first)
    outbox.ask(request)
    outbox.add(second)

    assert [outbox.take() for _ in range(4)] == [first, request, second, None]
    outbox.resume(ready(last_seq=1, missing=()))
    assert [outbox.take() for _ in range(3)] == [second, request, None]


def test_a_withdrawn_request_is_not_sent() -> None:
    outbox = Outbox()
    request = Request("{}", Pong)
    outbox.ask(request)
    outbox.withdraw(request)

    assert outbox.take() is None
    assert outbox.requests == ()
