"""The values that pass between the rooms. Frozen attrs classes; cattrs turns them into JSON at the edges.

Times are epoch milliseconds (`*_at`, `ts`) inside and ISO 8601 on the wire; audio positions are samples at
16 kHz.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from interview_edge.core.pcm import Pcm
from interview_edge.core.times import iso_from_ms

DEFAULT_STREAM = "mixed"

# Inclusive ranges of seqs, ascending, disjoint, not adjacent.
SeqRanges = tuple[tuple[int, int], ...]


class AckLevel(enum.Enum):
    """What an ack promises: fsynced on this node, confirmed by the backend, or nothing."""

    JOURNAL = "journal"
    BACKEND = "backend"
    MEMORY = "memory"


class Layout(enum.Enum):
    """How chunks become objects: one each, or 60 s segments."""

    CHUNKS = "chunks"
    SEGMENTS = "segments"


class SegmentFormat(enum.Enum):
    FLAC = "flac"
    WAV = "wav"


LOCAL_USER = "local"  # who records while there are no keys; embedding programs, too


@attrs.frozen
class Caller:
    """Who asks, as far as sessions care: whose they are, and to whom another's look as if not there.

    `key_id` is the API key whose usage counts, where one was shown.
    """

    user: str = LOCAL_USER
    key_id: str | None = None
    sees_all: bool = False

    def may_see(self, owner: str) -> bool:
        return self.sees_all or self.user == owner


# The embedding program, and everybody while there are no keys.
TRUSTED = Caller(sees_all=True)


@attrs.frozen
class StreamKey:
    """One audio channel of one session, across the node."""

    session_id: str
    stream: str = DEFAULT_STREAM


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """One second of a stream as it came in. `pcm`: s16le mono 16 kHz; `identity`: see `core.pcm.identify`.

    A Struct, since one is made for every chunk: a tenth of a frozen attrs class's time.
    """

    seq: int
    timestamp_ms: int
    final: bool
    pcm: Pcm
    sha256: bytes
    identity: bytes

    def __repr__(self) -> str:
        return f"Chunk(seq={self.seq}, final={self.final}, {len(self.pcm)} bytes)"


@attrs.frozen
class LedgerSnapshot:
    """A stream's ledger at one moment, as the catalog keeps it.

    `final_seq` and `final_length` (PCM bytes) are of the chunk that ended the stream: the only one that may
    be shorter than a second, so the bytes held follow from `held` and these.
    """

    held: SeqRanges = ()
    final_seq: int | None = None
    final_length: int = 0
    duplicates: int = 0
    started_at: int | None = None
    updated_at: int | None = None


@attrs.frozen
class IngestStatus:
    """The `status` of one stream on the wire (contract ingest.md)."""

    session_id: str
    meeting_id: str
    last_seq: int
    received_chunks: int
    duplicate_chunks: int
    missing_chunks: int
    bytes_stored: int
    started_at: str
    updated_at: str
    missing: SeqRanges
    missing_truncated: bool = False


@attrs.frozen
class Extent:
    """One row of the object table: the object `key` holds seqs `first..last` of a stream.

    `offset` and `length` are bytes of PCM inside the object's decoded audio; `length` is 32,000 a chunk
    except where the stream's short final chunk ends it. `sha256` is of the extent's PCM. `format` is `pcm`,
    `wav` or `flac`. `recorded` is the catalog's count of the stream's extents as they came: where two hold
    the
    same seq, the lower stands.
    """

    first: int
    last: int
    key: str
    length: int
    sha256: bytes
    format: str = "pcm"
    offset: int = 0
    object_size: int = 0
    stored_at: int = 0
    expired: bool = False
    recorded: int = attrs.field(default=0, eq=False)


@attrs.frozen
class Cluster:
    """One voice. `centroid` is its mean embedding; `extra` keeps fields of newer APIs, verbatim."""

    cluster_id: str
    centroid: tuple[float, ...]
    sample_count: int
    bound_name: str | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Participant:
    name: str
    email: str | None = None


@attrs.frozen
class SessionState:
    """What the inference API knows of a session. `extra` keeps fields of newer APIs, verbatim."""

    clusters: tuple[Cluster, ...] = ()
    bindings: Mapping[str, str] = attrs.field(factory=dict)
    roster: tuple[Participant, ...] | None = None
    config: Mapping[str, str | float | bool] = attrs.field(factory=dict)
    extra: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class NewEvent:
    """An event before the catalog has numbered it. `type`: resolve, speech_started, speech_ended, conflict...

    `body` is what the wire shows beside ts, type, stream and seq_no.
    """

    ts: int
    type: str
    body: Mapping[str, Any]
    stream: str | None = None


@attrs.frozen
class Event:
    """An event as committed. `seq_no` counts from 1 in its session, without holes."""

    seq_no: int
    ts: int
    type: str
    body: Mapping[str, Any]
    stream: str | None = None

    def to_wire(self) -> dict[str, Any]:
        """The event as JSON shows it: its body's fields beside ts, type and seq_no."""
        shown: dict[str, Any] = {
            "seq_no": self.seq_no,
            "ts": iso_from_ms(self.ts),
            "type": self.type,
        }
        if self.stream is not None:
            shown["stream"] = self.stream
        return shown | dict(self.body)


@attrs.frozen(order=True)
class Utterance:
    """One stretch of speech of a stream: `number` counts from 1 in it; `end_sample` is the first after it.
    `resolve`: once it is written, it is to be found out who speaks.
    """

    stream: str
    number: int
    start_sample: int
    end_sample: int
    resolve: bool = attrs.field(default=False, eq=False)


@attrs.frozen
class VadPosition:
    """How far a stream's VAD has come: everything before `sample` was judged and its events are committed.

    `tracker` is the utterance tracker's snapshot (JSON-able).
    """

    sample: int
    tracker: Mapping[str, Any]
