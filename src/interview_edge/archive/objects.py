"""What an object looks like: its bytes, content type and metadata (contract ingest.md, Keys)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

import attrs
import trio

from interview_edge.backends.protocol import StorageBackend
from interview_edge.core.flac import decode_flac, encode_flac
from interview_edge.core.keys import session_prefix
from interview_edge.core.models import StreamKey
from interview_edge.core.pcm import FORMAT, SAMPLE_RATE
from interview_edge.core.wav import decode_wav, encode_wav
from interview_edge.journal.records import JournalRow

LIST_PAGE = 1_000
CONTENT_TYPES = {"pcm": "application/octet-stream", "flac": "audio/flac", "wav": "audio/wav"}


class Codec:
    """PCM to an object's bytes and back. FLAC works in at most `threads` threads of this codec's own.

    Of its own, since encoding is CPU-bound: as many threads as trio allows would starve the trio thread.
    """

    def __init__(self, threads: int = 2) -> None:
        self._limiter = trio.CapacityLimiter(threads)

    async def encode(self, pcm: bytes, format: str) -> bytes:
        """`pcm` as an object of `format` (`pcm`, `wav`, `flac`). Cancelled, it waits for its thread (some 70
        ms).
        """
        if format == "flac":
            return await self._in_thread(encode_flac, pcm)
        return encode_wav(pcm) if format == "wav" else pcm

    async def decode(self, data: bytes, format: str) -> bytes:
        """The PCM of an object. Raises ValueError where `data` isn't of `format`."""
        if format == "flac":
            return await self._in_thread(decode_flac, data)
        return decode_wav(data) if format == "wav" else data

    async def _in_thread(self, convert: Callable[[bytes], bytes], data: bytes) -> bytes:
        return await trio.to_thread.run_sync(convert, data, limiter=self._limiter)


@attrs.frozen
class NewObject:
    """An object to put: `pcm` in `format` at `key`, with `metadata`."""

    key: str
    pcm: bytes = attrs.field(repr=False)
    format: str
    metadata: Mapping[str, str]

    @property
    def distinct_key(self) -> str:
        """Where it goes when `key` holds other bytes: by its content, so that a repeat finds the same key."""
        stem, _, extension = self.key.rpartition(".")
        return f"{stem}~{hashlib.sha256(self.pcm).hexdigest()[:8]}.{extension}"


def chunk_metadata(key: StreamKey, row: JournalRow) -> dict[str, str]:
    """The contract's custom metadata of a one-chunk object."""
    return session_metadata(key) | row_metadata(row)


def segment_metadata(key: StreamKey, rows: Sequence[JournalRow]) -> dict[str, str]:
    """The same of a segment: `seq` and `timestamp_ms` are those of its first chunk, `last_seq` says how far
    it goes.
    """
    last = rows[-1]
    return chunk_metadata(key, rows[0]) | {"last_seq": str(last.seq)} | _final(last)


def row_metadata(row: JournalRow) -> dict[str, str]:
    """What `chunk_metadata` says of the chunk."""
    return {"seq": str(row.seq), "timestamp_ms": str(row.timestamp_ms)} | _final(row)


def _final(row: JournalRow) -> dict[str, str]:
    # Part of a chunk's identity, which fsck makes again from an object that no table names.
    return {"final": "true"} if row.final else {}


def session_metadata(key: StreamKey) -> dict[str, str]:
    """What `chunk_metadata` says of the stream, the same for each of its chunks."""
    # S3 carries metadata in HTTP headers, which are ASCII and lose outer spaces: percent-encoded, as in a
    # path.
    session_id = quote(key.session_id, safe="")
    return {
        "session_id": session_id,
        "meeting_id": session_id,
        "stream": key.stream,
        "sample_rate": str(SAMPLE_RATE),
        "channels": "1",
        "format": FORMAT,
    }


async def delete_objects(backend: StorageBackend, session_id: str, *, timeout: float) -> int:
    """Delete every object of a session; how many there were. Idempotent; cancelled, some are gone and some
    not.

    The prefix ends in `/` (core/keys.py), so it is no prefix of another session's keys. Each page's listing
    and each delete may take `timeout` seconds; raises `trio.TooSlowError` and `BackendError`.
    """
    deleted = 0
    prefix = session_prefix(session_id)
    while True:
        # Page by page, each listed whole before its deletes: a store need not list steadily while it changes.
        with trio.fail_after(timeout):
            page = [info.key async for info in backend.list(prefix, limit=LIST_PAGE)]
        for key in page:
            with trio.fail_after(timeout):
                await backend.delete(key)
        deleted += len(page)
        if not page:
            return deleted
