"""Utterances as a client's own voice detection declares them, and what is to be transcribed of them
(contract stream.md, VAD semantics).

A pure state machine. Positions are samples of the recording's clock, which starts at 0 and counts samples,
never messages; so the same audio with the same marks at the same samples gives the same utterances, however
it is cut.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Sequence
from typing import Literal, NamedTuple

import attrs

from interview_edge.core.pcm import SAMPLE_RATE

FRAME_MS = 20
FRAME_SAMPLES = FRAME_MS * SAMPLE_RATE // 1000
MAX_SAMPLES = 30 * SAMPLE_RATE  # an utterance at most: Whisper's window, as the server's own (utterances.py)
# Where a longer one is cut: as much of it is kept together at least, and the quietest stretch is sought in
# the rest. 100 ms, or the cut falls into the closed lips of a p.
LEAST_CUT_SAMPLES = MAX_SAMPLES // 2
QUIET_FRAMES = 5
# What counts as speech since a prefetch: as many voiced frames of so many as open an utterance on the
# server. One click isn't worth a second call of the provider; a word is.
SAID_WINDOW, SAID_VOICED = 5, 3
_FRAMES_KEPT = MAX_SAMPLES // FRAME_SAMPLES + SAMPLE_RATE // FRAME_SAMPLES + 1  # an utterance and a piece


class VadState(enum.Enum):
    """`vad_state` on the wire."""

    START = "start"
    END = "end"
    CACHE_ASR_TRIGGER = "cache_asr_trigger"
    CACHE_ASR_DROP = "cache_asr_drop"


class Mark(NamedTuple):
    """What a client says of a piece of audio. `offset_ms` counts from the piece's first sample."""

    state: VadState
    offset_ms: int | None = None


class Frame(NamedTuple):
    """What is known of 20 ms of audio: how loud it is (any measure that grows), whether it sounds voiced."""

    level: float
    voiced: bool


@attrs.frozen
class Began:
    """Utterance `number` (from 1, over its machine's life) began at sample `start`."""

    number: int
    start: int


@attrs.frozen
class Prefetch:
    """Transcribe a copy of what there is of it, samples `start` up to, without, `upto`."""

    number: int
    start: int
    upto: int


@attrs.frozen
class PrefetchDropped:
    """Nobody wants that prefetch's text any more."""

    number: int


@attrs.frozen
class Ended:
    """It is over: samples `start` up to, without, `end`; nothing of it is left where they are equal.

    `reuse`: nothing was said since its prefetch, whose text is the final one.
    """

    number: int
    start: int
    end: int
    reason: Literal["client", "max_length", "stream_end"]
    reuse: bool


Decision = Began | Prefetch | PrefetchDropped | Ended


class DeclaredUtterances:
    """The utterances of one recording from sample `clock` on, numbered from `first`.

    Utterances don't overlap: one begins at the end of the one before at the earliest, and at the recording's
    start. A `start` inside an open one ends that; an `end`, a trigger or a drop without an open one says
    nothing.
    """

    __slots__ = ("_clock", "_floor", "_frames", "_frames_at", "_number", "_prefetched", "_start")

    def __init__(self, clock: int = 0, first: int = 1) -> None:
        self._clock = clock
        self._number = first - 1
        self._start: int | None = None  # of the open one
        self._floor = 0
        self._prefetched: int | None = None  # where the open one's prefetch ends
        self._frames: deque[Frame] = deque(maxlen=_FRAMES_KEPT)
        self._frames_at = clock  # where the last of them ends

    @property
    def last_number(self) -> int:
        """The number of the latest utterance."""
        return self._number

    def hear(self, samples: int, frames: Sequence[Frame], mark: Mark | None = None) -> list[Decision]:
        """Take the next piece of audio, of `samples`, the frames that it completes (aligned to the sample at
        which this machine began) and the client's mark on it.
        """
        decisions: list[Decision] = []
        before = self._clock
        self._clock += samples
        self._frames.extend(frames)
        self._frames_at += len(frames) * FRAME_SAMPLES
        if mark is None:
            self._cut_upto(self._clock, decisions)
        else:
            self._heed(mark, before, decisions)
        return decisions

    def flush(self) -> list[Decision]:
        """The recording ends or rests here."""
        decisions: list[Decision] = []
        self._end(self._clock, "stream_end", decisions)
        return decisions

    # -- marks

    def _heed(self, mark: Mark, before: int, decisions: list[Decision]) -> None:
        match mark.state:
            case VadState.START:
                at = min(before + _samples(mark.offset_ms or 0), self._clock)
                self._end(max(at, self._start or 0), "client", decisions)
                self._begin(max(at, self._floor), decisions)
                self._cut_upto(self._clock, decisions)
            case VadState.END:
                offset = self._clock if mark.offset_ms is None else before + _samples(mark.offset_ms)
                self._end(min(offset, self._clock), "client", decisions)
            case VadState.CACHE_ASR_TRIGGER:
                self._cut_upto(self._clock, decisions)
                self._drop_prefetch(decisions)
                if self._start is not None and self._clock > self._start:
                    self._prefetched = self._clock
                    decisions.append(Prefetch(self._number, self._start, self._clock))
            case VadState.CACHE_ASR_DROP:
                self._cut_upto(self._clock, decisions)
                self._drop_prefetch(decisions)

    def _begin(self, at: int, decisions: list[Decision]) -> None:
        self._number += 1
        self._start = at
        decisions.append(Began(self._number, at))

    def _end(
        self, at: int, reason: Literal["client", "stream_end", "max_length"], decisions: list[Decision]
    ) -> None:
        self._cut_upto(at, decisions)
        if self._start is None:
            return
        end = max(at, self._start)
        reuse = self._prefetched is not None and not self._was_said(self._prefetched, end)
        if not reuse:
            self._drop_prefetch(decisions)
        decisions.append(Ended(self._number, self._start, end, reason, reuse))
        self._floor = end
        self._start = self._prefetched = None

    def _drop_prefetch(self, decisions: list[Decision]) -> None:
        if self._prefetched is not None:
            self._prefetched = None
            decisions.append(PrefetchDropped(self._number))

    # -- the longest

    def _cut_upto(self, at: int, decisions: list[Decision]) -> None:
        """Cut the open utterance where it would be too long at sample `at`; the next begins at the cut."""
        while self._start is not None and at - self._start > MAX_SAMPLES:
            cut = self._quietest(self._start + LEAST_CUT_SAMPLES, self._start + MAX_SAMPLES)
            self._drop_prefetch(decisions)
            decisions.append(Ended(self._number, self._start, cut, "max_length", reuse=False))
            self._begin(cut, decisions)

    def _quietest(self, low: int, high: int) -> int:
        """The middle of the quietest 100 ms between two samples, of several the last; `high` where no
        frame is known.
        """
        levels = [(at, frame.level) for at, frame in self._known(low, high)]
        stretches = [levels[n : n + QUIET_FRAMES] for n in range(len(levels) - QUIET_FRAMES + 1)]
        if not stretches:
            return high
        quietest = min(reversed(stretches), key=lambda stretch: sum(level for _, level in stretch))
        return quietest[0][0] + QUIET_FRAMES * FRAME_SAMPLES // 2

    def _known(self, low: int, high: int) -> list[tuple[int, Frame]]:
        """The frames that lie between two samples, each with its first sample."""
        first = self._frames_at - len(self._frames) * FRAME_SAMPLES
        placed = ((first + n * FRAME_SAMPLES, frame) for n, frame in enumerate(self._frames))
        return [(at, frame) for at, frame in placed if low <= at and at + FRAME_SAMPLES <= high]

    # -- prefetches

    def _was_said(self, low: int, high: int) -> bool:
        """Whether there is speech between two samples. What no frame tells of is taken for silence: it is
        shorter than any word.
        """
        voiced = [frame.voiced for _, frame in self._known(low, high)]
        return any(sum(voiced[n : n + SAID_WINDOW]) >= SAID_VOICED for n in range(len(voiced)))


def _samples(ms: int) -> int:
    return ms * SAMPLE_RATE // 1000
