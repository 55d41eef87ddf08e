"""The window: the last two minutes of one stream in memory, a ring placed by seq.

The ring is one private anonymous mapping, made at the first write: an idle stream costs no memory, pages
become resident as seconds come, and closing gives all of it back at once (a bytearray would touch 3.84 MB
when made, and the allocator might keep them). numpy sees it as one row of samples a second.
"""

from __future__ import annotations

import contextlib
import mmap
from array import array

import numpy as np
import numpy.typing as npt

from interview_edge.core.pcm import CHUNK_BYTES, CHUNK_SAMPLES, SAMPLE_BYTES, SAMPLE_RATE


class _Ring:
    """The mapping, and what lies where."""

    __slots__ = ("_map", "lengths", "rows", "seqs")

    def __init__(self, slots: int) -> None:
        # MAP_PRIVATE: Python's default, shared, would count as shared memory, which containers limit.
        self._map = mmap.mmap(-1, slots * CHUNK_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with contextlib.suppress(OSError):  # a kernel without transparent huge pages refuses the advice
            # One huge page would make 2 MB resident for the first second.
            self._map.madvise(mmap.MADV_NOHUGEPAGE)
        self.rows: npt.NDArray[np.int16] = np.frombuffer(self._map, "<i2").reshape(slots, CHUNK_SAMPLES)
        # Of each slot: the seq that was written there last (0: none yet), and how many samples it had.
        self.seqs = array("I", bytes(4 * slots))
        self.lengths = array("H", bytes(2 * slots))

    def close(self) -> None:
        # numpy's view must go first: a mapping with a view on it can't be closed (BufferError).
        del self.rows
        self._map.close()


class Window:
    """The last `capacity_ms` (rounded up to whole seconds) of one stream. A gap is zeros; a late chunk fills
    it.

    Not safe for threads: its session's tasks own it. After `close`, writing, reading and `evict` raise
    ValueError.
    """

    __slots__ = ("_closed", "_highest", "_ring", "_slots")

    def __init__(self, capacity_ms: int = 120_000) -> None:
        if capacity_ms < 1:
            raise ValueError(f"a window of {capacity_ms} ms holds nothing")
        self._slots = -(-capacity_ms // 1000)
        self._highest = 0
        self._closed = False
        self._ring: _Ring | None = None

    # -- writing

    def write(self, seq: int, pcm: bytes | memoryview) -> bool:
        """Place one second, in one copy; the final one may be shorter. False for a seq older than the window.

        Raises ValueError for a seq below 1, an empty or longer chunk, or half a sample.
        """
        if seq < 1 or not 0 < len(pcm) <= CHUNK_BYTES or len(pcm) % SAMPLE_BYTES:
            raise ValueError(f"not a chunk: seq {seq}, {len(pcm)} bytes")
        self._check_open()
        if seq <= self._highest - self._slots:
            return False
        if self._ring is None:
            self._ring = _Ring(self._slots)
        if seq > self._highest:
            self._advance(self._ring, seq)
        slot = (seq - 1) % self._slots
        samples = len(pcm) // SAMPLE_BYTES
        row = self._ring.rows[slot]
        row[:samples] = np.frombuffer(pcm, "<i2")
        row[samples:] = 0
        self._ring.seqs[slot] = seq
        self._ring.lengths[slot] = samples
        return True

    def _advance(self, ring: _Ring, seq: int) -> None:
        """Make `seq` the highest. Slots passed over become gaps: zeros (never written, they are)."""
        for skipped in range(max(self._highest + 1, seq - self._slots + 1), seq):
            slot = (skipped - 1) % self._slots
            if ring.seqs[slot]:
                ring.rows[slot] = 0
        self._highest = seq

    # -- reading

    @property
    def highest(self) -> int:
        """The highest seq ever written, 0 before the first."""
        return self._highest

    @property
    def held_bytes(self) -> int:
        """Bytes of the ring that were touched: what the window costs."""
        return 0 if self._ring is None else CHUNK_BYTES * (self._slots - self._ring.seqs.count(0))

    @property
    def capacity(self) -> int:
        """How many seconds it holds at most."""
        return self._slots

    def holds(self, seq: int) -> bool:
        """Whether `read` of it gives audio."""
        self._check_open()
        return self._ring is not None and self._holds(self._ring, seq)

    def read(self, seq: int) -> bytes | None:
        """The PCM of one second as it was written; None where the window doesn't hold it."""
        self._check_open()
        if self._ring is None or not self._holds(self._ring, seq):
            return None
        slot = (seq - 1) % self._slots
        return self._ring.rows[slot, : self._ring.lengths[slot]].tobytes()

    def read_last(self, ms: int, *, end_seq: int | None = None) -> bytes:
        """The PCM of the last `ms` up to the end of `end_seq` (default and at most: the highest), gaps as
        zeros.

        A short final second ends where its audio ends. Fewer bytes where the audio in the window begins
        later, none where it holds none of it. Raises ValueError for a negative `ms`.
        """
        if ms < 0:
            raise ValueError(f"can't read the last {ms} ms")
        self._check_open()
        ring = self._ring
        end = self._highest if end_seq is None else min(end_seq, self._highest)
        oldest = max(1, self._highest - self._slots + 1)
        first = next((seq for seq in range(oldest, end + 1) if ring and self._holds(ring, seq)), None)
        if ring is None or first is None:
            return b""
        last_slot = (end - 1) % self._slots
        short = CHUNK_SAMPLES - ring.lengths[last_slot] if self._holds(ring, end) else 0
        wanted = ms * SAMPLE_RATE // 1000
        # Only the seconds that are asked for are copied.
        first = max(first, end + 1 - -(-(wanted + short) // CHUNK_SAMPLES))
        slots = (np.arange(first, end + 1) - 1) % self._slots
        samples = ring.rows[slots].reshape(-1)
        stop = len(samples) - short
        return samples[max(0, stop - wanted) : stop].tobytes()

    def _holds(self, ring: _Ring, seq: int) -> bool:
        """Whether the slot of `seq` has its audio; a slot that names a seq of an earlier lap is a gap."""
        in_window = max(1, self._highest - self._slots + 1) <= seq <= self._highest
        return in_window and ring.seqs[(seq - 1) % self._slots] == seq

    # -- giving memory back

    def evict(self) -> None:
        """Give the memory back and hold nothing; what comes next is held again."""
        self._check_open()
        self._unmap()

    def close(self) -> None:
        """Give the memory back for good. Idempotent."""
        self._closed = True
        self._unmap()

    def _unmap(self) -> None:
        if self._ring is not None:
            ring, self._ring = self._ring, None
            ring.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the window is closed")
