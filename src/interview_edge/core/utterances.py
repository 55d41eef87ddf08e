"""Utterances: from the VAD's flag a frame to starts and ends of speech, at exact samples.

A pure state machine. Sample 0 is the first sample of seq 1; every position is a frame's edge. The same flags
give the same events however they are split between calls and restarts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from interview_edge.core.pcm import SAMPLE_RATE

EndReason = Literal["silence", "max_length", "stream_end"]


@attrs.frozen
class SpeechStarted:
    """An utterance began. `utterance_no` counts from 1 in its stream."""

    utterance_no: int
    start_sample: int


@attrs.frozen
class SpeechEnded:
    """An utterance is over: samples `start_sample` (as its start said) up to, without, `end_sample`."""

    utterance_no: int
    start_sample: int
    end_sample: int
    reason: EndReason


SpeechEvent = SpeechStarted | SpeechEnded


@attrs.frozen(kw_only=True)
class UtteranceRules:
    """What makes an utterance. Durations are rounded up to whole frames.

    The frame collector is the usual one over webrtcvad (py-webrtcvad's example: a ring of frames triggers by
    its share of voiced ones), with the durations of the voice interfaces people know: OpenAI's realtime API
    (prefix padding 300 ms, silence 500 ms) and silero-vad (minimum speech 250 ms).
    """

    frame_ms: int = 20  # the VAD's: webrtcvad has 10, 20 and 30, silero 32
    start_window: int = 5  # frames looked at for a start...
    start_voiced: int = 3  # ...of which so many are voiced: one click of 40 ms opens nothing
    pre_roll_ms: int = 300  # a soft first consonant is judged unvoiced
    hangover_ms: int = 500  # a pause inside a sentence is shorter
    post_roll_ms: int = 100  # a fading last syllable; part of the hangover, so it is always heard already
    min_speech_ms: int = 250  # less voiced audio than this is a cough or a door, and is never reported
    max_ms: int = 30_000  # Whisper's window; also bounds how long a noisy room can delay a line

    def __attrs_post_init__(self) -> None:
        if not 10 <= self.frame_ms <= 100:  # longer ones would blur where speech begins
            raise ValueError(f"a frame must be 10..100 ms, got {self.frame_ms}")
        if not 1 <= self.start_voiced <= self.start_window:
            raise ValueError("a start needs 1..start_window voiced frames")
        if not 0 <= self.post_roll_ms <= self.hangover_ms or self.hangover_ms < 1 or self.pre_roll_ms < 0:
            raise ValueError("pre-roll must not be negative, post-roll 0..hangover, hangover at least 1 ms")
        if self.max_ms < self.pre_roll_ms + self.start_window * self.frame_ms + self.min_speech_ms:
            raise ValueError("the longest utterance must hold pre-roll, start window and shortest speech")

    @property
    def frame_samples(self) -> int:
        return self.frame_ms * SAMPLE_RATE // 1000

    def samples(self, ms: int) -> int:
        """`ms` in samples, rounded up to whole frames."""
        return -(-ms // self.frame_ms) * self.frame_samples


class UtteranceTracker:
    """The utterances of one stream. Hear its frames in order; it answers with what they started and ended.

    An utterance opens when enough of the last frames are voiced, at the first of them less the pre-roll (but
    not before the last utterance's end). It is reported once its voiced frames add up to `min_speech_ms`. It
    ends after `hangover_ms` without a voiced frame, at the last voiced frame's end plus the post-roll; or at
    `max_ms`, where the next one opens at once (reported with its first voiced frame: a word cut in two loses
    no half).
    """

    __slots__ = (
        "_floor",
        "_frame",
        "_hangover",
        "_heard",
        "_last_voiced",
        "_longest",
        "_needed",
        "_opened",
        "_pause",
        "_post_roll",
        "_pre_roll",
        "_recent",
        "_reported",
        "_rules",
    )

    def __init__(self, rules: UtteranceRules | None = None) -> None:
        self._rules = rules = UtteranceRules() if rules is None else rules
        self._frame = rules.frame_samples
        self._pre_roll = rules.samples(rules.pre_roll_ms)
        self._hangover = rules.samples(rules.hangover_ms)
        self._pause = bytes(self._hangover // self._frame)  # as many unvoiced frames as end an utterance
        self._post_roll = rules.samples(rules.post_roll_ms)
        self._longest = rules.samples(rules.max_ms)
        self._heard = 0  # samples judged
        self._reported = 0  # utterances
        self._floor = 0  # where the last reported utterance ended
        self._recent = 0  # idle: flags of the last start_window frames, the latest in bit 0
        self._opened: int | None = None  # where the open utterance starts; None when idle
        self._needed = 0  # voiced frames until the open one is reported; 0: it is
        self._last_voiced = 0  # where its last voiced frame ended

    @property
    def heard(self) -> int:
        """How many samples were judged: where the next frame starts."""
        return self._heard

    @property
    def is_open(self) -> bool:
        """Whether an utterance goes on, be it too short yet to be reported."""
        return self._opened is not None

    @property
    def open_utterance(self) -> tuple[int, int, int] | None:
        """The number of the utterance that was reported and goes on, where it starts, and where it would end
        if it ended now; None where there is none.
        """
        if self._opened is None or self._needed:
            return None
        return self._reported, self._opened, min(self._last_voiced + self._post_roll, self._heard)

    # -- hearing

    def hear(self, flags: bytes) -> list[SpeechEvent]:
        """Take the flags (0 or 1) of the next frames."""
        if 1 not in flags:
            return self.hear_unvoiced(len(flags))
        span = len(flags) * self._frame
        if (
            self._opened is not None
            and not self._needed
            and self._heard + span < self._opened + self._longest
            and self._heard + flags.index(1) * self._frame < self._last_voiced + self._hangover
            and self._pause not in flags
        ):
            # Inside a reported utterance that nothing here ends: only where it was last voiced counts.
            self._heard += span
            self._last_voiced = self._heard - (len(flags) - 1 - flags.rindex(1)) * self._frame
            return []
        events: list[SpeechEvent] = []
        for flag in flags:
            self._step(flag, events)
        return events

    def hear_unvoiced(self, frames: int) -> list[SpeechEvent]:
        """Take `frames` unvoiced frames; constant work after the hangover, however many they are."""
        events: list[SpeechEvent] = []
        until = self._heard + frames * self._frame
        if (
            self._opened is not None
            and until < self._last_voiced + self._hangover
            and until < self._opened + self._longest
        ):
            self._heard = until
            return events
        while frames and self._opened is not None:
            self._step(0, events)
            frames -= 1
        # Idle, fewer voiced frames in the start window never open an utterance.
        self._recent = self._recent << min(frames, self._rules.start_window) & self._start_mask
        self._heard += frames * self._frame
        return events

    def flush(self) -> list[SpeechEvent]:
        """The stream ends here (or stops for a while): end what is open."""
        events: list[SpeechEvent] = []
        if self._opened is not None:
            self._end(min(self._last_voiced + self._post_roll, self._heard), "stream_end", events)
        self._recent = 0
        return events

    @property
    def _start_mask(self) -> int:
        return (1 << self._rules.start_window) - 1

    def _step(self, flag: int, events: list[SpeechEvent]) -> None:
        """One frame."""
        start = self._heard
        self._heard += self._frame
        if self._opened is None:
            self._recent = (self._recent << 1 | flag) & self._start_mask
            if self._recent.bit_count() >= self._rules.start_voiced:
                self._open(events)
            return
        if flag:
            self._last_voiced = self._heard
            self._count_voiced(1, events)
        elif start + self._frame - self._last_voiced >= self._hangover:
            self._end(self._last_voiced + self._post_roll, "silence", events)
            return
        if self._heard - self._opened >= self._longest:
            self._cut(events)

    def _open(self, events: list[SpeechEvent]) -> None:
        """The last frame made it a start: it opens at the first voiced frame of the start window, less
        pre-roll.
        """
        first_voiced = self._heard - self._recent.bit_length() * self._frame
        self._opened = max(first_voiced - self._pre_roll, self._floor)
        self._last_voiced = self._heard
        self._needed = max(1, -(-self._rules.min_speech_ms // self._rules.frame_ms))
        self._count_voiced(self._recent.bit_count(), events)
        self._recent = 0

    def _count_voiced(self, frames: int, events: list[SpeechEvent]) -> None:
        if self._needed and self._opened is not None:
            self._needed = max(0, self._needed - frames)
            if not self._needed:
                self._reported += 1
                events.append(SpeechStarted(self._reported, self._opened))

    def _end(self, at: int, reason: EndReason, events: list[SpeechEvent]) -> None:
        """Close the open utterance; one never reported leaves no trace."""
        if self._opened is not None and not self._needed:
            events.append(SpeechEnded(self._reported, self._opened, at, reason))
            self._floor = at
        self._opened = None

    def _cut(self, events: list[SpeechEvent]) -> None:
        """The open utterance is as long as one may be: end it here and open the next here."""
        self._end(self._heard, "max_length", events)
        self._opened = self._heard
        self._needed = self._needed or 1

    # -- restarts

    def snapshot(self) -> dict[str, Any]:
        """The whole state, JSON-able: numbers of samples, frames and utterances, and None."""
        return {
            "heard": self._heard,
            "reported": self._reported,
            "floor": self._floor,
            "recent": self._recent,
            "opened": self._opened,
            "needed": self._needed,
            "last_voiced": self._last_voiced,
        }

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any], rules: UtteranceRules | None = None) -> UtteranceTracker:
        """A tracker that goes on where the snapshot was taken.

        Under other rules it goes on too: positions are samples, and what was counted in frames (under a
        second of speech) counts as so many of the new ones. Raises KeyError or TypeError for what is no
        snapshot.
        """
        tracker = cls(rules)
        tracker._heard = int(snapshot["heard"])
        tracker._reported = int(snapshot["reported"])
        tracker._floor = int(snapshot["floor"])
        tracker._recent = int(snapshot["recent"]) & tracker._start_mask
        tracker._opened = None if snapshot["opened"] is None else int(snapshot["opened"])
        tracker._needed = int(snapshot["needed"])
        tracker._last_voiced = int(snapshot["last_voiced"])
        return tracker
