"""Partials: said while somebody speaks and watches, only while nothing final waits, and kept nowhere."""

from __future__ import annotations

from typing import Any

import trio

from browser_clients import recording
from interview_edge.core.models import Utterance
from interview_edge.core.pcm import CHUNK_BYTES, SAMPLE_BYTES, SAMPLE_RATE
from interview_edge.sessions.partial_transcripts import Partial
from interview_edge.sessions.session import Session
from interview_edge.speech.transcriber import Transcript
from nodes import ChannelPeer, OpenNode, connect
from speaking import events_of, speak, until
from stenographer import Stenographer, ready

LAST_WORD_LATER = 10_400  # samples
OFTEN: dict[str, Any] = {"transcription_partials": 0.01, "event_flush_interval": 0}


async def partial_of(client: ChannelPeer) -> dict[str, Any]:
    with trio.fail_after(20):
        while (frame := await client.answer())["type"] != "partial":
            assert frame["type"] in ("ack", "event", "ready")
    return frame


async def test_what_was_said_so_far_is_told_to_who_watches(open_node: OpenNode, speech: list[bytes]) -> None:
    pen = ready()
    async with open_node(transcriber=pen, **OFTEN) as edge, connect(edge, "s") as client:
        await client.hello(events=True)
        for seq, pcm in enumerate(speech[:2], 1):
            await client.send_chunk(seq, pcm)
        told = await partial_of(client)
        (started,) = await events_of(edge, "s", "speech_started")
        assert (told["stream"], told["utterance"]) == ("mixed", started["utterance"])
        assert told["start_ms"] == started["start_ms"]
        assert 0 < told["end_ms"] <= 2_000
        assert told["language"] == "en"
        heard = b"".join(speech)[started["start_sample"] * SAMPLE_BYTES :]
        assert heard.startswith(pen.asked[0])
        assert told["text"] == f"{len(pen.asked[0])} bytes"
        assert await events_of(edge, "s", "partial", "transcript") == []


async def test_an_embedding_program_reads_them(open_node: OpenNode, speech: list[bytes]) -> None:
    async with (
        open_node(transcriber=ready(), **OFTEN) as edge,
        edge.session("s") as session,
        session.partials() as partials,
    ):
        for seq, pcm in enumerate(speech[:2], 1):
            await session.feed(pcm, seq=seq)
        with trio.fail_after(20):
            told = await anext(partials)
        assert told.utterance.number == 1
        assert told.found.text.endswith(" bytes")


async def test_nobody_is_asked_for_who_does_not_watch(open_node: OpenNode, speech: list[bytes]) -> None:
    pen = ready()
    async with (
        open_node(transcriber=pen, **OFTEN) as edge,
        connect(edge, "s") as client,
        connect(edge, "other") as watching,
    ):
        await watching.hello(events=True)
        for seq, pcm in enumerate(speech, 1):
            await client.send_chunk(seq, pcm)
        await client.answers(len(speech))

        async def over() -> bool:
            ended = await events_of(edge, "s", "speech_ended")
            return bool(ended) and len(await events_of(edge, "s", "transcript")) == len(ended)

        await until(over)
        assert len(pen.asked) == len(await events_of(edge, "s", "speech_ended"))  # the finals


async def test_where_nothing_more_is_said_a_partial_is_the_final_too(
    open_node: OpenNode, speech: list[bytes]
) -> None:
    """Contract stream.md: the provider isn't asked twice for the same."""
    pen = ready()
    async with (
        open_node(transcriber=pen, **OFTEN) as edge,
        edge.session("s") as session,
        session.partials() as partials,
    ):
        live = edge.registry.live("s")
        assert live is not None
        # The last word ends so long before the end of its second that what follows it is heard, and too short
        # for its end to be told.
        late = bytes(LAST_WORD_LATER * SAMPLE_BYTES) + b"".join(speech)
        seconds = [late[at : at + CHUNK_BYTES] for at in range(0, len(late) - CHUNK_BYTES, CHUNK_BYTES)]
        words, silence = seconds[:12], seconds[12:]
        for seq, pcm in enumerate(words, 1):
            await session.feed(pcm, seq=seq)

        async def heard() -> bool:  # nobody knows yet that nothing follows
            return live.vad_behind_seconds == 0 and bool(live.open_utterances())

        await until(heard)
        with trio.fail_after(20):
            while (told := await anext(partials)).utterance not in live.open_utterances():
                pass
        for seq, pcm in enumerate(silence, len(words) + 1):
            await session.feed(pcm, seq=seq)
        await session.finalize()
        lines = await events_of(edge, "s", "transcript")
        assert lines[-1]["end_ms"] == told.utterance.end_sample * 1000 // SAMPLE_RATE
        assert lines[-1]["text"] == told.found.text
        assert len(pen.asked) == len(set(pen.asked))


async def test_a_final_that_waits_takes_the_place_of_a_partial(
    open_node: OpenNode, speech: list[bytes]
) -> None:
    """A partial is under way when another session's utterance ends."""
    pen = Stenographer()
    async with (
        open_node(transcriber=pen, transcription_concurrency=1, **OFTEN) as edge,
        connect(edge, "s") as client,
    ):
        await client.hello(events=True)
        for seq, pcm in enumerate(speech[:2], 1):
            await client.send_chunk(seq, pcm)

        async def asked(count: int) -> bool:
            return len(pen.asked) >= count

        await until(lambda: asked(1))
        await speak(edge, "other", speech)
        await until(lambda: asked(2))

        async def gave_way() -> bool:
            return pen.cancelled == 1

        await until(gave_way)
        pen.go_on.set()

        async def written() -> bool:
            return len(await events_of(edge, "other", "transcript")) > 1

        await until(written)
        assert len(pen.asked) > 2


async def test_while_a_final_waits_nobody_is_asked_for_one(open_node: OpenNode, speech: list[bytes]) -> None:
    """Though there are workers to spare."""
    pen = Stenographer()
    async with (
        open_node(transcriber=pen, transcription_concurrency=4, **OFTEN) as edge,
        connect(edge, "s") as client,
    ):
        await speak(edge, "other", speech)

        async def asked() -> bool:
            return bool(pen.asked)

        await until(asked)
        await client.hello(events=True)
        for seq, pcm in enumerate(speech[:2], 1):
            await client.send_chunk(seq, pcm)
        live = edge.registry.live("s")
        assert live is not None

        async def speaks() -> bool:
            return bool(live.open_utterances())

        await until(speaks)
        await looked_often(live)
        assert len(pen.asked) == 1  # the final


async def test_there_is_none_before_the_start_is_told(open_node: OpenNode, speech: list[bytes]) -> None:
    pen = ready()
    slow = OFTEN | {"event_flush_interval": 60}
    async with open_node(transcriber=pen, **slow) as edge, connect(edge, "s") as client:
        await client.hello(events=True)
        for seq, pcm in enumerate(speech[:2], 1):
            await client.send_chunk(seq, pcm)
        await client.answers(2)
        live = edge.registry.live("s")
        assert live is not None

        async def heard() -> bool:
            return not live.is_at_rest and live.vad_behind_seconds == 0

        await until(heard)
        await looked_often(live)
        assert pen.asked == []


async def looked_often(live: Session) -> None:
    """Wait until it was asked ten times who speaks in the session."""
    looks, look = 0, live.open_utterances

    def counted() -> Any:
        nonlocal looks
        looks += 1
        return look()

    live.open_utterances = counted  # type: ignore[method-assign]

    async def often() -> bool:
        return looks > 10

    await until(often)


async def test_the_browser_hears_them_as_prefetches(open_node: OpenNode, speech: list[bytes]) -> None:
    pen = ready()
    async with open_node(transcriber=pen, **OFTEN) as edge, recording(edge) as client:
        await client.start("s")
        for pcm in speech[:2]:
            await client.audio(pcm)
        with trio.fail_after(20):
            while (frame := await client.answer())["type"] != "transcription_result":
                pass
        assert frame["is_prefetch"] is True
        assert frame["utterance_id"] == "mixed-1"
        assert frame["text"].endswith(" bytes")
        assert 0 < frame["speechEndTimeMs"] <= 2_000
        assert await events_of(edge, "s", "transcript") == []


async def test_without_an_interval_there_are_none(open_node: OpenNode, speech: list[bytes]) -> None:
    settings = OFTEN | {"transcription_partials": 0}
    async with open_node(transcriber=ready(), **settings) as edge, connect(edge, "s") as client:
        await client.hello(events=True)
        for seq, pcm in enumerate(speech, 1):
            await client.send_chunk(seq, pcm)
        while (frame := await client.answer())["type"] != "event" or frame["event"]["type"] != "transcript":
            assert frame["type"] != "partial"


async def test_a_program_that_closes_its_reader_ends_nothing(open_node: OpenNode) -> None:
    async with (
        open_node(transcriber=ready()) as edge,
        edge.session("s") as session,
        session.partials() as partials,
    ):
        await partials.aclose()
        live = edge.registry.live("s")
        assert live is not None
        live.partials.tell(Partial(Utterance("mixed", 1, 0, 1), Transcript("x")))
