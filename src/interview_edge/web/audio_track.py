"""One stream's audio as one file: what is in it, how long it is, and its bytes, with bounded memory.

The track is the ledger, and what of it has expired, at one moment. Seconds that come later are not in it, and
one that expires later ends the answer, so that all answers under one ETag are the same bytes.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import IO, Any

import attrs
import msgspec
import numpy as np
import trio

from interview_edge.archive.reader import AudioReader
from interview_edge.core.models import LedgerSnapshot, SeqRanges, StreamKey
from interview_edge.core.pcm import CHUNK_BYTES, SAMPLE_RATE
from interview_edge.core.ranges import Ranges
from interview_edge.core.wav import HEADER_BYTES, MAX_DATA_BYTES, wav_header

_SILENCE = bytes(CHUNK_BYTES)
_ENCODED_AT_ONCE = 60  # seconds


@attrs.frozen
class AudioTrack:
    """What one stream holds, as audio from its first second to its last. All sizes are bytes.

    `expired` are held seqs whose audio was deleted.
    """

    key: StreamKey
    ledger: LedgerSnapshot
    expired: SeqRanges = ()

    @property
    def last_seq(self) -> int:
        return self.ledger.held[-1][1] if self.ledger.held else 0

    @property
    def pcm_bytes(self) -> int:
        """Every second 32,000, but the final one where it ends the track and is shorter."""
        if self.last_seq == 0:
            return 0
        ends = self.ledger.final_seq == self.last_seq
        return (self.last_seq - 1) * CHUNK_BYTES + (self.ledger.final_length if ends else CHUNK_BYTES)

    def length_of(self, seq: int) -> int:
        """Only the last second may be short; a short one in between (two nodes' ends) is filled up."""
        return min(CHUNK_BYTES, self.pcm_bytes - (seq - 1) * CHUNK_BYTES)

    @property
    def missing_seconds(self) -> int:
        """How many seconds of silence stand in for what isn't held."""
        return self.last_seq - sum(last - first + 1 for first, last in self.ledger.held)

    @property
    def expired_seconds(self) -> int:
        """How many seconds of silence stand in for what was deleted."""
        return len(Ranges(self.expired))

    @property
    def has_audio(self) -> bool:
        """Whether anything is left of what was held."""
        return next(self._readable(), None) is not None

    @property
    def fits_wav(self) -> bool:
        return self.pcm_bytes <= MAX_DATA_BYTES

    @property
    def wav_bytes(self) -> int:
        return HEADER_BYTES + self.pcm_bytes

    @property
    def etag(self) -> str:
        """Strong: held seconds never change but to expire, so the ledger and these stand for the bytes."""
        ledger = self.ledger
        what = (ledger.held, ledger.final_seq, ledger.final_length, self.expired)
        named = (self.key.session_id, self.key.stream, *what)
        return f'"{hashlib.sha256(msgspec.json.encode(named)).hexdigest()[:32]}"'

    def _readable(self) -> Iterator[tuple[int, int]]:
        return Ranges(self.ledger.held).minus(Ranges(self.expired))

    def pieces(self, first: int) -> Iterator[tuple[int, int, bool]]:
        """(first, last, readable) of the track from second `first` on, in order, without gaps."""
        start = first
        for low, high in self._readable():
            if high < start:
                continue
            if low > start:
                yield start, low - 1, False
                start = low
            yield start, high, True
            start = high + 1
        if start <= self.last_seq:
            yield start, self.last_seq, False


async def read_pcm(track: AudioTrack, reader: AudioReader, start: int) -> AsyncGenerator[bytes, None]:
    """The track's PCM from byte `start` on, a second at a time.

    Holds about a minute of audio. Raises as the reader does, and EdgeError(chunk_expired) for a second that
    expired since the track was taken; close it (`aclosing`) when you leave early.
    """
    skip = start % CHUNK_BYTES
    for first, last, readable in track.pieces(start // CHUNK_BYTES + 1):
        if not readable:
            for seq in range(first, last + 1):
                yield _SILENCE[skip : track.length_of(seq)]
                skip = 0
            continue
        async with aclosing(reader.seconds(track.key, first, last, unexpired=True)) as seconds:
            async for seq, pcm in seconds:
                length = track.length_of(seq)
                # Whoever reads us closes us with aclosing, so the block above ends in time.
                yield (pcm or b"").ljust(length, b"\0")[skip:length]  # noqa: ASYNC119
                skip = 0


async def read_wav(
    track: AudioTrack, reader: AudioReader, start: int, stop: int
) -> AsyncGenerator[bytes, None]:
    """Bytes `start..stop` (exclusive) of the track as a WAV; see `read_pcm`."""
    waiting = wav_header(track.pcm_bytes)[start:stop]
    left = stop - start - len(waiting)
    if left > 0:
        async with aclosing(read_pcm(track, reader, max(0, start - HEADER_BYTES))) as pcm:
            async for second in pcm:
                # The header goes out with the first second: until that is read, a failure still has a status.
                piece, waiting = waiting + second[:left], b""
                left -= min(left, len(second))
                yield piece  # noqa: ASYNC119 - as above
                if left == 0:
                    return
    if waiting:
        yield waiting


async def encode_flac_file(track: AudioTrack, reader: AudioReader, folder: Path) -> IO[bytes]:
    """The track as a FLAC in an unnamed file of `folder`, at its start; the caller closes it.

    On disk, since a FLAC's header names its length, which is known last. Encoding runs in a thread, a minute
    of audio at a time. Cancelled, the file is gone.
    """
    file = await trio.to_thread.run_sync(_open_unnamed, folder)
    try:
        encoder = await trio.to_thread.run_sync(_open_encoder, file)
        try:
            batch: list[bytes] = []
            async with aclosing(read_pcm(track, reader, 0)) as pcm:
                async for second in pcm:
                    batch.append(second)
                    if len(batch) == _ENCODED_AT_ONCE:
                        await trio.to_thread.run_sync(_encode, encoder, b"".join(batch))
                        batch.clear()
            if batch:
                await trio.to_thread.run_sync(_encode, encoder, b"".join(batch))
        finally:
            # Milliseconds, and it must not outlive the file: not worth a thread that cancellation would skip.
            encoder.close()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _open_unnamed(folder: Path) -> IO[bytes]:
    return tempfile.TemporaryFile(dir=folder)


def _open_encoder(file: IO[bytes]) -> Any:
    import soundfile  # here, as in core/flac.py: a node that writes no FLAC never loads libsndfile

    return soundfile.SoundFile(file, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC")


def _encode(encoder: Any, pcm: bytes) -> None:
    encoder.write(np.frombuffer(pcm, dtype="<i2"))
