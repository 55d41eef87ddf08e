"""From the journal into the backend and the catalog, and back: the uploader, the reader, deletion."""

from interview_edge.archive.archive import Archive
from interview_edge.archive.deletion import delete_session, resume_deletions
from interview_edge.archive.health import ArchiveHealth
from interview_edge.archive.policy import ArchivePolicy
from interview_edge.archive.reader import AudioReader
from interview_edge.archive.retention import FileRemover, Removal, SweepReport

__all__ = [
    "Archive",
    "ArchiveHealth",
    "ArchivePolicy",
    "AudioReader",
    "FileRemover",
    "Removal",
    "SweepReport",
    "delete_session",
    "resume_deletions",
]
