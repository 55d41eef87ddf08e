"""A node's transcriber asks its provider once for the same audio, where it was made ahead."""

from __future__ import annotations

from random import Random

from interview_edge.sessions.node_transcriber import MAX_AHEAD, NodeTranscriber
from interview_edge.speech.transcriber import Transcript
from stenographer import Stenographer, ready


def node(pen: Stenographer) -> NodeTranscriber:
    return NodeTranscriber(
        pen, language=None, read_timeout=10.0, retry_initial=0.0, retry_max=0.0, random=Random(1)
    )


async def said(
    made: NodeTranscriber, pcm: bytes, *, prompt: str | None = None, ahead: bool = False
) -> Transcript:
    async def read() -> bytes:
        return pcm

    return await made.transcribe(read, prompt=prompt, ahead=ahead)


async def test_what_was_made_ahead_is_the_final_of_the_same_audio_once() -> None:
    pen = ready()
    made = node(pen)
    partial = await said(made, b"ab" * 16, ahead=True)
    assert await said(made, b"ab" * 16) is partial
    assert len(pen.asked) == 1
    await said(made, b"ab" * 16)
    assert len(pen.asked) == 2


async def test_a_second_that_came_late_makes_it_another_audio() -> None:
    pen = ready()
    made = node(pen)
    await said(made, b"ab\0\0", ahead=True)
    await said(made, b"abcd")
    assert pen.asked == [b"ab\0\0", b"abcd"]


async def test_a_prompt_asks_for_something_else() -> None:
    pen = ready()
    made = node(pen)
    await said(made, b"abcd", ahead=True)
    await said(made, b"abcd", prompt="names")
    assert pen.prompts == [None, "names"]


async def test_what_nobody_comes_for_is_bounded() -> None:
    pen = ready()
    made = node(pen)
    for n in range(MAX_AHEAD + 1):
        await said(made, bytes([n, 0]), ahead=True)
    await said(made, bytes([1, 0]))
    assert len(pen.asked) == MAX_AHEAD + 1
    await said(made, bytes([0, 0]))
    assert len(pen.asked) == MAX_AHEAD + 2
