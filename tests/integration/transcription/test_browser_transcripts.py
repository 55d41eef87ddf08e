"""Transcripts on the browser's socket: of the server's utterances and of the client's, and prefetches."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from browser_clients import BrowserClient, recording
from interview_edge.app import Edge
from interview_edge.core.declared_utterances import VadState
from interview_edge.core.models import NewEvent
from interview_edge.core.pcm import CHUNK_BYTES, SAMPLE_BYTES
from interview_edge.speech.transcriber import Failure, TranscriptionFailed
from nodes import OpenNode, second
from stenographer import Stenographer, ready

MS = 32
START, END, TRIGGER, DROP = VadState.START, VadState.END, VadState.CACHE_ASR_TRIGGER, VadState.CACHE_ASR_DROP
AUDIO = b"".join(second(seq) for seq in range(1, 4))


def results(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [frame for frame in said if frame["type"].startswith("transcription_")]


async def events_of(edge: Edge, *types: str) -> list[dict[str, Any]]:
    return [event.to_wire() for event in await edge.parts.catalog.events("s", limit=1_000, types=types)]


async def utter(client: BrowserClient) -> None:
    """An utterance from 0.5 to 2.2 s."""
    await client.audio(AUDIO[: 500 * MS])
    await client.audio(AUDIO[500 * MS : 1_400 * MS], START)
    await client.audio(AUDIO[1_400 * MS : 2_200 * MS], prompt="names")
    await client.audio(AUDIO[2_200 * MS : 3_000 * MS], END, 0)


async def test_a_client_s_utterance_becomes_a_result_and_an_event(open_node: OpenNode) -> None:
    pen = ready()
    async with open_node(transcriber=pen) as edge, recording(edge) as client:
        await client.start("s")
        await utter(client)
        said = results(await client.end())
        assert [frame["type"] for frame in said] == ["transcription_result"]
        (result,) = said
        assert result["text"] == f"{1_700 * MS} bytes"
        assert (result["speechStartTimeMs"], result["speechEndTimeMs"]) == (500, 2_200)
        assert result["is_prefetch"] is False
        assert result["performance"]["provider"] == "stenographer"
        assert result["performance"]["total_processing_ms"] >= 0
        assert pen.asked == [AUDIO[500 * MS : 2_200 * MS]]
        assert pen.prompts == ["names"]
        (event,) = await events_of(edge, "transcript")
        assert (event["source"], event["utterance_id"]) == ("client", result["utterance_id"])
        assert (event["start_ms"], event["end_ms"], event["text"]) == (500, 2_200, result["text"])
        # The server hears speech of its own there, or not; what the client declares isn't written twice.
        assert await edge.parts.catalog.untranscribed(limit=10) == []


async def test_a_prefetch_that_nothing_follows_is_the_final_text_and_nobody_is_asked_twice(
    open_node: OpenNode,
) -> None:
    pen = ready()
    async with open_node(transcriber=pen) as edge, recording(edge) as client:
        await client.start("s")
        await client.audio(AUDIO[: 1_000 * MS], START)
        await client.audio(b"", TRIGGER)
        await client.audio(b"", END)
        said = results(await client.end())
        assert [frame["is_prefetch"] for frame in said] == [True, False]
        assert said[0]["text"] == said[1]["text"] == f"{1_000 * MS} bytes"
        assert said[0]["utterance_id"] == said[1]["utterance_id"]
        assert len(pen.asked) == 1
        assert len(await events_of(edge, "transcript")) == 1


async def test_a_dropped_prefetch_says_nothing(open_node: OpenNode) -> None:
    pen = Stenographer()
    async with open_node(transcriber=pen) as edge, recording(edge) as client:
        await client.start("s")
        await client.audio(AUDIO[: 1_000 * MS], START)
        await client.audio(b"", TRIGGER)
        with trio.fail_after(5):
            while not pen.asked:
                await trio.sleep(0.001)
        await client.audio(b"", DROP)
        await client.ping()
        pen.go_on.set()
        await client.audio(AUDIO[1_000 * MS : 1_500 * MS], END)
        said = results(await client.end())
        assert [(frame["is_prefetch"], frame["text"]) for frame in said] == [(False, f"{1_500 * MS} bytes")]


async def test_a_provider_that_fails_is_said_and_the_audio_is_there(open_node: OpenNode) -> None:
    pen = ready()
    pen.answers.append(TranscriptionFailed(Failure.REFUSED, "the provider answered 401"))
    async with open_node(transcriber=pen) as edge, recording(edge) as client:
        await client.start("s")
        await utter(client)
        await utter(client)
        said = results(await client.end())
        assert [frame["type"] for frame in said] == ["transcription_error", "transcription_result"]
        assert (said[0]["error"], said[0]["details"]) == ("the provider answered 401", "refused")
        types = [event["type"] for event in await events_of(edge, "transcript", "transcript_failed")]
        assert types == ["transcript_failed", "transcript"]
        assert edge.registry.live("s").streams["mixed"].ledger.last_seq == 6


async def test_results_keep_the_order_of_utterances(open_node: OpenNode) -> None:
    pen = Stenographer()
    async with open_node(transcriber=pen) as edge, recording(edge) as client:
        await client.start("s")
        for _ in range(3):
            await utter(client)
        await client.ping()
        pen.go_on.set()
        said = results(await client.end())
        starts = [frame["speechStartTimeMs"] for frame in said]
        assert starts == [500, 3_500, 6_500]


async def test_the_server_s_own_utterances_come_as_results(open_node: OpenNode, speech: list[bytes]) -> None:
    pen = ready()
    async with open_node(transcriber=pen) as edge, recording(edge) as client:
        await client.start("s")
        for pcm in speech:
            await client.audio(pcm)
        said = results(await client.end())
        ended = await events_of(edge, "speech_ended")
        assert ended
        assert [(frame["utterance_id"], frame["speechEndTimeMs"]) for frame in said] == [
            (f"mixed-{event['utterance']}", event["end_ms"]) for event in ended
        ]
        whole = b"".join(speech)
        assert pen.asked == [
            whole[event["start_sample"] * SAMPLE_BYTES : event["end_sample"] * SAMPLE_BYTES]
            for event in ended
        ]
        assert len(await events_of(edge, "transcript")) == len(ended)


async def test_a_late_transcript_is_said_to_be_late_and_the_end_is_acked(
    open_node: OpenNode, speech: list[bytes]
) -> None:
    async with (
        open_node(transcriber=Stenographer(), transcription_wait=0.02) as edge,
        recording(edge) as client,
    ):
        await client.start("s")
        for pcm in speech:
            await client.audio(pcm)
        said = results(await client.end())
        assert said
        assert {frame["type"] for frame in said} == {"transcription_error"}
        assert {frame["details"] for frame in said} == {"timeout"}
        assert len(b"".join(speech)) == len(speech) * CHUNK_BYTES


async def test_another_stream_s_line_is_not_told_as_this_one_s(
    open_node: OpenNode, speech: list[bytes]
) -> None:
    pen = Stenographer()
    async with open_node(transcriber=pen) as edge, recording(edge) as client:
        await client.start("s")
        for pcm in speech:
            await client.audio(pcm)
        with trio.fail_after(20):
            while not await events_of(edge, "speech_ended"):
                await trio.sleep(0.002)
        body = {"utterance": 1, "start_ms": 0, "end_ms": 1, "text": "a teacher's", "fetch_ms": 1.0}
        line = NewEvent(1, "transcript", body | {"language": None, "provider": "x"}, "teacher")
        session = edge.registry.live("s")
        assert session is not None
        session.published(await edge.parts.catalog.append_events("s", [line], at=1))
        pen.go_on.set()
        assert "a teacher's" not in [frame["text"] for frame in results(await client.end())]
