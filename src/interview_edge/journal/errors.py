"""What the journal raises. None of these ever means that an acknowledged chunk was dropped."""

from __future__ import annotations


class JournalError(Exception):
    """Base of everything the journal raises on purpose."""


class JournalBusy(JournalError):
    """Too many bytes wait for their commit: the disk is slower than what comes in. Retry soon."""


class JournalFull(JournalError):
    """The journal's size cap or the disk's free minimum is reached. Takes chunks again once some are
    trimmed.
    """


class JournalUnavailable(JournalError):
    """The database can't answer now. A retry may help; nothing of the failed call is visible."""


class JournalClosed(JournalError):
    """The journal closed before this commit was known to be durable: it may be there at the next start, or
    not.
    """


class JournalConflict(JournalError):
    """Another chunk is journalled at this seq. The first stands."""


class JournalDamaged(JournalError):
    """The file is damaged. The text names the files and counts, for the person who has to decide."""
