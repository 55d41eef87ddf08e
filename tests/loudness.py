"""For tests: a VAD that blocks, as a plugin's would. It goes by loudness and remembers nothing, so that a
fresh one judges as the one before it would have.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np

from interview_edge.core.pcm import SAMPLE_BYTES

FRAME_SAMPLES = 512  # as silero's: no whole number of them in a second
LOUD = 400.0  # root mean square, of 32,768
HELD_AT_MOST = 10.0  # seconds that `Held` keeps a thread: a test that forgets it fails, and doesn't hang


class LoudnessVad:
    """See `Vad`."""

    frame_samples = FRAME_SAMPLES

    def __init__(self) -> None:
        self._carry = b""

    @property
    def carried_samples(self) -> int:
        return len(self._carry) // SAMPLE_BYTES

    def judge(self, pcm: bytes) -> bytes:
        pcm = self._carry + pcm
        whole = len(pcm) - len(pcm) % (FRAME_SAMPLES * SAMPLE_BYTES)
        self._carry = pcm[whole:]
        samples = np.frombuffer(pcm[:whole], "<i2").astype(np.float64).reshape(-1, FRAME_SAMPLES)
        return bytes((samples**2).mean(axis=1) > LOUD**2) if whole else b""

    def warm_up(self, pcm: bytes) -> None:
        self._carry = b""


class LoudnessVads:
    """See `VadProvider`. `opened` are the VADs that it gave."""

    provider = "loudness"

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self.opened: list[LoudnessVad] = []

    def open(self) -> LoudnessVad:
        self.opened.append(LoudnessVad())
        return self.opened[-1]


class HeldVad(LoudnessVad):
    """Waits at the second that it is told to, in the middle of it: what it has judged then is lost if its
    caller goes.
    """

    def __init__(self, owner: HeldVads) -> None:
        super().__init__()
        self._owner = owner

    def judge(self, pcm: bytes) -> bytes:
        owner = self._owner
        owner.calls += 1
        if owner.calls != owner.hold_at:
            return super().judge(pcm)
        half = len(pcm) // 2 // SAMPLE_BYTES * SAMPLE_BYTES
        flags = super().judge(pcm[:half])
        owner.reached.set()
        owner.go_on.wait(HELD_AT_MOST)
        if owner.fails:
            raise RuntimeError("the VAD broke")
        return flags + super().judge(pcm[half:])


class HeldVads(LoudnessVads):
    """Gives VADs of which call `hold_at`, counted over all of them, waits for `go_on`; then it may fail."""

    def __init__(self, hold_at: int, *, fails: bool = False, workers: int = 1) -> None:
        super().__init__(workers)
        self.hold_at = hold_at
        self.fails = fails
        self.calls = 0
        self.reached, self.go_on = threading.Event(), threading.Event()

    def open(self) -> LoudnessVad:
        self.opened.append(HeldVad(self))
        return self.opened[-1]


@asynccontextmanager
async def open_loudness(_: object = None) -> AsyncIterator[LoudnessVads]:
    """As a plugin's entry point names it: takes the settings."""
    yield LoudnessVads()
