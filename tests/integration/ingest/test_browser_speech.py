"""Speech in recordings of the browser dialect, by the client's marks or the server's ear: told, in the
record, and handed to whoever transcribes (contract stream.md, VAD semantics).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import soundfile
import trio
import trio.testing

from browser_clients import BrowserClient, ListeningScribe, recording
from interview_edge.app import Edge
from interview_edge.catalog.protocol import CatalogUnavailable
from interview_edge.core.declared_utterances import MAX_SAMPLES, VadState
from interview_edge.core.pcm import CHUNK_BYTES, SAMPLE_RATE
from interview_edge.speech.pipeline import StreamVad
from interview_edge.speech.vad import WebRtcVad
from nodes import PATIENCE, OpenNode, connect, second

START, END = VadState.START, VadState.END
TRIGGER, DROP = VadState.CACHE_ASR_TRIGGER, VadState.CACHE_ASR_DROP
MS = 32  # bytes of audio


@pytest.fixture(scope="module")
def speech() -> bytes:
    """The recording that the package ships."""
    path = next((Path(__file__).parents[3] / "src/interview_edge/cli/demo_audio").glob("*.flac"))
    samples, rate = soundfile.read(path, dtype="int16")
    assert rate == SAMPLE_RATE
    pcm: bytes = samples.astype("<i2").tobytes()
    return pcm


async def spoken(edge: Edge, session_id: str = "s") -> list[dict[str, Any]]:
    """The session's speech events, all of them committed."""
    session = edge.registry.live(session_id)
    assert session is not None
    await session.settle()
    found = await edge.parts.catalog.events(session_id, limit=1_000, types=("speech_started", "speech_ended"))
    return [event.to_wire() for event in found]


def types(said: list[dict[str, Any]]) -> list[str]:
    return [frame["type"] for frame in said]


# -- the server's ear


async def test_without_marks_the_server_tells_where_speech_is(open_node: OpenNode, speech: bytes) -> None:
    vad = StreamVad(WebRtcVad(2, 30))
    whole = speech + bytes(-len(speech) % CHUNK_BYTES)
    expected = len(vad.hear(whole) + vad.flush())
    async with open_node() as edge, recording(edge) as client:
        await client.start("s")
        await client.record(speech, 4_000)
        *said, ack = await client.end()
        assert ack["type"] == "audio_stream_end_ack"  # after the last utterance's end
        told = [kind for kind in types(said) if kind.startswith("vad_")]
        assert told == ["vad_cache_start", "vad_cache_end"] * (expected // 2)
        assert len(await spoken(edge)) == expected
        assert all("source" not in event for event in await spoken(edge))


async def test_that_nobody_transcribes_is_said_once(open_node: OpenNode, speech: bytes) -> None:
    async with open_node() as edge, recording(edge) as client:
        await client.start("s")
        await client.record(speech)
        said = await client.end()
        await client.start("s")
        await client.record(speech)
        said += await client.end()
        assert types(said).count("vad_cache_end") > 1
        (error,) = (frame for frame in said if frame["type"] == "transcription_error")
        assert error["error"] == "no transcription provider is configured; audio is stored"
        assert said[said.index(error) - 1]["type"] == "vad_cache_end"
        first = next(event for event in await spoken(edge) if event["type"] == "speech_ended")
        assert error["utterance_id"] == f"mixed-{first['utterance']}"


async def test_another_stream_s_speech_isn_t_told(open_node: OpenNode, speech: bytes) -> None:
    async with open_node() as edge, connect(edge, "s", "teacher") as other, recording(edge) as client:
        await client.start("s")
        for seq in range(1, 7):
            await other.send_chunk(seq, speech[(seq - 1) * CHUNK_BYTES : seq * CHUNK_BYTES])
        await other.answers(6)
        assert await spoken(edge)
        assert await client.ping() == []


async def test_the_end_of_a_recording_leaves_other_streams_speech_open(
    open_node: OpenNode, speech: bytes
) -> None:
    """Somebody talks on in the other channel."""
    async with open_node() as edge, connect(edge, "s", "teacher") as other, recording(edge) as client:
        await client.start("s")
        await other.send_chunk(1, speech[3 * CHUNK_BYTES : 4 * CHUNK_BYTES])
        await other.answer()
        with trio.fail_after(PATIENCE):
            while not edge.registry.live("s").event_count:
                await trio.sleep(0.001)
        await client.end()
        found = await edge.parts.catalog.events("s")
        assert [(event.type, event.stream) for event in found] == [("speech_started", "teacher")]


async def test_the_ear_failing_withholds_no_ack(open_node: OpenNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the VAD broke")

    async with open_node(retry_initial=0.001, close_timeout=0.02) as edge, recording(edge) as client:
        await client.start("s")
        monkeypatch.setattr(StreamVad, "hear", broken)
        await client.record(second(1))
        assert types(await client.end()) == ["audio_stream_end_ack"]


# -- the client's marks


async def test_marks_are_told_and_in_the_record(open_node: OpenNode) -> None:
    async with open_node() as edge, recording(edge) as client:
        await client.start("s")
        await client.audio(bytes(1_000 * MS))
        await client.audio(bytes(500 * MS), START, -300)
        await client.audio(bytes(500 * MS))
        await client.audio(bytes(500 * MS), END, 200)
        said = await client.ping()
        assert types(said) == ["vad_cache_start", "vad_cache_end", "transcription_error"]
        started, ended = await spoken(edge)
        for event in (started, ended):
            assert (event["source"], event["utterance"], event["stream"]) == ("client", 1, "mixed")
            assert (event["start_sample"], event["start_ms"]) == (11_200, 700)
            assert event["utterance_id"] == said[-1]["utterance_id"]
        assert (ended["end_sample"], ended["end_ms"], ended["reason"]) == (35_200, 2_200, "client")


async def test_positions_count_from_the_start_of_the_stream(open_node: OpenNode) -> None:
    """And the clock from the start of the recording: pre-roll reaches back no further."""
    async with open_node() as edge, recording(edge) as client:
        await client.start("s")
        await client.record(bytes(2_500 * MS))
        await client.end()
        await client.start("s")
        await client.audio(bytes(500 * MS), START, -9_999)
        await client.end()
        started, ended = await spoken(edge)
        assert started["start_sample"] == 3 * SAMPLE_RATE
        assert (ended["end_sample"], ended["reason"]) == (3 * SAMPLE_RATE + 8_000, "stream_end")


async def test_with_the_first_mark_the_server_s_ear_falls_silent(open_node: OpenNode, speech: bytes) -> None:
    async with open_node() as edge, recording(edge) as client:
        await client.start("s")
        await client.record(speech[: 4 * CHUNK_BYTES])
        assert (await client.answer())["type"] == "vad_cache_start"
        await client.audio(b"", START)
        said = await client.ping()
        assert types(said)[:2] == ["vad_cache_end", "vad_cache_start"]
        await client.record(speech[4 * CHUNK_BYTES :])
        *said, _ = await client.end()
        assert types(said) == ["vad_cache_end", "transcription_error"]
        heard = [event for event in await spoken(edge) if "source" not in event]
        assert len(heard) > 2  # it stays in the record


async def test_the_end_of_the_socket_ends_what_is_open(open_node: OpenNode) -> None:
    async with open_node() as edge:
        async with recording(edge) as client:
            await client.start("s")
            await client.audio(bytes(600), START)
        with trio.fail_after(PATIENCE):
            while edge.registry.live("s").sockets:
                await trio.sleep(0.001)
        assert [event.get("reason") for event in await spoken(edge)] == [None, "stream_end"]


async def test_a_finalize_has_them_all(open_node: OpenNode) -> None:
    async with open_node() as edge, recording(edge) as client, edge.session("s") as session:
        await client.start("s")
        await client.audio(bytes(CHUNK_BYTES), START)
        await client.audio(b"", END)
        await client.ping()
        await session.finalize()
        assert len(await edge.parts.catalog.events("s", types=("speech_started", "speech_ended"))) == 2


async def test_a_catalog_that_is_away_delays_nothing_and_loses_none(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interview_edge.sessions.declared_events.MAX_WAITING", 4)
    async with open_node(retry_initial=0.001) as edge, recording(edge) as client:
        await client.start("s")

        async def down(*_: object, **__: object) -> None:
            raise CatalogUnavailable("down")

        with monkeypatch.context() as outage:
            outage.setattr(edge.parts.catalog, "append_events", down)
            for _ in range(2):
                await client.audio(bytes(640), START)
                await client.audio(bytes(640), END)
            said = await client.ping()
            assert "error" not in types(said)
            await client.audio(bytes(640), START)  # one more than are kept
            error = (await client.ping())[0]
            assert (error["code"], error["detail"]) == (
                "catalog_unavailable",
                "the utterance is missing in the session's events; its audio is stored",
            )
        assert len(await spoken(edge)) == 4
        assert [event["seq_no"] for event in await spoken(edge)] == [1, 2, 3, 4]


# -- whoever transcribes


async def scribed(edge: Edge, act: Any) -> ListeningScribe:
    """What a scribe was asked for by a recording in which the client acts."""
    scribe = ListeningScribe()
    scribe.may_settle.set()
    async with recording(edge, make_scribe=lambda *_: scribe) as client:
        await client.start("s")
        await act(client)
        await client.end()
    return scribe


async def test_a_scribe_gets_the_utterance_to_the_sample(open_node: OpenNode) -> None:
    """Over the edges of seconds, before the last of them is whole, and after all was uploaded."""
    audio = b"".join(second(seq) for seq in range(1, 5))

    async with open_node() as edge:
        scribe = ListeningScribe()
        scribe.may_settle.set()
        async with recording(edge, make_scribe=lambda *_: scribe) as client:
            await client.start("s")
            await client.audio(audio[: 900 * MS])
            await client.audio(audio[900 * MS : 1_300 * MS], START, -100)
            await client.audio(audio[1_300 * MS : 2_200 * MS])
            await client.audio(audio[2_200 * MS : 2_700 * MS], END, 450, prompt="names")
            await client.ping()
            (utterance,) = scribe.utterances
            assert (utterance.start, utterance.end, utterance.prompt) == (800 * 16, 2_650 * 16, "names")
            assert await utterance.read() == audio[800 * MS : 2_650 * MS]
            await client.audio(audio[2_700 * MS : 3_600 * MS])
            await client.end()
            edge.registry.live("s").streams["mixed"].window.evict()
            assert await utterance.read() == audio[800 * MS : 2_650 * MS]


async def test_prefetches_are_asked_for_dropped_and_reused(open_node: OpenNode) -> None:
    async def act(client: BrowserClient) -> None:
        await client.audio(bytes(500 * MS), START)
        await client.audio(bytes(100 * MS), TRIGGER)
        await client.audio(bytes(100 * MS), DROP)
        await client.audio(bytes(100 * MS), TRIGGER)
        await client.audio(bytes(500 * MS), END)
        await client.audio(b"", START)  # of nothing
        await client.audio(b"", END)

    async with open_node() as edge:
        scribe = await scribed(edge, act)
        assert [what for what, _ in scribe.asked] == ["prefetch", "drop", "prefetch", "reuse"]
        assert len({utterance_id for _, utterance_id in scribe.asked}) == 1
        assert [(u.start, u.end) for u in scribe.utterances] == [(0, 9_600), (0, 12_800), (0, 20_800)]


async def test_what_was_said_after_the_prefetch_is_transcribed(open_node: OpenNode, speech: bytes) -> None:
    async def act(client: BrowserClient) -> None:
        await client.audio(speech[2 * CHUNK_BYTES : 3 * CHUNK_BYTES], START)
        await client.audio(b"", TRIGGER)
        await client.audio(speech[3 * CHUNK_BYTES : 4 * CHUNK_BYTES])
        await client.audio(b"", END)

    async with open_node() as edge:
        scribe = await scribed(edge, act)
        assert [what for what, _ in scribe.asked] == ["prefetch", "drop", "finish"]


async def test_long_speech_comes_in_pieces_that_join(open_node: OpenNode, speech: bytes) -> None:
    long = (speech * (40 * CHUNK_BYTES // len(speech) + 1))[: 40 * CHUNK_BYTES]

    async def act(client: BrowserClient) -> None:
        await client.audio(b"", START)
        await client.record(long)
        await client.audio(b"", END)

    async with open_node() as edge:
        scribe = await scribed(edge, act)
        one, two = scribe.utterances
        assert MAX_SAMPLES // 2 <= one.end <= MAX_SAMPLES
        assert await one.read() + await two.read() == long
        assert one.utterance_id != two.utterance_id


async def test_the_server_s_utterances_are_handed_on_too(open_node: OpenNode, speech: bytes) -> None:
    async def act(client: BrowserClient) -> None:
        await client.record(speech)

    async with open_node() as edge:
        scribe = await scribed(edge, act)
        ended = [event for event in await spoken(edge) if event["type"] == "speech_ended"]
        assert [(u.utterance_id, u.start, u.end) for u in scribe.utterances] == [
            (f"mixed-{e['utterance']}", e["start_sample"], e["end_sample"]) for e in ended
        ]
        first = scribe.utterances[0]
        assert await first.read() == speech[2 * first.start : 2 * first.end]


async def test_the_end_s_ack_waits_for_the_last_transcript(open_node: OpenNode) -> None:
    scribe = ListeningScribe()
    async with open_node() as edge, recording(edge, make_scribe=lambda *_: scribe) as client:
        await client.start("s")
        await client.send_json(type="audio_stream_end")
        await trio.testing.wait_all_tasks_blocked()
        assert await client.ping() == []
        scribe.may_settle.set()
        assert (await client.answer())["type"] == "audio_stream_end_ack"
