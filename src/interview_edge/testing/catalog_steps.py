"""What the checks of a catalog share: steps of the archive to record, and the sentence that must hold."""

from __future__ import annotations

from interview_edge.catalog import StoredChunks
from interview_edge.core.models import Extent, LedgerSnapshot, StreamKey
from interview_edge.core.pcm import CHUNK_BYTES

KEY = StreamKey("session", "mixed")


def stored_chunks(
    first: int,
    last: int,
    *,
    key: StreamKey = KEY,
    object_key: str | None = None,
    mark: int = 1,
    duplicates: int = 0,
    at: int = 1_000,
    final_length: int | None = None,
) -> StoredChunks:
    """One step of the archive, for tests: `first..last` in one object; `mark` stands for its audio."""
    length = CHUNK_BYTES * (last - first + 1)
    if final_length is not None:
        length += final_length - CHUNK_BYTES
    return StoredChunks(
        key=key,
        extents=[
            Extent(
                first,
                last,
                object_key or f"o/{first}-{last}",
                length,
                bytes([mark]) * 32,
                object_size=length,
                stored_at=at,
            )
        ],
        identities={seq: identity_of(seq, mark) for seq in range(first, last + 1)},
        ledger=LedgerSnapshot(
            held=((first, last),),
            final_seq=None if final_length is None else last,
            final_length=final_length or 0,
            duplicates=duplicates,
            started_at=at,
            updated_at=at,
        ),
        stored_at=at,
    )


def identity_of(seq: int, mark: int = 1) -> bytes:
    return bytes([mark]) + seq.to_bytes(15, "big")


def must(holds: bool, sentence: str, got: object) -> None:
    if not holds:
        raise AssertionError(f"the catalog's contract: {sentence}. Got: {got!r}")
