"""The audio of a session, byte for byte what went in, in every layout and by every kind of range."""

from __future__ import annotations

import gc
import io
import struct
import wave
from typing import Any

import pytest
import soundfile
import trio

from asgi_calls import PATIENCE, Answer, call
from interview_edge.app import Edge
from interview_edge.core.models import Layout, SegmentFormat, StreamKey
from interview_edge.web.file_answers import MAX_DOWNLOADS
from nodes import OpenNode, connect, second

SHORT = second(9)[:3_200]
SILENCE = bytes(32_000)
EXPECTED = second(1) + second(2) + SILENCE + SILENCE + second(5) + SHORT
SIZE = 44 + len(EXPECTED)


async def record(edge: Edge, session_id: str = "s", *, stored: bool = True) -> None:
    """Seconds 1, 2, 5 and a short final 6: two are missing."""
    async with connect(edge, session_id) as peer:
        for seq in (2, 1, 5):
            await peer.send_chunk(seq)
        await peer.send_chunk(6, SHORT, final=True)
        await peer.answers(4)
    if stored:
        await edge.parts.archive.flush(session_id)
        assert not await edge.parts.journal.rows(StreamKey(session_id))


async def get(edge: Edge, query: str = "", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await call(edge.asgi_app, "GET", f"/v1/sessions/s/audio{query}", headers=named)


@pytest.mark.parametrize("stored", [True, False], ids=["backend", "journal"])
@pytest.mark.parametrize(
    ("layout", "form"),
    [
        (Layout.CHUNKS, SegmentFormat.WAV),
        (Layout.SEGMENTS, SegmentFormat.WAV),
        (Layout.SEGMENTS, SegmentFormat.FLAC),
    ],
)
async def test_the_file_is_what_was_sent_with_silence_in_the_gaps(
    open_node: OpenNode, layout: Layout, form: SegmentFormat, stored: bool
) -> None:
    async with open_node(layout=layout, segment_format=form) as edge:
        await record(edge, stored=stored)
        answer = await get(edge)
        assert answer.status == 200
        assert answer.headers["content-type"] == "audio/wav"
        assert answer.headers["x-missing-seconds"] == "2"
        assert int(answer.headers["content-length"]) == len(answer.body) == SIZE
        with wave.open(io.BytesIO(answer.body)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
            assert file.readframes(file.getnframes()) == EXPECTED
        flac = await get(edge, "?format=flac")
        assert flac.headers["content-type"] == "audio/flac"
        samples, rate = soundfile.read(io.BytesIO(flac.body), dtype="int16")
        assert rate == 16_000
        assert samples.astype("<i2").tobytes() == EXPECTED
        for seq, pcm in ((1, second(1)), (5, second(5)), (6, SHORT)):
            chunk = await call(edge.asgi_app, "GET", f"/v1/sessions/s/chunks/{seq}")
            assert chunk.body == pcm
            assert chunk.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-", 0, SIZE),
        ("bytes=0-0", 0, 1),
        ("bytes=0-43", 0, 44),
        ("bytes=40-47", 40, 48),
        ("bytes=44-", 44, SIZE),
        ("bytes=1000-1999", 1000, 2000),
        (f"bytes={44 + 31_999}-{44 + 32_000}", 44 + 31_999, 44 + 32_001),
        (f"bytes={44 + 64_100}-{44 + 70_000}", 44 + 64_100, 44 + 70_001),  # within the gap
        (f"bytes={44 + 95_000}-{44 + 130_000}", 44 + 95_000, 44 + 130_001),  # out of it into sound
        (f"bytes={SIZE - 10}-{SIZE + 10}", SIZE - 10, SIZE),
        ("bytes=-1", SIZE - 1, SIZE),
        ("bytes=-5000", SIZE - 5_000, SIZE),
        ("bytes=-999999999", 0, SIZE),
        ("BYTES=5-9", 5, 10),
    ],
)
async def test_a_range_is_that_part_of_the_file(
    open_node: OpenNode, header: str, start: int, stop: int
) -> None:
    async with open_node() as edge:
        await record(edge, stored=False)
        whole = await get(edge)
        part = await get(edge, range=header)
        assert part.status == 206
        assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
        assert int(part.headers["content-length"]) == stop - start
        assert part.body == whole.body[start:stop]


async def test_ranges_that_are_ignored_or_refused(open_node: OpenNode) -> None:
    async with open_node() as edge:
        await record(edge, stored=False)
        for ignored in (
            "bytes=1-0",
            "bytes=0-1,5-6",
            "seconds=1-2",
            "bytes=-",
            "bytes=x-",
            "bytes=" + "1" * 40 + "-",
        ):
            assert (await get(edge, range=ignored)).status == 200, ignored
        for outside in (f"bytes={SIZE}-", "bytes=-0", f"bytes={SIZE + 5}-{SIZE + 9}"):
            refused = await get(edge, range=outside)
            assert (refused.status, refused.json()["code"]) == (416, "range_not_satisfiable"), outside
            assert refused.headers["content-range"] == f"bytes */{SIZE}"
        assert (await get(edge, "?format=flac", range="bytes=0-1")).status == 200


async def test_a_range_of_an_older_file_gets_the_new_one_whole(open_node: OpenNode) -> None:
    async with open_node() as edge:
        async with connect(edge, "s") as peer:
            await peer.send_chunk(1)
            await peer.answer()
            old = (await get(edge)).headers["etag"]
            assert (await get(edge, range="bytes=0-9", if_range=old)).status == 206
            await peer.send_chunk(1)
            await peer.answer()
            assert (await get(edge)).headers["etag"] == old  # a repeat changes no byte
            await peer.send_chunk(2)
            await peer.answer()
        stale = await get(edge, range="bytes=0-9", if_range=old)
        assert stale.status == 200
        assert stale.headers["etag"] != old
        assert (await get(edge, range="bytes=0-9", if_range="Wed, 21 Oct 2026 07:28:00 GMT")).status == 200


async def test_head_says_what_get_would(open_node: OpenNode) -> None:
    async with open_node() as edge:
        await record(edge, stored=False)
        for query in ("", "?format=flac"):
            head = await call(
                edge.asgi_app, "HEAD", f"/v1/sessions/s/audio{query}", headers={"range": "bytes=0-1"}
            )
            full = await get(edge, query)
            assert (head.status, head.body) == (200, b"")
            for name in ("content-type", "x-missing-seconds", "etag", "accept-ranges"):
                assert head.headers.get(name) == full.headers.get(name)
        head = await call(edge.asgi_app, "HEAD", "/v1/sessions/s/audio")
        assert head.headers["content-length"] == str(SIZE)


async def test_streams_are_files_of_their_own(open_node: OpenNode) -> None:
    async with open_node() as edge:
        async with connect(edge, "s", "teacher") as peer:
            await peer.send_chunk(1)
            await peer.answer()
        assert (await get(edge, "?stream=teacher")).body[44:] == second(1)
        absent = await get(edge)
        assert (absent.status, absent.json()["code"]) == (404, "stream_not_found")
        assert absent.json()["streams"] == ["teacher"]
        assert (await get(edge, "?stream=Teacher")).json()["code"] == "invalid_stream"
        assert (await get(edge, "?format=mp3")).json()["code"] == "invalid_query"
        chunks = "/v1/sessions/s/chunks"
        assert (await call(edge.asgi_app, "GET", f"{chunks}/1?stream=teacher")).body == second(1)
        assert (await call(edge.asgi_app, "GET", f"{chunks}/1")).json()["code"] == "chunk_not_found"
        for seq in ("0", "-1", "x", "1.0", str(2**31), "%EF%BC%91"):
            assert (await call(edge.asgi_app, "GET", f"{chunks}/{seq}")).json()["code"] == "invalid_query"


async def test_audio_over_4_gib_is_refused_at_once(open_node: OpenNode) -> None:
    """A client may leave gaps of a day: the file's length is bounded, not only what is held."""
    async with open_node() as edge:
        async with connect(edge, "s") as peer:
            for seq in (86_400, 134_217):
                await peer.send_chunk(seq)
                await peer.answer()
            assert (
                int((await call(edge.asgi_app, "HEAD", "/v1/sessions/s/audio")).headers["content-length"])
                > 2**31
            )
            late = await get(edge, range="bytes=-32000")
            assert late.body == second(134_217)
            await peer.send_chunk(134_218)
            await peer.answer()
        for query in ("", "?format=flac"):
            answer = await get(edge, query)
            assert (answer.status, answer.json()["code"]) == (413, "audio_too_large")
    assert struct.unpack("<I", late.body[:4]) == (134_217,)


async def test_a_store_that_fails_is_an_answer_not_a_broken_file(open_node: OpenNode) -> None:
    async with open_node() as edge:
        await record(edge)
        await edge.parts.backend.aclose()
        for name in ("audio", "audio?format=flac", "chunks/1"):
            answer = await call(edge.asgi_app, "GET", f"/v1/sessions/s/{name}")
            assert (answer.status, answer.json()["code"]) == (503, "storage_unavailable")
            assert int(answer.headers["retry-after"]) >= 1


async def test_downloads_that_nobody_reads_are_bounded_and_end_with_their_request(
    open_node: OpenNode,
) -> None:
    async with open_node() as edge:
        await record(edge, stored=False)
        started = 0
        all_started = trio.Event()

        async def stall(query: bytes) -> None:
            scope = {
                "type": "http",
                "asgi": {"version": "3.0"},
                "http_version": "1.1",
                "method": "GET",
                "scheme": "http",
                "path": "/v1/sessions/s/audio",
                "raw_path": b"/v1/sessions/s/audio",
                "query_string": query,
                "headers": [(b"host", b"localhost")],
            }

            async def receive() -> None:
                await trio.sleep_forever()

            async def send(message: dict[str, Any]) -> None:
                nonlocal started
                if message["type"] == "http.response.body":
                    started += 1
                    if started == MAX_DOWNLOADS:
                        all_started.set()
                    await trio.sleep_forever()

            await edge.asgi_app(scope, receive, send)

        async with trio.open_nursery() as nursery:
            for i in range(MAX_DOWNLOADS):
                nursery.start_soon(stall, b"format=flac" if i % 2 else b"")
            with trio.fail_after(PATIENCE):
                await all_started.wait()
            busy = await get(edge)
            assert (busy.status, busy.json()["code"]) == (503, "downloads_busy")
            nursery.cancel_scope.cancel()
        gc.collect()  # a generator that was left open would warn here
        assert (await get(edge)).status == 200
