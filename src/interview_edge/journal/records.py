"""The values that the journal takes and gives."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from interview_edge.core.models import Chunk, Layout, StreamKey


@attrs.define(eq=False)
class Append:
    """A chunk on its way into the journal. `done(error)` is called once, on the trio thread, in order of
    submission: with None when the commit is durable, with the error when the journal closed before it could
    be.

    `repeat` marks a repeat of a held chunk: nothing but the stream's duplicate count is written, durably.
    """

    key: StreamKey
    chunk: Chunk
    at: int
    done: Callable[[Exception | None], None]
    repeat: bool = False


@attrs.frozen
class JournalRow:
    """A journalled chunk without its PCM. `at` is when it was accepted, epoch ms."""

    seq: int
    timestamp_ms: int
    final: bool
    length: int
    sha256: bytes
    identity: bytes
    at: int


@attrs.frozen
class ObjectPlan:
    """One object (or, with layout `chunks`, one run of one-chunk objects) that is about to be put.

    Journalled before the put, so that a replay makes the same objects under the same keys even if the
    settings changed. `seqs` is first..last, every one of them journalled. `sha256` is of the whole PCM for a
    segment.
    """

    key: StreamKey
    first: int
    last: int
    layout: Layout
    format: str
    object_key: str | None = None
    sha256: bytes | None = None


@attrs.frozen
class JournalledStream:
    """What the journal holds of one stream: for replay at start. `duplicates` not yet in the catalog."""

    key: StreamKey
    rows: int
    bytes: int
    oldest_at: int | None
    duplicates: int
