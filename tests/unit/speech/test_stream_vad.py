from __future__ import annotations

import json

import numpy as np
import pytest
import webrtcvad

from interview_edge.core.models import VadPosition
from interview_edge.core.pcm import CHUNK_BYTES, CHUNK_SAMPLES, SAMPLE_BYTES, SAMPLE_RATE
from interview_edge.core.utterances import SpeechEnded, SpeechEvent, SpeechStarted
from interview_edge.speech.pipeline import StreamVad
from interview_edge.speech.vad import WebRtcVad

FRAMES = pytest.mark.parametrize("frame_ms", [20, 30])


def voice(seconds: float, seed: int = 1) -> bytes:
    """A buzz with the formants of a vowel, swelling like syllables: webrtcvad takes it for speech."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    buzz = sum(np.sin(2 * np.pi * 130 * k * t) / (1 + abs(k * 130 - 700) / 400) for k in range(1, 28))
    syllables = 0.6 + 0.4 * np.sin(2 * np.pi * 4 * t)
    return (2500 * buzz * syllables + rng.normal(0, 30, len(t))).clip(-32768, 32767).astype("<i2").tobytes()


def room(seconds: float, seed: int = 2) -> bytes:
    return np.random.default_rng(seed).normal(0, 3, int(seconds * SAMPLE_RATE)).astype("<i2").tobytes()


TALK = room(2) + voice(2.5) + room(3) + voice(1.2, 3) + room(2.3)


def seconds_of(pcm: bytes) -> list[bytes]:
    return [pcm[at : at + CHUNK_BYTES] for at in range(0, len(pcm), CHUNK_BYTES)]


@FRAMES
@pytest.mark.parametrize("mode", [0, 3])
@pytest.mark.parametrize("piece", [2, 638, 1_000, 32_000, 1_000_000])
def test_flags_are_webrtcvads_however_the_audio_is_cut(mode: int, frame_ms: int, piece: int) -> None:
    step = frame_ms * 32
    reference = webrtcvad.Vad(mode)
    pcm = TALK[30_000:100_000] if piece == 2 else TALK
    frames = [pcm[at : at + step] for at in range(0, len(pcm) - step + 1, step)]
    expected = bytes(reference.is_speech(frame, SAMPLE_RATE) for frame in frames)
    vad = WebRtcVad(mode, frame_ms)
    flags = b"".join(vad.judge(pcm[at : at + piece]) for at in range(0, len(pcm), piece))
    assert flags == expected
    assert set(flags) == {0, 1}
    assert vad.carried_samples == len(pcm) % step // SAMPLE_BYTES


@pytest.mark.parametrize(("mode", "frame_ms"), [(4, 20), (-1, 20), (2, 25)])
def test_modes_and_frames_that_webrtcvad_has_not(mode: int, frame_ms: int) -> None:
    with pytest.raises(ValueError, match="no mode"):
        WebRtcVad(mode, frame_ms)


@FRAMES
def test_two_utterances_are_found_where_they_are(frame_ms: int) -> None:
    ear = StreamVad(WebRtcVad(2, frame_ms))
    events = [event for second in seconds_of(TALK) for event in ear.hear(second)] + ear.flush()
    assert [type(event) for event in events] == [SpeechStarted, SpeechEnded] * 2
    for event, starts, ends in ((events[1], 2.0, 4.5), (events[3], 7.5, 8.7)):
        assert isinstance(event, SpeechEnded)
        assert event.reason == "silence"
        # 300 ms of pre-roll; the end within post-roll and webrtcvad's own overhang.
        assert event.start_sample / SAMPLE_RATE == pytest.approx(starts - 0.3, abs=0.1)
        assert ends - 0.1 < event.end_sample / SAMPLE_RATE < ends + 0.4


@FRAMES
@pytest.mark.parametrize("stop", [1, 3, 5, 8, 9, 11])
def test_a_restart_loses_and_doubles_no_event(frame_ms: int, stop: int) -> None:
    through = StreamVad(WebRtcVad(2, frame_ms))
    expected = [event for second in seconds_of(TALK) for event in through.hear(second)]
    before = StreamVad(WebRtcVad(2, frame_ms))
    events = [event for second in seconds_of(TALK)[:stop] for event in before.hear(second)]
    kept = before.position()
    position = VadPosition(kept.sample, json.loads(json.dumps(kept.tracker)))
    after = StreamVad(WebRtcVad(2, frame_ms))
    after.resume(position)
    resume_at = position.sample // CHUNK_SAMPLES
    for second in seconds_of(TALK)[max(0, resume_at - 2) : resume_at]:
        after.warm_up(second)
    for second in seconds_of(TALK)[resume_at:]:
        events += after.hear(second)
    assert rounded(events) == rounded(expected)
    assert after.position().sample == through.position().sample


def rounded(events: list[SpeechEvent]) -> list[tuple[type, int, int]]:
    """Numbers, kinds and starts to 100 ms: a warmed-up VAD may judge a frame at an edge otherwise."""
    return [(type(e), e.utterance_no, round(e.start_sample / 1600)) for e in events]


@FRAMES
@pytest.mark.parametrize("missing", [1, 16_000, 16_001, 40_000, 160_000])
def test_a_gap_is_heard_as_zeros(frame_ms: int, missing: int) -> None:
    """The shortcut through a long gap changes nothing: what comes after it is judged the same."""
    short, full = StreamVad(WebRtcVad(2, frame_ms)), StreamVad(WebRtcVad(2, frame_ms))
    before, after = TALK[: 32_000 * 3 + 100], TALK[32_000 * 3 + 100 :]
    events = short.hear(before) + short.hear_silence(missing) + short.hear(after)
    assert events == full.hear(before + bytes(missing * SAMPLE_BYTES) + after)
    assert short.position() == full.position()


def test_a_day_of_gap_is_heard_at_once() -> None:
    ear = StreamVad(WebRtcVad(2, 30))
    ear.hear(voice(1))
    assert len(ear.hear_silence(86_400 * CHUNK_SAMPLES)) == 1
    assert ear.position().sample == 86_401 * CHUNK_SAMPLES // 480 * 480


def test_the_end_of_the_stream_ends_the_utterance() -> None:
    ear = StreamVad(WebRtcVad(2, 20))
    assert [type(event) for event in ear.hear(voice(1.01))] == [SpeechStarted]
    assert ear.flush() == [SpeechEnded(1, 0, 50 * 320, "stream_end")]
    assert ear.flush() == []
