"""check_vad finds what is wrong: each broken VAD here fails on the sentence that it breaks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest

from interview_edge.speech.vad import WebRtcVad
from interview_edge.testing import check_vad
from interview_edge.testing.vads import demo_speech


class Sound(WebRtcVad):
    def __init__(self) -> None:
        super().__init__(2, 30)


class DropsTheRest(Sound):
    """Each call's last samples, where they are no frame."""

    def judge(self, pcm: bytes) -> bytes:
        flags = super().judge(pcm)
        self._carry = b""
        return flags


class JudgesCallByCall(Sound):
    """One flag for all frames of a call."""

    def judge(self, pcm: bytes) -> bytes:
        flags = super().judge(pcm)
        return bytes([int(1 in flags)]) * len(flags)


class SaysTrue(Sound):
    def judge(self, pcm: bytes) -> bytes:
        return super().judge(pcm).replace(b"\1", b"\xff")


class Deaf(Sound):
    def judge(self, pcm: bytes) -> bytes:
        return bytes(len(super().judge(pcm)))


class HearsVoicesEverywhere(Sound):
    def judge(self, pcm: bytes) -> bytes:
        return b"\1" * len(super().judge(pcm))


class TurnedRound(Sound):
    def judge(self, pcm: bytes) -> bytes:
        return bytes(1 - flag for flag in super().judge(pcm))


class OneForAll(Sound):
    """The instances share what is carried."""

    shared: ClassVar[list[bytes]] = [b""]

    def judge(self, pcm: bytes) -> bytes:
        self._carry = self.shared[0]
        flags = super().judge(pcm)
        self.shared[0] = self._carry
        return flags


class WarmUpCarries(Sound):
    def warm_up(self, pcm: bytes) -> None:
        self.judge(pcm)


class WarmUpDeafens(Sound):
    def warm_up(self, pcm: bytes) -> None:
        super().warm_up(pcm)
        self.judge = lambda pcm: bytes(len(Sound.judge(self, pcm)))  # type: ignore[method-assign]


class LongFrames(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.frame_samples = 3_200


class OddFrames(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.frame_samples = 481


class Vads:
    provider = "mine"
    workers = 0

    def __init__(self, open_: Callable[[], WebRtcVad]) -> None:
        self.open = open_


async def check(open_: Callable[[], WebRtcVad], **changes: object) -> None:
    @asynccontextmanager
    async def open_vads() -> AsyncIterator[Vads]:
        vads = Vads(open_)
        for name, value in changes.items():
            setattr(vads, name, value)
        yield vads

    await check_vad(open_vads)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (DropsTheRest, "carried_samples are those of the frame that has begun"),
        (JudgesCallByCall, "the same audio gives the same flags, whole and in pieces of"),
        (SaysTrue, "a flag is 0 or 1"),
        (Deaf, "speech is found"),
        (HearsVoicesEverywhere, "no speech is found a second before it begins"),
        (TurnedRound, "(at least half is found|no speech is found a second before)"),
        (OneForAll, "(carried_samples|flags)"),
        (WarmUpCarries, "after warm_up nothing is carried"),
        (WarmUpDeafens, "after warm_up flags are mostly as if it had judged that audio"),
        (LongFrames, "10 to 100 whole milliseconds, not 3200 samples"),
        (OddFrames, "10 to 100 whole milliseconds, not 481 samples"),
    ],
)
async def test_a_broken_vad_is_told_which_sentence_it_breaks(broken: type[WebRtcVad], sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence) as caught:
        await check(broken)
    assert "while checking: " in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [({"provider": ""}, "provider is a name"), ({"workers": -1}, "workers is a number")],
)
async def test_a_broken_provider_is_told_too(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        await check(Sound, **changes)


async def test_a_sound_one_passes() -> None:
    await check(Sound)


async def test_an_error_of_its_own_comes_through_with_the_check_named() -> None:
    def broken() -> WebRtcVad:
        raise OSError("no weights")

    with pytest.raises(OSError, match="no weights") as caught:
        await check(broken)
    assert "a provider has a name" in caught.value.__notes__[0].lower()


async def test_too_little_speech_is_refused() -> None:
    with pytest.raises(ValueError, match="six seconds"):
        await check_vad(lambda: None, speech=demo_speech()[:32_000])  # type: ignore[arg-type,return-value]
