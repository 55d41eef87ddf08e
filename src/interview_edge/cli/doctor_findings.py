"""What a check of `interview-edge doctor` answers."""

from __future__ import annotations

import enum

import attrs

DEADLINE = 20.0  # of each check, seconds


class Verdict(enum.Enum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@attrs.frozen
class Finding:
    """One row of the report. `mend` says what to do, where there is something to do."""

    check: str
    verdict: Verdict
    found: str
    mend: str = ""
