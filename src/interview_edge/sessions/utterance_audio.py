"""The audio of an utterance: from the window of its session, or once that has let go of it, from the journal
or the store.
"""

from __future__ import annotations

from contextlib import aclosing

from interview_edge.archive.reader import AudioReader
from interview_edge.core.models import StreamKey, Utterance
from interview_edge.core.pcm import CHUNK_BYTES, CHUNK_SAMPLES, SAMPLE_BYTES
from interview_edge.sessions.live_stream import LiveStream


class AudioGone(Exception):
    """The seconds of an utterance have expired, or were never held."""


async def read_utterance(
    key: StreamKey, utterance: Utterance, stream: LiveStream | None, reader: AudioReader
) -> bytes:
    """The PCM of an utterance of `key`, whose live stream is `stream` where it is open here. A gap in it is
    silence.

    Raises AudioGone where nothing of it is held, and what the reader does.
    """
    first = utterance.start_sample // CHUNK_SAMPLES + 1
    last = (utterance.end_sample - 1) // CHUNK_SAMPLES + 1
    found: dict[int, bytes] = {}
    for seq in range(first, last + 1):
        pcm = None if stream is None else stream.shown(seq)
        if pcm is not None:
            found[seq] = pcm
    if len(found) <= last - first:
        async with aclosing(reader.seconds(key, first, last)) as seconds:
            found |= {seq: pcm async for seq, pcm in seconds if pcm is not None}
    if not found:
        raise AudioGone
    whole = b"".join(found.get(seq, b"").ljust(CHUNK_BYTES, b"\0") for seq in range(first, last + 1))
    start = utterance.start_sample - (first - 1) * CHUNK_SAMPLES
    length = utterance.end_sample - utterance.start_sample
    return whole[start * SAMPLE_BYTES : (start + length) * SAMPLE_BYTES]
