"""check_transcriber finds what is wrong: each broken one here fails on the promise that it breaks.

Time is virtual: nothing here is a thread, and what hangs for seconds hangs for none.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.speech import Failure, Transcriber, Transcript, TranscriptionFailed
from interview_edge.testing import check_transcriber, promises

SECONDS = 3.0  # that a slow one takes


class Honest:
    """As good as one can be that hears nothing but lengths."""

    provider = "honest"

    async def transcribe(
        self, pcm: bytes, *, language: str | None = None, prompt: str | None = None
    ) -> Transcript:
        await trio.sleep(0.005)
        return self.answer(pcm)

    def answer(self, pcm: bytes) -> Transcript:
        return Transcript(f"{len(pcm)} bytes" if any(pcm) else "", "en", 5.0)


class Nameless(Honest):
    provider = " "


class Unprintable(Honest):
    provider = "ears\n"


class Renamed(Honest):
    @property
    def provider(self) -> str:  # type: ignore[override]
        return f"ears {time.perf_counter_ns()}"


class RenamedWhenOpened(Honest):
    numbers = count()

    def __init__(self) -> None:
        self.provider = f"ears {next(self.numbers)}"


class Deaf(Honest):
    def answer(self, pcm: bytes) -> Transcript:
        return Transcript("")


class Mishears(Honest):
    def answer(self, pcm: bytes) -> Transcript:
        return Transcript("bites")


class RaisesItsOwn(Honest):
    def answer(self, pcm: bytes) -> Transcript:
        if len(pcm) < CHUNK_BYTES:
            raise ValueError("too short")
        return super().answer(pcm)


class RefusesHalfAMinute(Honest):
    def answer(self, pcm: bytes) -> Transcript:
        if len(pcm) >= 30 * CHUNK_BYTES:
            raise OSError("too long")
        return super().answer(pcm)


@attrs.define
class Answers(Honest):
    """The same whatever it is asked; an exception is raised."""

    given: Any

    def answer(self, pcm: bytes) -> Transcript:
        if isinstance(self.given, Exception):
            raise self.given
        found: Transcript = self.given
        return found


class FailsOnSilence(Answers):
    def answer(self, pcm: bytes) -> Transcript:
        return super().answer(pcm) if not any(pcm) else Honest.answer(self, pcm)


class NeedsALanguage(Honest):
    async def transcribe(self, pcm: bytes, **hints: Any) -> Transcript:
        if hints["language"] is None:
            raise TranscriptionFailed(Failure.REFUSED, "which language?")
        return await super().transcribe(pcm, **hints)


class TakesAsciiOnly(Honest):
    async def transcribe(self, pcm: bytes, **hints: Any) -> Transcript:
        (hints["prompt"] or "").encode("ascii")
        return await super().transcribe(pcm, **hints)


class TakesShortPrompts(Honest):
    async def transcribe(self, pcm: bytes, **hints: Any) -> Transcript:
        if len(hints["prompt"] or "") > 1_000:
            raise TranscriptionFailed(Failure.BROKEN, "too long a prompt")
        return await super().transcribe(pcm, **hints)


class OneAtATime(Honest):
    busy = False

    async def transcribe(self, pcm: bytes, **hints: Any) -> Transcript:
        if self.busy:
            raise TranscriptionFailed(Failure.REFUSED, "busy")
        self.busy = True
        try:
            return await super().transcribe(pcm, **hints)
        finally:
            self.busy = False


class MixesUp(Honest):
    async def transcribe(self, pcm: bytes, **hints: Any) -> Transcript:
        self.pcm = pcm
        await trio.sleep(0.005)
        return self.answer(self.pcm)


class LosesOne(Honest):
    """Two at once, and the first is never answered."""

    under_way = 0

    async def transcribe(self, pcm: bytes, **hints: Any) -> Transcript:
        self.under_way += 1
        try:
            found = await super().transcribe(pcm, **hints)
            if self.under_way > 1:
                await trio.sleep_forever()
            return found
        finally:
            self.under_way -= 1


class Blocks(Honest):
    def answer(self, pcm: bytes) -> Transcript:
        time.sleep(0.002)
        return super().answer(pcm)


class SwallowsCancellation(Honest):
    async def transcribe(self, pcm: bytes, **hints: Any) -> Transcript:
        found = None
        try:
            found = await super().transcribe(pcm, **hints)
        finally:
            if found is None:
                raise TranscriptionFailed(Failure.BROKEN, "something")
        return found


class Shields(Honest):
    async def transcribe(self, pcm: bytes, **hints: Any) -> Transcript:
        with trio.CancelScope(shield=True):
            await trio.sleep(SECONDS)
        return self.answer(pcm)


class KeepsItsPlace(Honest):
    """Cancelled, it doesn't give back what lets one work."""

    def __init__(self) -> None:
        self.turn = trio.Semaphore(1)

    async def transcribe(self, pcm: bytes, **hints: Any) -> Transcript:
        await self.turn.acquire()
        found = await super().transcribe(pcm, **hints)
        self.turn.release()
        return found


class KeepsAudio(Honest):
    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def answer(self, pcm: bytes) -> Transcript:
        self.heard.append(pcm)
        return super().answer(pcm)


BAD_FAILURE = TranscriptionFailed("broken", "no")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "promise"),
    [
        (Nameless, "provider is a name"),
        (Unprintable, "provider is printable"),
        (Renamed, "provider stays the same"),
        (RenamedWhenOpened, "stays the same when it is opened again"),
        (Deaf, "recorded speech becomes text"),
        (Mishears, "the text has the words that were said"),
        (RaisesItsOwn, "gives a Transcript or raises TranscriptionFailed (it raised ValueError"),
        (RefusesHalfAMinute, "gives a Transcript or raises TranscriptionFailed (it raised OSError"),
        (lambda: Answers("bytes"), "answers a Transcript"),
        (lambda: Answers(None), "answers a Transcript"),
        (lambda: Answers(Transcript(b"bytes")), "a text is a str"),  # type: ignore[arg-type]
        (lambda: Answers(Transcript("bytes\0")), "no control characters"),
        (lambda: Answers(Transcript("bytes\r\n")), "no control characters"),
        (lambda: Answers(Transcript("bytes\ud800")), "no surrogates"),
        (lambda: Answers(Transcript("bytes" * 100_000)), "at most 65536 characters"),
        (lambda: FailsOnSilence(Transcript(" ")), "not blank"),
        (lambda: Answers(Transcript("bytes", "english")), "ISO 639-1"),
        (lambda: Answers(Transcript("bytes", "")), "ISO 639-1"),
        (lambda: Answers(Transcript("bytes", "en", math.nan)), "fetch_ms"),
        (lambda: Answers(Transcript("bytes", "en", -1.0)), "fetch_ms"),
        (lambda: Answers(TranscriptionFailed(Failure.BROKEN, "no")), "recorded speech becomes text"),
        (lambda: FailsOnSilence(BAD_FAILURE), "a failure is one of Failure"),
        (lambda: FailsOnSilence(TranscriptionFailed(Failure.BUSY, "")), "a failure has a detail"),
        (
            lambda: FailsOnSilence(TranscriptionFailed(Failure.BUSY, "no", retry_after=math.inf)),
            "retry_after is None or a finite number",
        ),
        (NeedsALanguage, "recorded speech becomes text (language None"),
        (TakesAsciiOnly, "(it raised UnicodeEncodeError"),
        (TakesShortPrompts, "a prompt of 2000 characters"),
        (OneAtATime, "4 calls at once"),
        (MixesUp, "4 calls at once"),
        (LosesOne, "Any number of calls at once, and each gets its own answer. (it took over 10 s)"),
        (Blocks, "never blocks the event loop"),
        (SwallowsCancellation, "lets its cancellation pass"),
        (Shields, "a cancelled call ends within 2 s (it took 3.0 s)"),
        (KeepsItsPlace, "A cancelled call ends at once, and the next one is served. (it took over 10 s)"),
        (KeepsAudio, "the audio isn't kept"),
    ],
)
async def test_a_broken_one_fails_on_the_promise_it_breaks(
    make: Any, promise: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(promises, "STEP_SECONDS", 0.001 if make is Blocks else 10.0)
    broken = make()

    @asynccontextmanager
    async def open_broken() -> AsyncIterator[Transcriber]:
        yield make() if make is RenamedWhenOpened else broken

    with pytest.raises(AssertionError) as caught:
        await check_transcriber(open_broken, words=("bytes",), timeout=60 if make is Shields else 10)
    assert promise in str(caught.value)


async def test_an_honest_one_conforms(autojump_clock: trio.testing.MockClock) -> None:
    @asynccontextmanager
    async def open_honest() -> AsyncIterator[Transcriber]:
        yield Honest()

    await check_transcriber(open_honest, words=("bytes",))


async def test_one_that_may_fail_for_a_while_conforms(autojump_clock: trio.testing.MockClock) -> None:
    """Silence may be a failure, and so may be the fourth at once."""

    class Busy(Honest):
        limiter = trio.CapacityLimiter(2)

        async def transcribe(self, pcm: bytes, **hints: Any) -> Transcript:
            try:
                self.limiter.acquire_on_behalf_of_nowait(token := object())
            except trio.WouldBlock:
                raise TranscriptionFailed(Failure.BUSY, "too many", retry_after=1.0) from None
            try:
                return await super().transcribe(pcm, **hints)
            finally:
                self.limiter.release_on_behalf_of(token)

        def answer(self, pcm: bytes) -> Transcript:
            if not any(pcm):
                raise TranscriptionFailed(Failure.REFUSED, "no speech")
            return super().answer(pcm)

    @asynccontextmanager
    async def open_busy() -> AsyncIterator[Transcriber]:
        yield Busy()

    await check_transcriber(open_busy)


async def test_a_broken_promise_of_one_with_a_nursery_is_no_group(
    autojump_clock: trio.testing.MockClock,
) -> None:
    @asynccontextmanager
    async def open_in_nursery() -> AsyncIterator[Transcriber]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            yield Deaf()
            nursery.cancel_scope.cancel()

    with pytest.raises(AssertionError, match="recorded speech becomes text"):
        await check_transcriber(open_in_nursery)


@pytest.mark.parametrize("late", ["opens", "closes"])
async def test_one_that_never_opens_or_closes_is_told(
    late: str, autojump_clock: trio.testing.MockClock
) -> None:
    @asynccontextmanager
    async def open_late() -> AsyncIterator[Transcriber]:
        if late == "opens":
            await trio.sleep_forever()
        yield Honest()
        await trio.sleep_forever()

    with pytest.raises(AssertionError, match="it opens and closes within 5 s"):
        await check_transcriber(open_late, timeout=5)
