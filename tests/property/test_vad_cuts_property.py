"""The same audio gives the same flags and events however it is cut, and in one step or in two."""

from __future__ import annotations

from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interview_edge.core.pcm import SAMPLE_BYTES
from interview_edge.core.utterances import SpeechEvent
from interview_edge.speech.pipeline import StreamVad
from interview_edge.speech.vad import Vad, WebRtcVad
from interview_edge.testing.vads import demo_speech
from loudness import LoudnessVad

SPEECH = demo_speech()[: 5 * 32_000]
VADS = {
    "webrtc, 20 ms": lambda: WebRtcVad(2, 20),
    "webrtc, 30 ms": lambda: WebRtcVad(3, 30),
    "one of 32 ms": LoudnessVad,
}
CUTS = st.lists(st.integers(1, 40_000), min_size=1, max_size=6)  # samples


def pieces(pcm: bytes, cuts: list[int]) -> list[bytes]:
    found = []
    for cut in cycle(cuts):
        if not pcm:
            return found
        found.append(pcm[: cut * SAMPLE_BYTES])
        pcm = pcm[cut * SAMPLE_BYTES :]
    return found


@pytest.mark.parametrize("name", VADS)
@settings(max_examples=30)
@given(cuts=CUTS.filter(lambda cuts: sum(cuts) > 200))
def test_flags_are_the_same(name: str, cuts: list[int]) -> None:
    vad: Vad = VADS[name]()
    whole = VADS[name]().judge(SPEECH)
    assert b"".join(vad.judge(piece) for piece in pieces(SPEECH, cuts)) == whole
    assert vad.carried_samples == len(SPEECH) // SAMPLE_BYTES % vad.frame_samples


@pytest.mark.parametrize("name", VADS)
@settings(max_examples=30)
@given(cuts=CUTS.filter(lambda cuts: sum(cuts) > 2_000), gap=st.integers(0, 60_000), skip=st.booleans())
def test_events_are_the_same_in_one_step_and_in_two(name: str, cuts: list[int], gap: int, skip: bool) -> None:
    """`judge` and `take`, the first of which may be in a thread, are `hear`."""
    one, two = StreamVad(VADS[name]()), StreamVad(VADS[name]())
    if skip:  # both go on in the middle of a second
        before = StreamVad(VADS[name]())
        before.hear(SPEECH[:20_000])
        one.resume(before.position())
        two.resume(before.position())
    heard: list[SpeechEvent] = []
    for piece in pieces(SPEECH, cuts):
        at = two.position()
        flags = two.judge(piece)
        assert two.position() == at  # so that whoever gives up in between goes on from there
        events = two.take(flags)
        assert one.hear(piece) == events
        heard += events
    silence = two.judge_silence(gap)
    assert one.hear_silence(gap) == two.take_silence(silence)
    assert one.position() == two.position()
    assert one.flush() == two.flush()
