"""The last seconds of a live stream, as resolve and transcription want them, wherever they lie.

The window has them, unless it was given back (memory_watch.py) or a restart found them uploaded already: then
they come back into it from the journal or the store.
"""

from __future__ import annotations

from contextlib import aclosing

from interview_edge.archive.reader import AudioReader
from interview_edge.core.ranges import Ranges
from interview_edge.sessions.live_stream import LiveStream


async def read_recent(stream: LiveStream, ms: int, reader: AudioReader) -> bytes:
    """The PCM of the last `ms` up to the highest second held, at most a window's; a gap is zeros. Empty where
    nothing is held.

    Raises as the reader does. Cancelled, the window keeps what came back.
    """
    if stream.closed:
        return b""
    last = stream.ledger.last_seq
    seconds = min(stream.window.capacity, -(-ms // 1000) + 1)  # one more: the last may be short
    wanted = Ranges([(max(1, last - seconds + 1), last)] if last else [])
    for first, end in _lacking(stream, wanted):
        async with aclosing(reader.seconds(stream.key, first, end)) as found:
            async for seq, pcm in found:
                if pcm is not None:
                    stream.show(seq, pcm)
    return b"" if stream.closed else stream.window.read_last(ms, end_seq=last)


def _lacking(stream: LiveStream, wanted: Ranges) -> list[tuple[int, int]]:
    """What of `wanted` the stream holds and its window doesn't."""
    held = Ranges(
        (seq, seq)
        for first, last in wanted
        for seq in range(first, last + 1)
        if seq in stream.ledger.held and not stream.window.holds(seq)
    )
    return list(held)
