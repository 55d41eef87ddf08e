"""Times as the wire shows them: ISO 8601 in UTC with milliseconds, what existing clients parse; and the
UTC days by which usage is counted."""

from __future__ import annotations

import datetime


def iso_from_ms(epoch_ms: int) -> str:
    """`2026-11-22T01:02:03.004Z` for epoch milliseconds."""
    moment = datetime.datetime.fromtimestamp(epoch_ms // 1000, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{epoch_ms % 1000:03d}Z"


def utc_day(epoch_ms: int) -> str:
    """`2026-11-22`, the UTC day of epoch milliseconds."""
    return f"{datetime.datetime.fromtimestamp(epoch_ms // 1000, datetime.UTC):%Y-%m-%d}"


def next_utc_day_ms(epoch_ms: int) -> int:
    """Epoch milliseconds of the next UTC midnight."""
    day = 86_400_000
    return (epoch_ms // day + 1) * day
