"""Events that the server was told of and can't hear for itself: a client's own utterances, and silence that
fills up a begun second.

They are committed as they come, beside the VAD's (listening.py), whose commits carry its position: what that
one loses in a crash it hears again. These it can't, so a crash in the moment before their commit loses them;
the audio that they tell of is in the journal all the same.

What a client says of its speech goes before what the server hears there: it is transcribed once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import attrs
import structlog
import trio

from interview_edge.catalog.protocol import SessionIsDeleted
from interview_edge.core.declared_utterances import Began, Ended
from interview_edge.core.models import Event, NewEvent, Utterance
from interview_edge.core.pcm import CHUNK_SAMPLES, SAMPLE_RATE
from interview_edge.core.transcripts import TRANSCRIPT
from interview_edge.sessions.live_stream import LiveStream
from interview_edge.sessions.node_parts import NodeParts

log = structlog.get_logger(__name__)

MAX_WAITING = 1_024  # while the catalog is down: half an hour of lively talk, 0.5 MB
LINES_A_READ = 1_000
# Samples: less of an utterance behind a line is where two detections end it otherwise.
LEAST_LEFT = SAMPLE_RATE


class DeclaredEvents:
    """Those of one session, on their way to the catalog, in a task that is there while there are any."""

    def __init__(self, session: ToldSession, parts: NodeParts) -> None:
        self._session = session
        self._parts = parts
        self._waiting: list[NewEvent] = []
        self._is_committing = False
        self._committed = trio.lowlevel.ParkingLot()
        self.streams: set[str] = set()  # in which a client says where speech is
        # Samples held by stream when the session was opened: what clients said of them before is lines now.
        self._held_before = {
            name: stream.ledger.last_known * CHUNK_SAMPLES for name, stream in session.streams.items()
        }
        self._written: dict[str, int] | None = None  # up to where those lines go, once they are asked for

    def take_over(self, stream: str) -> None:
        """From here on the client's utterances of this stream are transcribed, and not the server's."""
        self.streams.add(stream)

    async def left_to_server(self, heard: Sequence[Utterance]) -> list[Utterance]:
        """What the server is to transcribe of what it heard: nothing of a stream in which a client
        says where speech is; and of what was held before a restart, only what lies behind the last line of a
        client that did then.

        Raises CatalogUnavailable.
        """
        if self._written is None and any(map(self._is_held_before, heard)):
            self._written = await self._written_before()
        left = (self._uncovered(each) for each in heard if each.stream not in self.streams)
        return [each for each in left if each is not None]

    def _is_held_before(self, heard: Utterance) -> bool:
        return heard.start_sample < self._held_before.get(heard.stream, 0)

    def _uncovered(self, heard: Utterance) -> Utterance | None:
        covered = (self._written or {}).get(heard.stream, 0)
        if heard.start_sample >= covered:
            return heard
        if heard.end_sample < covered + LEAST_LEFT:
            return None
        return attrs.evolve(heard, start_sample=covered)

    async def _written_before(self) -> dict[str, int]:
        """Where the last line of a client's own utterances ends, in samples, by stream; not behind what was
        held: a second that was lost with its node is recorded anew, with other words.
        """
        session_id, written, after = self._session.session_id, dict[str, int](), 0
        while lines := await self._parts.catalog.events(
            session_id, after=after, limit=LINES_A_READ, types=(TRANSCRIPT,)
        ):
            after = lines[-1].seq_no
            for line in lines:
                if line.stream in self._held_before and line.body.get("source") == "client":
                    end = min(line.body["end_ms"] * CHUNK_SAMPLES // 1000, self._held_before[line.stream])
                    written[line.stream] = max(end, written.get(line.stream, 0))
        return written

    def add(self, event: NewEvent) -> bool:
        """Have it committed soon. False, and it won't be, where so many wait that the catalog is away, or the
        session has ended.
        """
        if len(self._waiting) >= MAX_WAITING or not self._may_commit():
            log.error("a declared event is lost", session_id=self._session.session_id, type=event.type)
            return False
        self._waiting.append(event)
        return True

    def _may_commit(self) -> bool:
        if not self._is_committing:
            self._is_committing = self._session.start_soon(self._run)
        return self._is_committing

    async def _run(self) -> None:
        """Commit what is there and what comes meanwhile; while the catalog fails, try again."""
        try:
            while self._waiting:
                await self._commit()
        finally:
            self._is_committing = False

    async def _commit(self) -> None:
        count, session_id = len(self._waiting), self._session.session_id
        committed: Sequence[Event] = ()
        try:
            committed = await self._parts.catalog.append_events(
                session_id, self._waiting[:count], at=self._parts.wall_ms()
            )
        except SessionIsDeleted:
            pass  # its end is near, and nothing more of it is kept
        except Exception as error:  # invariant 5: the audio goes on without them
            log.warning("declared events wait for the catalog", session_id=session_id, error=str(error))
            await trio.sleep(self._parts.settings.retry_initial)
            return
        del self._waiting[:count]
        self._session.published(committed)
        self._committed.unpark_all()

    async def finish(self) -> None:
        """Wait until all of them are committed. The caller sets the deadline."""
        while self._waiting:
            await self._committed.park()


def utterance_event(stream: str, found: Began | Ended, utterance_id: str, origin: int, at: int) -> NewEvent:
    """The event of a client's utterance as the wire shows it: as the server's own (listening.py), and
    `source`. `origin` is the recording's first sample, counted in its stream.
    """
    start = origin + found.start
    body: dict[str, object] = {
        "source": "client",
        "utterance": found.number,
        "utterance_id": utterance_id,
        "start_sample": start,
        "start_ms": start * 1000 // CHUNK_SAMPLES,
    }
    if isinstance(found, Began):
        return NewEvent(at, "speech_started", body, stream)
    end = origin + found.end
    body |= {"end_sample": end, "end_ms": end * 1000 // CHUNK_SAMPLES, "reason": found.reason}
    return NewEvent(at, "speech_ended", body, stream)


def padded_event(stream: str, seq: int, samples: int, at: int) -> NewEvent:
    """Silence of `samples` fills up the end of second `seq`: nobody recorded it."""
    return NewEvent(at, "padded", {"seq": seq, "samples": samples}, stream)


class ToldSession(Protocol):
    """What is asked of the session."""

    session_id: str

    @property
    def streams(self) -> Mapping[str, LiveStream]: ...

    def published(self, events: Sequence[Event]) -> None: ...

    def start_soon(self, task: Callable[[], Awaitable[None]]) -> bool: ...
