"""What the archive shows of itself."""

from __future__ import annotations

from collections import deque

import attrs

from interview_edge.archive.putter import PutOutcome

REMEMBERED = 1_000


@attrs.frozen
class ArchiveHealth:
    """The archive at this moment. Uploads are the last 1,000 puts; `retrying` counts streams that wait out a
    failure.

    `refused`: the store's last answer to some stream was one that a retry alone doesn't mend (credentials,
    space): somebody has to act. `last_error` holds no secret (backends promise that of their messages).
    """

    streams: int
    chunks_waiting: int
    oldest_unstored_ms: int | None
    uploads_ok: int
    uploads_failed: int
    retrying: int
    refused: bool
    mean_upload_ms: float | None
    p99_upload_ms: float | None
    last_error: str | None


class UploadHistory:
    """The last 1,000 puts."""

    def __init__(self) -> None:
        self._outcomes: deque[PutOutcome] = deque(maxlen=REMEMBERED)

    def record(self, outcome: PutOutcome) -> None:
        self._outcomes.append(outcome)

    def counts(self) -> tuple[int, int]:
        """How many were confirmed, how many failed."""
        ok = sum(outcome.ok for outcome in self._outcomes)
        return ok, len(self._outcomes) - ok

    def durations(self) -> tuple[float | None, float | None]:
        """Mean and 99th percentile (nearest rank) of the confirmed ones, in ms."""
        took = sorted(outcome.ms for outcome in self._outcomes if outcome.ok)
        if not took:
            return None, None
        return sum(took) / len(took), took[-(-99 * len(took) // 100) - 1]
