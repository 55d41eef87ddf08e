"""Audio files and pipes as what a stream takes: seconds of 16 kHz mono s16le.

Files: whatever libsndfile reads (WAV of any kind, FLAC, Ogg, MP3, AIFF), everything else through PyAV where
the extra `media` is installed. Pipes: WAV whose header is read as it comes, or raw PCM. All of it is
streamed, so length costs no memory. All of it blocks: run it in a thread.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import attrs
import numpy as np
import soundfile

from interview_edge.core.pcm import CHUNK_BYTES, SAMPLE_BYTES, SAMPLE_RATE
from interview_edge.core.resample import Resampler, Samples

if TYPE_CHECKING:
    from av.audio.resampler import AudioResampler  # of the optional extra: imported where it is needed

_FRAMES = 16_384  # read at once, of all channels
_MAX_CHANNELS = 64
_PCM_TAG, _FLOAT_TAG, _EXTENSIBLE_TAG = 1, 3, 0xFFFE


class AudioError(ValueError):
    """The input can't be read as audio. The text says what to do about it."""


@attrs.frozen
class AudioSource:
    """Chunks of 32,000 bytes, the last one maybe shorter, never empty; `seconds` where the input tells.

    Iterating raises `AudioError` when the input turns out to be broken.
    """

    seconds: float | None
    chunks: Iterator[bytes]


def open_file(path: Path) -> AudioSource:
    """The audio of a file. Raises `AudioError` where nothing here can read it, else OSError."""
    with path.open("rb"):  # a missing or forbidden file says so in the system's own words
        pass
    try:
        sound = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        return _open_media(path, str(error))
    _check_format(sound.channels)
    return AudioSource(sound.frames / sound.samplerate, _cut(_convert(_blocks(sound), sound.samplerate)))


def open_raw(pipe: BinaryIO) -> AudioSource:
    """Raw PCM that is 16 kHz mono s16le already."""
    return AudioSource(None, _cut(iter(lambda: _read_some(pipe), b"")))


def open_wav_pipe(pipe: BinaryIO) -> AudioSource:
    """A WAV that can't be sought in: 16, 24 or 32-bit integers or floats; the length may be left open.

    Raises `AudioError` for anything else.
    """
    header = _read_header(pipe)
    frames = _pipe_blocks(pipe, header)
    return AudioSource(header.seconds, _cut(_convert(frames, header.rate)))


def _check_format(channels: int) -> None:
    if not 1 <= channels <= _MAX_CHANNELS:
        raise AudioError(f"audio must have 1..{_MAX_CHANNELS} channels, this has {channels}")


def _blocks(sound: soundfile.SoundFile) -> Iterator[Samples]:
    with sound:
        yield from sound.blocks(_FRAMES, dtype="float32", always_2d=True)


def _open_media(path: Path, reason: str) -> AudioSource:
    """A file that libsndfile refused, through PyAV. Its own resampler also brings any layout to mono."""
    try:
        from av.audio.resampler import AudioResampler
    except ImportError:
        raise AudioError(
            f"can't read {path} as WAV, FLAC, Ogg, MP3 or AIFF ({reason}). "
            "For other formats install interview-edge[media]."
        ) from None
    return AudioSource(None, _cut(_media_pcm(path, AudioResampler("s16", "mono", SAMPLE_RATE))))


def _media_pcm(path: Path, resampler: AudioResampler) -> Iterator[bytes]:
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise AudioError(f"{path} has no audio in it")
            for frame in itertools.chain(container.decode(audio=0), [None]):  # None: what is still held
                for out in resampler.resample(frame):
                    yield out.to_ndarray().astype("<i2").tobytes()
    except av.FFmpegError as error:
        raise AudioError(f"can't read {path}: {error}") from None


def _convert(blocks: Iterable[Samples], rate: int) -> Iterator[bytes]:
    """Blocks of shape (frames, channels) as bytes of 16 kHz mono s16le.

    Channels are averaged. 16-bit mono at 16 kHz comes out bit for bit: float32 holds each value exactly.
    """
    try:
        resampler = Resampler(rate)
    except ValueError as error:
        raise AudioError(str(error)) from None
    for block in blocks:
        yield _quantise(resampler.feed(block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)))
    yield _quantise(resampler.finish())


def _quantise(samples: Samples) -> bytes:
    # NaN, which a float WAV may hold, has no 16-bit value: silence.
    scaled = np.rint(np.nan_to_num(samples, nan=0.0) * 32_768.0)
    data: bytes = np.clip(scaled, -32_768, 32_767).astype("<i2").tobytes()
    return data


def _cut(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces of any size as chunks; half a sample at the very end is dropped."""
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= CHUNK_BYTES:
            yield bytes(held[:CHUNK_BYTES])
            del held[:CHUNK_BYTES]
    del held[len(held) - len(held) % SAMPLE_BYTES :]
    if held:
        yield bytes(held)


@attrs.frozen
class _WavHeader:
    tag: int
    channels: int
    rate: int
    width: int  # bytes of one sample of one channel
    data_bytes: int | None  # None: until the end of the pipe

    @property
    def seconds(self) -> float | None:
        frame = self.width * self.channels
        return None if self.data_bytes is None else self.data_bytes / frame / self.rate


def _read_header(pipe: BinaryIO) -> _WavHeader:
    """Everything up to the first byte of audio. Raises `AudioError`."""
    riff = _read_exactly(pipe, 12)
    if riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
        raise AudioError("the pipe holds no WAV; for raw 16 kHz mono s16le add --raw")
    form: tuple[int, int, int, int] | None = None
    while True:
        name, size = struct.unpack("<4sI", _read_exactly(pipe, 8))
        if name == b"data":
            break
        if size > 1 << 20:
            raise AudioError(f"the WAV's {name!r} part is too large to be one")
        body = _read_exactly(pipe, size + size % 2)
        if name == b"fmt ":
            form = _parse_format(body)
    if form is None:
        raise AudioError("the WAV has audio before its format")
    # Who writes to a pipe can't go back to fill in the size and leaves 0 or all ones.
    return _WavHeader(*form, data_bytes=None if size in (0, 0xFFFFFFFF) else size)


def _parse_format(body: bytes) -> tuple[int, int, int, int]:
    if len(body) < 16:
        raise AudioError("the WAV's format is cut short")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", body)
    if tag == _EXTENSIBLE_TAG and len(body) >= 26:
        (tag,) = struct.unpack_from("<H", body, 24)
    if bits not in {_PCM_TAG: (16, 24, 32), _FLOAT_TAG: (32, 64)}.get(tag, ()):
        raise AudioError(
            f"a piped WAV must be 16, 24 or 32-bit PCM or float, this is {bits}-bit of kind {tag}; "
            "write it to a file and send that"
        )
    _check_format(channels)
    return tag, channels, rate, bits // 8


def _pipe_blocks(pipe: BinaryIO, header: _WavHeader) -> Iterator[Samples]:
    frame_bytes = header.width * header.channels
    left = header.data_bytes
    rest = b""
    while piece := _read_some(pipe, left):
        left = None if left is None else left - len(piece)
        rest += piece
        whole = len(rest) // frame_bytes * frame_bytes
        yield _decode(header)(rest[:whole]).reshape(-1, header.channels)
        rest = rest[whole:]


def _decode(header: _WavHeader) -> Callable[[bytes], Samples]:
    if header.tag == _FLOAT_TAG:
        return lambda data: np.frombuffer(data, f"<f{header.width}").astype(np.float32)
    if header.width == 3:
        return _decode_24_bit
    scale = float(1 << (8 * header.width - 1))
    return lambda data: (np.frombuffer(data, f"<i{header.width}") / scale).astype(np.float32)


def _decode_24_bit(data: bytes) -> Samples:
    # Three bytes become the upper three of an int32, which also carries the sign.
    wide = np.zeros((len(data) // 3, 4), dtype=np.uint8)
    wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return (wide.view("<i4")[:, 0] / float(1 << 31)).astype(np.float32)


def _read_some(pipe: BinaryIO, at_most: int | None = None) -> bytes:
    """What the pipe has, b"" at its end: a live pipe is heard as it speaks, not in full blocks."""
    size = CHUNK_BYTES if at_most is None else min(CHUNK_BYTES, at_most)
    read1 = getattr(pipe, "read1", pipe.read)
    data: bytes = read1(size) if size else b""
    return data


def _read_exactly(pipe: BinaryIO, size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise AudioError("the pipe ended before any audio came")
    return data
