"""A client that says itself where speech is, and a crash in the middle: its words are written once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from browser_clients import BrowserClient, recording
from interview_edge.app import Edge
from interview_edge.core.declared_utterances import VadState
from interview_edge.core.models import NewEvent
from interview_edge.core.pcm import CHUNK_BYTES, CHUNK_SAMPLES
from loudness import LoudnessVads
from nodes import OpenNode, connect, nodes_in
from speaking import events_of, speak, until, written_of
from stenographer import ready

SILENCE = bytes(CHUNK_BYTES)
LOUD = b"\0\x40" * CHUNK_SAMPLES
SPOKEN = 4  # seconds, in the middle of the server's first utterance


async def test_what_the_client_s_lines_say_is_not_said_again(tmp_path: Path, speech: list[bytes]) -> None:
    async with nodes_in(tmp_path / "before")(transcriber=ready()) as edge, recording(edge) as client:
        await client.start("s")
        await say(client, speech[:SPOKEN])
        await crash_after(edge, tmp_path, seconds=SPOKEN)
    async with nodes_in(tmp_path / "after")(transcriber=ready()) as edge, recording(edge) as client:
        await client.start("s")  # rests the ear: the utterance that went on ends there
        await client.audio(SILENCE)
        await client.end()
        assert [line["source"] for line in await all_lines(edge)] == ["client"]
        assert await heard_ends(edge)  # they stay in the record


async def test_what_they_don_t_say_yet_is(tmp_path: Path) -> None:
    """The client's second utterance goes on at the crash, and nobody ends it any more. To the server all of
    it is one.
    """
    parts = {"transcriber": ready(), "vad": LoudnessVads(workers=0)}
    async with nodes_in(tmp_path / "before")(**parts) as edge, recording(edge) as client:
        await client.start("s")
        await say(client, [LOUD] * SPOKEN)
        await client.audio(LOUD, VadState.START)
        await client.audio(LOUD)
        await crash_after(edge, tmp_path, seconds=SPOKEN + 2)
    async with nodes_in(tmp_path / "after")(**parts) as edge, edge.session("s") as session:
        await session.finalize()
        (heard,) = await heard_ends(edge)
        assert heard["start_ms"] == 0
        lines = [(line.get("source"), line["start_ms"], line["end_ms"]) for line in await all_lines(edge)]
        assert lines == [("client", 0, SPOKEN * 1000), (None, SPOKEN * 1000, heard["end_ms"])]


async def test_a_line_of_seconds_that_were_lost_covers_none_that_come_in_their_place(
    open_node: OpenNode, speech: list[bytes]
) -> None:
    """The line is committed sooner than the seconds that it is of."""
    async with open_node(transcriber=ready()) as edge, connect(edge, "s") as client:
        await client.send_chunk(1, SILENCE)
        await client.answer()
        body = {"utterance": 1, "start_ms": 0, "end_ms": 60_000, "text": "lost", "source": "client"}
        await edge.parts.catalog.append_events("s", [NewEvent(1, "transcript", body, "mixed")], at=1)
    async with open_node(transcriber=ready()) as edge:
        await speak(edge, "s", [SILENCE, *speech])
        await written_of(edge, "s", at_least=2)
        heard = [each["end_ms"] for each in await heard_ends(edge)]
        assert heard == [line["end_ms"] for line in await all_lines(edge) if "source" not in line]


async def say(client: BrowserClient, seconds: list[bytes]) -> None:
    """One utterance of the client's, from the first to the end of the last."""
    first, *between, last = seconds
    await client.audio(first, VadState.START)
    for pcm in between:
        await client.audio(pcm)
    await client.audio(last, VadState.END)


async def crash_after(edge: Edge, folder: Path, *, seconds: int) -> None:
    """The disk as it is once so much is held and heard, and the client's first utterance written."""
    session = edge.registry.live("s")
    assert session is not None

    async def done() -> bool:
        held = session.streams["mixed"].ledger.last_seq
        return held == seconds and session.vad_behind_seconds == 0 and bool(await all_lines(edge))

    await until(done)
    shutil.copytree(folder / "before", folder / "after")


async def all_lines(edge: Edge) -> list[dict[str, Any]]:
    return await events_of(edge, "s", "transcript")


async def heard_ends(edge: Edge) -> list[dict[str, Any]]:
    """The utterances that the server heard, as they ended."""
    return [each for each in await events_of(edge, "s", "speech_ended") if "source" not in each]
