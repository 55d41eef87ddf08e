"""fsck: a store checked against catalog and journal, and repaired where that can be done without a loss."""

from interview_edge.archive.fsck.access import FsckOptions
from interview_edge.archive.fsck.check import Fsck, Progress
from interview_edge.archive.fsck.findings import Finding, Kind, State, Summary

__all__ = ["Finding", "Fsck", "FsckOptions", "Kind", "Progress", "State", "Summary"]
