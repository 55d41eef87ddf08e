"""For authors of plugins: conformance suites and a backend that fails on purpose. Public."""

from interview_edge.testing.backends import check_backend
from interview_edge.testing.catalog import check_catalog
from interview_edge.testing.faults import Effect, FaultyBackend, PlannedFault
from interview_edge.testing.speakers import check_speakers
from interview_edge.testing.transcribers import check_transcriber
from interview_edge.testing.vads import check_vad

__all__ = [
    "Effect",
    "FaultyBackend",
    "PlannedFault",
    "check_backend",
    "check_catalog",
    "check_speakers",
    "check_transcriber",
    "check_vad",
]
