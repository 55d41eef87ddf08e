"""For tests: a transcriber that says what it was given, and fails and waits as the test wants."""

from __future__ import annotations

from collections import deque

import attrs
import trio

from interview_edge.speech.transcriber import Transcript


@attrs.define(eq=False)
class Stenographer:
    """A transcriber whose text is how much it was given. `answers` come first, one a call: each is raised."""

    provider: str = "stenographer"
    answers: deque[Exception] = attrs.field(factory=deque)
    asked: list[bytes] = attrs.field(factory=list)
    prompts: list[str | None] = attrs.field(factory=list)
    go_on: trio.Event = attrs.field(factory=trio.Event)
    cancelled: int = 0
    breaks: Exception | None = None  # what it raises whenever it is asked of what it was asked of first

    async def transcribe(
        self, pcm: bytes, *, language: str | None = None, prompt: str | None = None
    ) -> Transcript:
        self.asked.append(bytes(pcm))
        self.prompts.append(prompt)
        try:
            await self.go_on.wait()
        except trio.Cancelled:
            self.cancelled += 1
            raise
        if self.breaks is not None and pcm == self.asked[0]:
            raise self.breaks
        if self.answers:
            raise self.answers.popleft()
        return Transcript(f"{len(pcm)} bytes", "en", 1.0)


def ready() -> Stenographer:
    """One that answers at once."""
    found = Stenographer()
    found.go_on.set()
    return found
