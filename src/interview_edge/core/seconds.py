"""Audio that comes in pieces of any length, cut anew into whole seconds. No I/O, no clock but the samples."""

from __future__ import annotations

from interview_edge.core.pcm import CHUNK_BYTES, SAMPLE_BYTES


class SecondCutter:
    """The seconds of one recording, from its first sample on, whatever pieces it came in.

    A second stays until `drop`: who was cancelled between taking it and finding it a safe place has lost
    nothing. Its owner takes whole seconds as they come, so it holds less than a piece and a second.

    Where a recording rests, `pad` fills the begun second with silence. It isn't made the stream's `final`
    chunk, which may be short, because nothing may follow that one, and a recording may go on; nor does it
    wait for more, because it would be lost with the process. What was added is counted, for the record.
    """

    __slots__ = ("_held", "samples")

    def __init__(self) -> None:
        self._held = bytearray()
        self.samples = 0  # of audio ever added, silence of `pad` included: the recording's clock

    def add(self, pcm: bytes) -> None:
        """Take the next piece. Raises ValueError for half a sample, with nothing taken."""
        if len(pcm) % SAMPLE_BYTES:
            raise ValueError(f"{len(pcm)} bytes are no whole number of samples")
        self._held += pcm
        self.samples += len(pcm) // SAMPLE_BYTES

    @property
    def has_second(self) -> bool:
        """Whether a whole second is there."""
        return len(self._held) >= CHUNK_BYTES

    def first(self) -> bytes:
        """The oldest second. Raises ValueError where none is whole."""
        if not self.has_second:
            raise ValueError("no whole second is there")
        return bytes(memoryview(self._held)[:CHUNK_BYTES])

    def drop(self) -> None:
        """The oldest second is safe elsewhere."""
        del self._held[:CHUNK_BYTES]

    @property
    def held(self) -> bytes:
        """Everything that was added and not dropped."""
        return bytes(self._held)

    def pad(self) -> int:
        """Fill a begun second up with zeros; how many samples that took."""
        missing = -len(self._held) % CHUNK_BYTES
        self.add(bytes(missing))
        return missing // SAMPLE_BYTES
