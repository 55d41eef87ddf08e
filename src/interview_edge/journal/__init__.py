"""The node's own durable spool: append with group commit, replay, trim. Its commit is the ack."""

from interview_edge.journal.errors import (
    JournalBusy,
    JournalClosed,
    JournalConflict,
    JournalDamaged,
    JournalError,
    JournalFull,
    JournalUnavailable,
)
from interview_edge.journal.journal import Journal, JournalStats, open_journal
from interview_edge.journal.records import Append, JournalledStream, JournalRow, ObjectPlan

__all__ = [
    "Append",
    "Journal",
    "JournalBusy",
    "JournalClosed",
    "JournalConflict",
    "JournalDamaged",
    "JournalError",
    "JournalFull",
    "JournalRow",
    "JournalStats",
    "JournalUnavailable",
    "JournalledStream",
    "ObjectPlan",
    "open_journal",
]
