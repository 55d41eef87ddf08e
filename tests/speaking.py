"""For tests: somebody speaks into a session, and what the catalog then holds of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import trio

from interview_edge.app import Edge
from nodes import connect


async def speak(edge: Edge, session_id: str, seconds: list[bytes]) -> None:
    async with connect(edge, session_id) as client:
        for seq, pcm in enumerate(seconds, 1):
            await client.send_chunk(seq, pcm)
        await client.answers(len(seconds))


async def events_of(edge: Edge, session_id: str, *types: str) -> list[dict[str, Any]]:
    return [
        e.to_wire() for e in await edge.parts.catalog.events(session_id, limit=1_000, types=types or None)
    ]


async def until(reached: Callable[[], Any], seconds: float = 20.0) -> None:
    with trio.fail_after(seconds):
        while not await reached():
            await trio.sleep(0.002)


def quieter(pcm: bytes) -> bytes:
    """At half the level."""
    return (np.frombuffer(pcm, "<i2") // 2).astype("<i2").tobytes()


async def written_of(edge: Edge, session_id: str, *, at_least: int = 1) -> None:
    """Wait until so many utterances of the session have ended, and none of the node's waits."""

    async def written() -> bool:
        ended = await events_of(edge, session_id, "speech_ended")
        return len(ended) >= at_least and not await edge.parts.catalog.untranscribed(limit=1)

    await until(written)
