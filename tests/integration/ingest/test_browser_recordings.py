"""Recordings over the browser dialect: what was received is in the record, byte for byte, however it came and
whatever ended the socket (contract stream.md).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
import trio.testing

from asgi_calls import call
from browser_clients import recording
from interview_edge.app import Edge
from interview_edge.core.models import AckLevel, StreamKey
from interview_edge.core.pcm import CHUNK_BYTES, CHUNK_SAMPLES
from interview_edge.journal import JournalFull
from interview_edge.sessions.session import Session
from interview_edge.wire import browser_dialect
from nodes import PATIENCE, OpenNode, connect, nodes_in, second
from storage_faults import hold_commits

# So soft that no voice detection finds anything in it, and nowhere the same.
AUDIO = bytes(byte for n in Random(7).choices(range(16), k=5 * CHUNK_SAMPLES + 6_173) for byte in (n, 0))


async def stored(edge: Edge, session_id: str) -> bytes:
    """The session's audio as anybody gets it, without the WAV's header."""
    answer = await call(edge.asgi_app, "GET", f"/v1/sessions/{session_id}/audio")
    assert answer.status == 200, answer.body
    assert answer.headers["x-missing-seconds"] == "0"
    return answer.body[44:]


async def events(edge: Edge, session_id: str, *types: str) -> list[dict[str, Any]]:
    found = await edge.parts.catalog.events(session_id, limit=1_000, types=types)
    return [event.to_wire() for event in found]


def padded(pcm: bytes) -> bytes:
    """With the begun second filled up."""
    return pcm + bytes(-len(pcm) % CHUNK_BYTES)


async def until_no_socket(edge: Edge, session_id: str) -> Session:
    session = edge.registry.live(session_id)
    assert session is not None
    with trio.fail_after(PATIENCE):
        while session.sockets:
            await trio.sleep(0.001)
    return session


async def until_closed(edge: Edge, session_id: str) -> None:
    """Until no socket holds the session and all of it is journalled."""
    session = await until_no_socket(edge, session_id)
    with trio.fail_after(PATIENCE):
        await session.settle()


# -- what comes is what is there


@pytest.mark.parametrize("piece", [2, 640, 4_098, 31_998, CHUNK_BYTES])
async def test_pieces_of_any_length_are_there_byte_for_byte(open_node: OpenNode, piece: int) -> None:
    audio = AUDIO[: 400 * piece]
    async with open_node() as edge, recording(edge) as client:
        session_id = await client.start()
        await client.record(audio, piece)
        (*_, ack) = await client.end()
        assert ack["receivedChunks"] == -(-len(audio) // piece)
        assert await stored(edge, session_id) == padded(audio)


@pytest.mark.parametrize("level", AckLevel)
async def test_the_end_s_ack_means_what_the_node_s_level_says(open_node: OpenNode, level: AckLevel) -> None:
    async with open_node(ack=level) as edge, recording(edge) as client:
        await client.start("s")
        await client.record(AUDIO)
        await client.end()
        extents = await edge.parts.catalog.extents(StreamKey("s"), 1, 6)
        assert sum(extent.last - extent.first + 1 for extent in extents) == (
            6 if level is AckLevel.BACKEND else 0
        )
        await edge.registry.live("s").settle()
        assert await stored(edge, "s") == padded(AUDIO)


async def test_silence_that_fills_up_a_second_is_in_the_record(open_node: OpenNode) -> None:
    async with open_node() as edge, recording(edge) as client:
        session_id = await client.start("named")
        assert session_id == "named"
        await client.record(AUDIO)
        await client.end()
        session = edge.registry.live("named")
        assert session is not None
        await session.settle()
        (padding,) = await events(edge, "named", "padded")
        assert (padding["seq"], padding["samples"], padding["stream"]) == (6, 16_000 - 6_173, "mixed")


async def test_a_recording_of_nothing_stores_nothing(open_node: OpenNode) -> None:
    async with open_node() as edge, recording(edge) as client:
        session_id = await client.start()
        await client.audio(b"")
        (ack,) = await client.end()
        assert ack["receivedChunks"] == 1
        assert edge.registry.live(session_id).status().received_chunks == 0


async def test_a_second_recording_goes_on_where_the_first_rested(open_node: OpenNode) -> None:
    first, then = AUDIO[:40_000], AUDIO[40_000:90_000]
    async with open_node() as edge, recording(edge) as client:
        session_id = await client.start()
        await client.record(first)
        await client.end()
        assert await client.start() == session_id
        await client.record(then)
        (*_, ack) = await client.end()
        assert ack["receivedChunks"] == 2
        assert await stored(edge, session_id) == padded(first) + padded(then)


async def test_a_start_inside_a_recording_is_the_end_of_that_one(open_node: OpenNode) -> None:
    async with open_node() as edge, recording(edge) as client:
        session_id = await client.start()
        await client.record(AUDIO[:5_000])
        assert await client.start(session_id) == session_id
        await client.record(AUDIO[5_000:9_000])
        await client.end()
        assert await stored(edge, session_id) == padded(AUDIO[:5_000]) + padded(AUDIO[5_000:9_000])


async def test_another_socket_goes_on_after_a_restart_too(tmp_path: Path) -> None:
    nodes = nodes_in(tmp_path)
    async with nodes() as edge, recording(edge) as client:
        session_id = await client.start()
        await client.record(AUDIO[:70_000])
        await client.end()
    async with nodes() as edge, recording(edge) as client:
        assert await client.start(session_id) == session_id
        await client.record(AUDIO[70_000:])
        await client.end()
        assert await stored(edge, session_id) == padded(AUDIO[:70_000]) + padded(AUDIO[70_000:])
        assert edge.registry.live(session_id).status().duplicate_chunks == 0


async def test_a_client_of_the_chunk_dialect_loses_nothing_to_it(open_node: OpenNode) -> None:
    """Who numbers for himself may be ahead, before a recording and while it goes on."""
    async with open_node() as edge, connect(edge, "s") as other, recording(edge) as client:
        await other.send_chunk(3)
        await other.answer()
        await client.start("s")
        await client.audio(second(50))
        await client.ping()
        await other.send_chunk(5)
        assert (await other.answer())["status"] == "stored"
        await client.audio(second(60))
        await client.end()
        for seq, pcm in {3: second(3), 4: second(50), 5: second(5), 6: second(60)}.items():
            assert await edge.parts.reader.chunk(edge.registry.live("s").streams["mixed"].key, seq) == pcm


# -- whatever ends the socket


@pytest.mark.parametrize("length", [2, 31_998, CHUNK_BYTES, CHUNK_BYTES + 2, len(AUDIO)])
async def test_a_client_that_is_gone_in_mid_second_loses_nothing(open_node: OpenNode, length: int) -> None:
    async with open_node() as edge:
        async with recording(edge) as client:
            session_id = await client.start()
            await client.record(AUDIO[:length], 9_000)
        await until_closed(edge, session_id)
        assert await stored(edge, session_id) == padded(AUDIO[:length])


async def test_a_task_that_is_cancelled_loses_nothing(open_node: OpenNode) -> None:
    """As under other ASGI servers, where a disconnect cancels the handler."""
    async with open_node() as edge:
        async with trio.open_nursery() as nursery:
            connected = trio.Event()

            async def be_connected() -> None:
                async with recording(edge) as client:
                    await client.start("s")
                    await client.record(AUDIO, 9_000)
                    await client.ping()
                    connected.set()
                    await trio.sleep_forever()

            nursery.start_soon(be_connected)
            await connected.wait()
            nursery.cancel_scope.cancel()
        await until_closed(edge, "s")
        assert await stored(edge, "s") == padded(AUDIO)


async def test_a_task_that_is_cancelled_while_the_disk_is_behind_loses_nothing(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(max_in_flight=1) as edge:
        go_on = hold_commits(edge, monkeypatch)

        async def be_freed() -> None:
            await trio.testing.wait_all_tasks_blocked()
            go_on.set()

        async with (
            trio.open_nursery() as disk,
            trio.open_nursery() as nursery,
            recording(edge) as client,
        ):
            await client.start("s")
            await client.record(AUDIO[: 2 * CHUNK_BYTES])
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            disk.start_soon(be_freed)
        await until_closed(edge, "s")
        assert await stored(edge, "s") == padded(AUDIO[: 2 * CHUNK_BYTES])


async def test_a_drain_keeps_all_that_was_received_and_closes_1012(tmp_path: Path) -> None:
    nodes = nodes_in(tmp_path)
    async with nodes() as edge, recording(edge) as client:
        await client.start("s")
        await client.record(AUDIO, 9_000)
        await client.ping()
        await edge.drain(1)
        assert await client.closed_with() == (1012, "draining")
    async with nodes() as edge:
        assert await stored(edge, "s") == padded(AUDIO)


async def test_what_came_along_with_the_drain_is_kept_too(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces that were read in one go, the first of which waits for the disk."""
    async with open_node(max_in_flight=1) as edge:
        go_on = hold_commits(edge, monkeypatch)
        async with recording(edge) as client:
            await client.start("s")
            await client.record(AUDIO)
            await trio.testing.wait_all_tasks_blocked()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(edge.drain, 5.0)
                await trio.testing.wait_all_tasks_blocked()
                go_on.set()
            assert await client.closed_with() == (1012, "draining")
        await until_closed(edge, "s")
        assert await stored(edge, "s") == padded(AUDIO)


async def test_a_fault_loses_nothing_that_was_received(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node() as edge:
        async with recording(edge) as client:
            await client.start("s")
            await client.record(AUDIO[:9_000])
            await client.ping()

            def broken(*_: object, **__: object) -> None:
                raise RuntimeError("a defect")

            monkeypatch.setattr(browser_dialect, "decode", broken)
            await client.audio(b"")
            assert await client.closed_with() == (1011, "internal")
        await until_closed(edge, "s")
        assert await stored(edge, "s") == padded(AUDIO[:9_000])


async def test_what_was_acked_survives_a_crash(tmp_path: Path) -> None:
    """The crash: the disk is copied after the ack, and a node started on the copy."""
    async with nodes_in(tmp_path / "before")() as edge, recording(edge) as client:
        await client.start("s")
        await client.record(AUDIO)
        await client.end()
        shutil.copytree(tmp_path / "before", tmp_path / "after")
    async with nodes_in(tmp_path / "after")() as edge:
        assert await stored(edge, "s") == padded(AUDIO)


# -- a session has one recording at a time


async def test_a_new_socket_takes_over_from_one_that_was_left_behind(open_node: OpenNode) -> None:
    async with open_node() as edge, recording(edge) as old, recording(edge) as new:
        await old.start("s")
        await old.record(AUDIO[:50_000])
        await old.ping()
        old.reads = trio.Event()  # half open: it reads nothing any more
        await new.start("s")
        await new.record(AUDIO[50_000:80_000])
        await new.end()
        assert await stored(edge, "s") == padded(AUDIO[:50_000]) + padded(AUDIO[50_000:80_000])
        old.reads.set()
        assert (await old.answer())["code"] == "recorded_elsewhere"
        assert await old.closed_with() == (1008, "recorded_elsewhere")


async def test_nothing_follows_a_final_chunk(open_node: OpenNode) -> None:
    async with open_node() as edge, connect(edge, "s") as other, recording(edge) as client:
        await other.send_chunk(1, b"\1\0", final=True)
        await other.answer()
        await client.send_json(type="audio_stream_start", session_id="s")
        assert (await client.answer())["code"] == "stream_ended"
        await client.audio(AUDIO[:10])
        assert (await client.answer())["code"] == "stream_not_started"


async def test_a_stream_that_is_ended_while_it_is_recorded_ends_the_socket(open_node: OpenNode) -> None:
    async with open_node() as edge, connect(edge, "s") as other, recording(edge) as client:
        await client.start("s")
        await other.send_chunk(1, final=True)
        await other.answer()
        await client.audio(second(9))
        assert (await client.answer())["code"] == "stream_ended"
        assert await client.closed_with() == (1008, "stream_ended")


async def test_a_socket_is_of_one_session(open_node: OpenNode) -> None:
    async with open_node() as edge, recording(edge) as client:
        await client.start("one")
        await client.send_json(type="audio_stream_start", session_id="two")
        answer = await client.answer()
        assert (answer["code"], answer["detail"]) == (
            "invalid_field",
            "frame.session_id must be the session of this socket",
        )
        assert edge.registry.live("two") is None


async def test_a_deleted_session_takes_none(open_node: OpenNode) -> None:
    async with open_node() as edge, recording(edge) as client:
        async with edge.registry.use("s"):
            pass
        assert (await call(edge.asgi_app, "DELETE", "/v1/sessions/s")).status == 200
        await client.send_json(type="audio_stream_start", session_id="s")
        assert (await client.answer())["code"] == "session_deleted"
        assert await client.closed_with() == (4410, "session_deleted")


# -- a disk that is slow, or full


async def test_the_end_is_acked_when_all_of_it_is_journalled(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node() as edge:
        go_on = hold_commits(edge, monkeypatch)
        async with recording(edge) as client:
            await client.start("s")
            await client.record(AUDIO)
            await client.send_json(type="audio_stream_end")
            assert await client.ping() == []  # it is answered meanwhile
            go_on.set()
            assert (await client.answer())["type"] == "audio_stream_end_ack"
            assert edge.registry.live("s").status().received_chunks == 6


async def test_a_start_waits_for_the_end_before_it(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node() as edge:
        go_on = hold_commits(edge, monkeypatch)
        async with recording(edge) as client:
            await client.start("s")
            await client.record(AUDIO)
            await client.send_json(type="audio_stream_end")
            await client.send_json(type="audio_stream_start")
            await trio.testing.wait_all_tasks_blocked()
            go_on.set()
            assert (await client.answer())["type"] == "audio_stream_end_ack"
            assert (await client.answer())["type"] == "audio_stream_start_ack"


async def test_a_journal_that_is_behind_stops_the_reading(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(max_in_flight=2) as edge:
        go_on = hold_commits(edge, monkeypatch)
        async with recording(edge) as client:
            await client.start("s")
            await client.record(AUDIO)
            await client.send_json(type="ping")
            await trio.testing.wait_all_tasks_blocked()
            assert set(edge.registry.live("s").streams["mixed"].pending) == {1, 2}
            go_on.set()
            assert (await client.answer())["type"] == "pong"
            await client.end()
        assert await stored(edge, "s") == padded(AUDIO)


async def test_after_the_deadline_it_closes_1013_and_what_was_received_is_kept(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(storage_timeout=0.2) as edge:
        go_on = hold_commits(edge, monkeypatch)
        async with recording(edge) as client:
            await client.start("s")
            await client.record(AUDIO)
            assert (await client.answer())["code"] == "storage_unavailable"
            assert await client.closed_with() == (1013, "storage_unavailable")
        go_on.set()
        await until_closed(edge, "s")
        assert await stored(edge, "s") == padded(AUDIO)


async def test_a_full_disk_is_waited_for(open_node: OpenNode, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_node(journal_retry_interval=0.001) as edge, recording(edge) as client:
        await client.start("s")
        with monkeypatch.context() as full:
            refused = trio.Event()

            def refuse(*_: object) -> None:
                refused.set()
                raise JournalFull("the disk is full")

            full.setattr(edge.parts.journal, "append", refuse)
            await client.record(AUDIO)
            await refused.wait()
        await client.end()
        assert await stored(edge, "s") == padded(AUDIO)


async def test_a_disk_that_stays_full_closes_1013(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node(in_flight_timeout=0.02, close_timeout=0.02) as edge:

        def refuse(*_: object) -> None:
            raise JournalFull("the disk is full")

        async with recording(edge) as client:
            await client.start("s")
            monkeypatch.setattr(edge.parts.journal, "append", refuse)
            await client.record(AUDIO[: CHUNK_BYTES + 500])
            assert (await client.answer())["code"] == "storage_unavailable"
            assert await client.closed_with() == (1013, "storage_unavailable")


# -- garbage


async def test_garbage_of_every_kind_leaves_the_recording_whole(open_node: OpenNode) -> None:
    bad: list[tuple[Any, str]] = [
        (b"{", "frame_not_json"),
        (b"\xff\xfe", "frame_not_json"),
        (b"[1]", "frame_not_object"),
        (b'{"type":"audio"}', "unsupported_type"),
        (b'{"type":"audio_chunk"}', "content_required"),
        (b'{"type":"audio_chunk","data":"%%%"}', "invalid_base64"),
        (b'{"type":"audio_chunk","data":"AAEC"}', "chunk_length"),
        (b'{"type":"audio_stream_start","session_id":""}', "invalid_field"),
    ]
    async with open_node() as edge, recording(edge) as client:
        await client.start("s")
        for n, (message, code) in enumerate(bad):
            await client.audio(AUDIO[5_000 * n : 5_000 * (n + 1)])
            await client.send_text(message)
            answer = await client.answer()
            assert set(answer) == {"type", "code", "detail"}
            assert answer["code"] == code
        await client.end()
        assert await stored(edge, "s") == padded(AUDIO[: 5_000 * len(bad)])


async def test_audio_with_a_bad_mark_is_kept(open_node: OpenNode) -> None:
    async with open_node() as edge, recording(edge) as client:
        await client.start("s")
        await client.send_text(b'{"type":"audio_chunk","data":"AAECAw==","vad_state":"begin"}')
        assert (await client.answer())["code"] == "invalid_field"
        await client.end()
        assert await stored(edge, "s") == padded(b"\0\1\2\3")


@pytest.mark.parametrize("frame", [{"type": "audio_stream_end"}, {"type": "audio_chunk", "data": "AAA="}])
async def test_before_a_start_there_is_nothing_to_record(open_node: OpenNode, frame: dict[str, str]) -> None:
    async with open_node() as edge, recording(edge) as client:
        await client.send_json(**frame)
        assert (await client.answer())["code"] == "stream_not_started"
        await client.start()


async def test_a_second_auth_is_answered(open_node: OpenNode) -> None:
    async with open_node() as edge, recording(edge) as client:
        await client.send_json(type="auth", ticket="any")
        assert (await client.answer())["type"] == "auth_success"


async def test_a_client_that_reads_nothing_is_closed(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interview_edge.web.text_queue.MAX_WAITING", 4)
    async with open_node(in_flight_timeout=0.02) as edge, recording(edge) as client:
        await client.start("s")
        await client.audio(AUDIO[:500])
        client.reads = trio.Event()
        for _ in range(10):
            await client.send_json(type="ping")
        with trio.fail_after(PATIENCE):
            while edge.registry.live("s").status().received_chunks == 0:
                await trio.sleep(0.001)
        client.reads.set()
        assert await client.closed_with() == (1013, "slow_reader")


async def test_the_socket_counts_as_open_for_its_session(open_node: OpenNode) -> None:
    async with open_node() as edge:
        async with recording(edge) as client:
            await client.start("s")
            assert (await call(edge.asgi_app, "DELETE", "/v1/sessions/s")).status == 409
        await until_closed(edge, "s")
        assert len(edge.sockets) == 0


async def test_a_start_that_is_cut_off_leaves_the_stream_to_the_next(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node() as edge, edge.registry.use("s") as session:
        resting, go_on = trio.Event(), trio.Event()

        async def slow(_stream: str) -> None:
            resting.set()
            await go_on.wait()

        with monkeypatch.context() as patched:
            patched.setattr(session, "rest", slow)
            async with trio.open_nursery() as nursery, recording(edge) as client:
                await client.send_json(type="audio_stream_start", session_id="s")
                await resting.wait()
                nursery.cancel_scope.cancel()
        await until_no_socket(edge, "s")
        assert session.streams["mixed"].recording is None
        async with recording(edge) as client:
            await client.start("s")


async def test_an_ear_that_fails_keeps_nobody_from_starting(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_stream: str) -> None:
        raise RuntimeError("the VAD broke")

    async with open_node() as edge, edge.registry.use("s") as session, recording(edge) as client:
        monkeypatch.setattr(session, "rest", broken)
        await client.start("s")


async def test_a_second_that_is_refused_after_all_ends_the_socket(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the journal closes before its commit."""
    async with open_node(close_timeout=0.02) as edge, recording(edge) as client:
        await client.start("s")

        async def closing(_batch: object) -> None:
            return None

        monkeypatch.setattr(edge.parts.journal, "_insert", closing)
        await client.audio(AUDIO[:CHUNK_BYTES])
        assert (await client.answer())["code"] == "storage_unavailable"
        assert await client.closed_with() == (1013, "storage_unavailable")
