"""The `ingest` of a session: its `mixed` stream's status or, without one, the sum over its streams."""

from __future__ import annotations

from collections.abc import Iterable

from interview_edge.core.models import IngestStatus


def sum_statuses(session_id: str, statuses: Iterable[IngestStatus]) -> IngestStatus | None:
    """Counters added up, times from the first start to the last update; None for no streams.

    `missing` lists no ranges: seqs of different streams don't add up.
    """
    each = list(statuses)
    if not each:
        return None
    return IngestStatus(
        session_id=session_id,
        meeting_id=session_id,
        last_seq=sum(s.last_seq for s in each),
        received_chunks=sum(s.received_chunks for s in each),
        duplicate_chunks=sum(s.duplicate_chunks for s in each),
        missing_chunks=sum(s.missing_chunks for s in each),
        bytes_stored=sum(s.bytes_stored for s in each),
        started_at=min(s.started_at for s in each),
        updated_at=max(s.updated_at for s in each),
        missing=(),
    )
