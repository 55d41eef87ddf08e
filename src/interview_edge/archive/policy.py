"""How one node's archive works: what it makes of chunks, how much at once, how patiently."""

from __future__ import annotations

from random import Random

import attrs

from interview_edge.core.models import Layout, SegmentFormat

# 2^16 times the first delay is over any retry_max that settings allow; past it the number would only grow.
MAX_DOUBLINGS = 16


@attrs.frozen(kw_only=True)
class ArchivePolicy:
    """The archive's settings (settings.py has their meaning and limits). Durations are seconds.

    `concurrency` bounds the streams worked on at once and the puts under way at once, each. `put_at_once`
    (ack level `backend`) makes every chunk due as soon as it is journalled.
    """

    layout: Layout = Layout.CHUNKS
    segment_format: SegmentFormat = SegmentFormat.FLAC
    upload_interval_ms: int = 60_000
    concurrency: int = 8
    upload_timeout: float = 60.0
    retry_initial: float = 0.5
    retry_max: float = 30.0
    put_at_once: bool = False

    def retry_delay(self, failures: int, random: Random, *, refused: bool) -> float:
        """Seconds until the next try, after `failures` in a row. There is always a next one.

        Exponential with full jitter, so that streams that failed together come back spread out (Brooker,
        "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). A store that refused comes at the
        slowest pace: somebody has to mend it first.
        """
        if refused:
            return random.uniform(self.retry_max / 2, self.retry_max)
        longest = self.retry_initial * 2 ** min(failures - 1, MAX_DOUBLINGS)
        return random.uniform(0, min(self.retry_max, longest))
