"""Short audio as a request carries it, in any of the contract's formats, as samples of 16 kHz mono.

libsndfile reads WAV, FLAC, Ogg and MP3; m4a, and what libsndfile can't, goes through PyAV. All of it blocks
and takes milliseconds: run it in a thread.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import attrs
import numpy as np
import numpy.typing as npt

from interview_edge.core.pcm import SAMPLE_RATE
from interview_edge.core.resample import Resampler

if TYPE_CHECKING:
    from av import AudioFrame  # of an optional extra: imported where it is needed

MAX_SECONDS = 30.0
RAW_FORMAT = "pcm_s16le"
_DEMUXERS = {"wav": "wav", "mp3": "mp3", "m4a": "mov", "ogg": "ogg", "flac": "flac"}  # FFmpeg's names
MIN_RATE, MAX_RATE = 8_000, 96_000  # the contract's
MAX_CHANNELS = 2
_BLOCK = 16_384  # frames decoded at once

Samples = npt.NDArray[np.float32]


class UndecodableClip(ValueError):
    """The bytes aren't audio of their format. The text says what was found."""


class ClipTooLong(ValueError):
    """More than 30 s."""

    def __init__(self) -> None:
        super().__init__(f"audio must be at most {MAX_SECONDS:g} s long")


@attrs.frozen
class Clip:
    """Audio as it came. `sample_rate` and `channels` say what raw PCM is; files say it themselves."""

    content: bytes = attrs.field(repr=False)
    format: str
    sample_rate: int = SAMPLE_RATE
    channels: int = 1


def decode_clip(clip: Clip) -> Samples:
    """The samples, -1 to 1, shape (n,): channels averaged, resampled. Raises UndecodableClip, ClipTooLong.

    Decodes no more than 30 s, however much a small file claims to hold.
    """
    if clip.format == RAW_FORMAT:
        return _gather([_raw_frames(clip)], clip.sample_rate)
    if clip.format == "m4a":
        return _decode_media(clip)
    return _decode_sound(clip)


def _raw_frames(clip: Clip) -> Samples:
    frame = 2 * clip.channels
    if not clip.content or len(clip.content) % frame:
        raise UndecodableClip(
            f"{len(clip.content)} bytes are no whole number of frames of {clip.channels} x 16 bits"
        )
    samples = np.frombuffer(clip.content, "<i2").reshape(-1, clip.channels)
    return (samples / 32_768).astype(np.float32)


def _decode_sound(clip: Clip) -> Samples:
    import soundfile  # 5 MB of libsndfile: only where it is used

    try:
        with soundfile.SoundFile(io.BytesIO(clip.content)) as sound:
            _check(sound.samplerate, sound.channels)
            return _gather(sound.blocks(_BLOCK, dtype="float32", always_2d=True), sound.samplerate)
    except soundfile.LibsndfileError as error:
        # FFmpeg reads some that libsndfile doesn't: ADPCM in WAV, MPEG-2.5...
        return _decode_media(clip, error.error_string)


def _decode_media(clip: Clip, reason: str | None = None) -> Samples:
    try:
        import av
    except ImportError:
        raise UndecodableClip(reason or "m4a needs the extra `local` or `media`") from None
    try:
        # The format is named: left to guess, FFmpeg takes a playlist for audio and opens what it lists.
        # From memory, so that m4a's index may stand at its end.
        with av.open(io.BytesIO(clip.content), "r", format=_DEMUXERS[clip.format]) as container:
            if not container.streams.audio:
                raise UndecodableClip("there is no audio in it")
            stream = container.streams.audio[0]
            _check(stream.rate, stream.channels)
            to_floats = av.AudioResampler("fltp", stream.layout, stream.rate)
            frames = itertools.chain(container.decode(stream), [None])
            blocks = (_floats(out) for frame in frames for out in to_floats.resample(frame))
            return _gather(blocks, stream.rate)
    except av.FFmpegError as error:
        raise UndecodableClip(reason or error.strerror or "FFmpeg can't read it") from None


def _floats(frame: AudioFrame) -> Samples:
    """Of planar floats, shape (frames, channels)."""
    planes: Samples = frame.to_ndarray().astype(np.float32, copy=False)
    return planes.T


def _check(rate: int, channels: int) -> None:
    if not MIN_RATE <= rate <= MAX_RATE or not 1 <= channels <= MAX_CHANNELS:
        raise UndecodableClip(
            f"audio must have {MIN_RATE}..{MAX_RATE} Hz and 1..{MAX_CHANNELS} channels, "
            f"this has {rate} Hz and {channels}"
        )


def _gather(blocks: Iterable[Samples], rate: int) -> Samples:
    """Blocks of shape (frames, channels) as one array. Raises ClipTooLong once there is too much."""
    resampler = Resampler(rate)
    parts = [resampler.feed(mono) for mono in _bounded(blocks, int(MAX_SECONDS * rate))]
    samples: Samples = np.concatenate([*parts, resampler.finish()])
    return np.nan_to_num(samples, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _bounded(blocks: Iterable[Samples], most: int) -> Iterator[Samples]:
    frames = 0
    for block in blocks:
        frames += len(block)
        if frames > most:
            raise ClipTooLong
        mono: Samples = block.mean(axis=1, dtype=np.float32) if block.shape[1] > 1 else block[:, 0]
        yield mono
