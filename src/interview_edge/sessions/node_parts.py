"""What the sessions of a node share of the rooms below them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import attrs

from interview_edge.archive.archive import Archive
from interview_edge.archive.daily_sweep import DailySweep
from interview_edge.archive.reader import AudioReader
from interview_edge.archive.retention import FileRemover
from interview_edge.backends.protocol import StorageBackend
from interview_edge.catalog.protocol import Catalog
from interview_edge.core.models import Event, StreamKey
from interview_edge.journal import Journal
from interview_edge.sessions.hearing_turns import HearingTurns
from interview_edge.sessions.transcription_desk import TranscriptionDesk
from interview_edge.settings import Settings
from interview_edge.speech.speaker_providers import WatchedSpeakers
from interview_edge.speech.vads import NodeVad


@attrs.frozen
class NodeParts:
    """The parts of one node that its sessions share; built by app.py, owned by its nursery.

    `wall_ms` is epoch milliseconds. `inference` and `desk` are None where no provider is configured.
    """

    settings: Settings
    journal: Journal
    catalog: Catalog
    backend: StorageBackend
    archive: Archive
    reader: AudioReader
    remover: FileRemover
    daily_sweep: DailySweep
    inference: WatchedSpeakers | None
    desk: TranscriptionDesk | None
    vad: NodeVad
    wall_ms: Callable[[], int]
    hearing: HearingTurns = attrs.field(factory=HearingTurns)

    async def identity(self, key: StreamKey, seq: int) -> bytes | None:
        """The identity of a held chunk: from the journal or, once that was trimmed, the catalog; None if
        neither.
        """
        rows = await self.journal.rows(key, seq, seq)
        if rows:
            return rows[0].identity
        return (await self.catalog.identities(key, [seq])).get(seq)


class EventListener(Protocol):
    """Who hears a session's events after their commit: sockets that asked, embedding programs."""

    def __call__(self, events: Sequence[Event]) -> None: ...
