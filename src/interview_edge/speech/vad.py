"""Voice activity detection: the seam, and webrtcvad behind it.

Others come by entry point (group `interview_edge.vads`): see `VadProvider`. What is written here they are
held to by `interview_edge.testing.check_vad`.
"""

from __future__ import annotations

from struct import Struct
from typing import Protocol

# The extension under `webrtcvad.Vad`, which adds a Python call and a division to each frame, and at import a
# look-up of its own version. Its C buffer check is the one that counts. It has no type information.
import _webrtcvad  # type: ignore[import-not-found, unused-ignore]

from interview_edge.core.pcm import SAMPLE_BYTES, SAMPLE_RATE


class Vad(Protocol):
    """The VAD of one stream: it hears s16le mono at 16 kHz from the beginning, in order, and adapts to it.

    The same audio gives the same flags however it is cut. Speech is flagged within a few frames; after one
    second of zeros each further frame of zeros is unvoiced (a long gap is not heard to its end). Instances
    know nothing of each other. Calls of one instance never overlap, but each may come from another thread.
    Nothing here is async or does I/O.
    """

    @property
    def frame_samples(self) -> int:
        """Samples of a frame: a whole number of milliseconds, 10 to 100. Never changes."""
        ...

    @property
    def carried_samples(self) -> int:
        """Samples of a begun frame, to be judged with the next call: frames needn't divide a second."""
        ...

    def judge(self, pcm: bytes) -> bytes:
        """A byte for each frame that `pcm` completes: 1 voiced, 0 not. `pcm`: whole samples, any number.

        What it raises is logged and counted in /health; the second is heard again.
        """
        ...

    def warm_up(self, pcm: bytes) -> None:
        """Adapt to `pcm` without judging it: what came before a restart, as state isn't kept over one. What
        is carried is dropped; the next frame begins where `pcm` ends.
        """
        ...


class VadProvider(Protocol):
    """What gives each stream of a node its VAD.

    A plugin's entry point names a callable that takes the Settings and gives an async context manager of
    one; it raises SettingsError where it can't work, so that the start fails and not the first chunk.
    """

    @property
    def provider(self) -> str:
        """Its name, for /health."""
        ...

    @property
    def workers(self) -> int:
        """How many seconds of audio are judged at once, in threads of the node. 0: inline, without any; only
        for what takes well under a millisecond a second of audio, since the acks wait for the same thread.
        """
        ...

    def open(self) -> Vad:
        """A fresh VAD. Called where `judge` is: with workers in a thread, else inline."""
        ...


class WebRtcVad:
    """See `Vad`. Runs inline: 1.8-3.8 µs a frame, less than a thread's hand-over costs.

    `mode` 0..3, 3 the strictest; `frame_ms` 10, 20 or 30. Raises ValueError for others.
    """

    __slots__ = ("_carry", "_frame", "_vad", "frame_samples")

    def __init__(self, mode: int, frame_ms: int) -> None:
        if mode not in (0, 1, 2, 3) or frame_ms not in (10, 20, 30):
            raise ValueError(f"webrtcvad has no mode {mode} or no frames of {frame_ms} ms")
        self._vad = _webrtcvad.create()
        _webrtcvad.init(self._vad)
        _webrtcvad.set_mode(self._vad, mode)
        self.frame_samples = frame_ms * SAMPLE_RATE // 1000
        self._frame = Struct(f"{self.frame_samples * SAMPLE_BYTES}s")
        self._carry = b""

    @property
    def carried_samples(self) -> int:
        """See `Vad`."""
        return len(self._carry) // SAMPLE_BYTES

    def judge(self, pcm: bytes) -> bytes:
        """See `Vad`."""
        if self._carry:
            pcm = self._carry + pcm
        process, vad, samples = _webrtcvad.process, self._vad, self.frame_samples
        whole = len(pcm) - len(pcm) % self._frame.size
        self._carry = pcm[whole:]
        # Cut in C: Python's slices, one a frame, cost 1-2 µs a second more.
        frames = self._frame.iter_unpack(memoryview(pcm)[:whole])
        return bytes([process(vad, SAMPLE_RATE, frame, samples) for (frame,) in frames])

    def warm_up(self, pcm: bytes) -> None:
        """See `Vad`. Its last frame ends where `pcm` ends."""
        self._carry = b""
        self.judge(pcm[len(pcm) % self._frame.size :])


class WebRtcVads:
    """See `VadProvider`: webrtcvad, inline."""

    provider = "webrtc"
    workers = 0

    def __init__(self, mode: int, frame_ms: int) -> None:
        self._mode = mode
        self._frame_ms = frame_ms

    def open(self) -> WebRtcVad:
        """See `VadProvider`."""
        return WebRtcVad(self._mode, self._frame_ms)
