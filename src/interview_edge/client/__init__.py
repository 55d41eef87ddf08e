"""A typed client of interview-edge's own API: `open_ingest` to send audio, `EdgeHttp` for everything else."""

from interview_edge.client.errors import (
    ChunkRefused,
    ClientError,
    EdgeRequestError,
    EdgeUnreachable,
    FrameRefused,
    GaveUp,
    IngestClosed,
)
from interview_edge.client.http import EdgeHttp, SavedAudio
from interview_edge.client.ingest import Ingest, open_ingest
from interview_edge.client.link import Persistence

__all__ = [
    "ChunkRefused",
    "ClientError",
    "EdgeHttp",
    "EdgeRequestError",
    "EdgeUnreachable",
    "FrameRefused",
    "GaveUp",
    "Ingest",
    "IngestClosed",
    "Persistence",
    "SavedAudio",
    "open_ingest",
]
