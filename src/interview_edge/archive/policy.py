"""How one node's archive works: what it makes of chunks, how much at once, how patiently."""

from __future__ import annotations

import attrs

from interview_edge.core.models import Layout, SegmentFormat


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
