"""One WebSocket of the browser dialect, after its admission (contract stream.md): one recording after the
other, all of one session.

The client keeps nothing of what it sends, and nothing is acked. So what was received is put into safe hands
whatever ends the socket, and when the journal is behind the socket isn't read: TCP pushes back on the client.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack

import structlog
import trio
from msgspec import UNSET

from interview_edge.access.principal import Principal
from interview_edge.core.models import DEFAULT_STREAM, Event
from interview_edge.errors import (
    DRAINING,
    INVALID_FIELD,
    RECORDED_ELSEWHERE,
    SLOW_READER,
    STORAGE_UNAVAILABLE,
    STREAM_NOT_STARTED,
    EdgeError,
)
from interview_edge.sessions.node_parts import NodeParts
from interview_edge.sessions.partial_transcripts import Partial
from interview_edge.sessions.recording import Recording
from interview_edge.sessions.registry import Registry
from interview_edge.sessions.session import Session
from interview_edge.web.dialect_socket import DialectSocket, Ending
from interview_edge.web.live_scribe import LiveScribe
from interview_edge.web.peers import Peer
from interview_edge.web.recorded_speech import RecordedSpeech
from interview_edge.web.refusals import known_error
from interview_edge.web.text_queue import TextQueue
from interview_edge.web.transcripts import NoProvider, Scribe
from interview_edge.wire import browser_dialect
from interview_edge.wire.browser_frames import (
    AudioChunk,
    AudioStreamEnd,
    AudioStreamEndAck,
    AudioStreamStart,
    AudioStreamStartAck,
    Auth,
    AuthSuccess,
    Error,
    Ping,
    Pong,
    ServerFrame,
)

log = structlog.get_logger(__name__)

POLICY_VIOLATION = 1008
LAST_LOOK = 0.01  # seconds: what the server has read of the connection is there at once

MakeScribe = Callable[[Session, Callable[[ServerFrame], None]], Scribe]
# Raises EdgeError where this session may not be recorded into now.
AdmitSession = Callable[[str], Awaitable[None]]


class BrowserSocket(DialectSocket):
    """One socket. Its session is opened by the first `audio_stream_start` and held until its end."""

    def __init__(
        self,
        peer: Peer,
        registry: Registry,
        parts: NodeParts,
        principal: Principal,
        admit_session: AdmitSession,
        make_scribe: MakeScribe | None = None,
    ) -> None:
        texts = TextQueue()
        super().__init__(peer, texts, parts.settings, principal)
        self._texts = texts
        self._registry = registry
        self._parts = parts
        self._admit_session = admit_session
        self._make_scribe = make_scribe or _scribe_of(parts)
        self._scribe: Scribe = NoProvider(self._say, parts.wall_ms)  # until there is a session
        self._session: Session | None = None
        self._subscriptions: list[Callable[[], None]] = []
        self._recording: Recording | None = None
        self._speech: RecordedSpeech | None = None  # until the recording's end is acked
        self._received = 0  # pieces of it
        self._settling: Recording | None = None  # ended, and its ack is owed
        self._settled = trio.Event()
        self._unread: deque[tuple[bool, bytes]] = deque()
        self._greet()

    # -- life

    def leave(self, time_left: float) -> None:
        self._end(Ending.of(DRAINING))
        self._reading.cancel()

    def _is_overdue(self, now: float) -> bool:
        for recording in () if self._closing else (self._recording, self._settling):
            since = None if recording is None else recording.owed_since
            if since is not None and now >= since + self._settings.storage_timeout:
                self._say(Error.of(EdgeError(STORAGE_UNAVAILABLE)))
                return True
        return False

    async def _rest(self) -> None:
        if self._closing is not None:  # by us, so that more may have come than was read
            with trio.move_on_after(LAST_LOOK):
                self._unread.extend(await self._peer.receive())
        while self._unread:
            self._keep_audio(*self._unread.popleft())
        await self._end_recording()
        if self._settling is not None and self._closing is not None and self._closing.patient:
            await self._settled.wait()

    def _keep_audio(self, text: bool, data: bytes) -> None:
        """What came along with the socket's end, and was never looked at."""
        try:
            frame = browser_dialect.decode(data, text=text)
        except EdgeError:
            return
        if self._recording is not None and isinstance(frame, AudioChunk):
            self._recording.add(frame.pcm)

    def _let_go(self) -> None:
        if self._recording is not None:
            lost = self._recording.held_bytes
            log.error("received audio could not be journalled", bytes=lost, **self._told_of_fault())
            self._recording.end()
        for unsubscribe in self._subscriptions:
            unsubscribe()
        if self._session is not None:
            self._session.sockets -= 1

    def _told_of_fault(self) -> Mapping[str, str]:
        return {"session_id": self._session.session_id} if self._session else {}

    # -- reading

    async def _read(self, held: AsyncExitStack, nursery: trio.Nursery) -> None:
        while messages := await self._peer.receive():
            self._unread.extend(messages)
            del messages
            while self._unread and self._closing is None:
                text, data = self._unread.popleft()
                await self._take(text, data, held, nursery)
                del data
            if self._closing is not None:
                return

    async def _take(self, text: bool, data: bytes, held: AsyncExitStack, nursery: trio.Nursery) -> None:
        try:
            if self._texts.is_full:
                self._unread.appendleft((text, data))
                await self._texts.wait_for_room(self._settings.in_flight_timeout, SLOW_READER)
                self._unread.popleft()
            frame = browser_dialect.decode(data, text=text)
            match frame:
                case AudioChunk():
                    await self._take_audio(frame)
                case AudioStreamStart():
                    await self._start(frame, held)
                case AudioStreamEnd():
                    await self._stop(nursery)
                case Ping():
                    self._say(Pong(self._parts.wall_ms()))
                case Auth():  # it is admitted: the frame may come after a ticket in the handshake
                    self._greet()
        except EdgeError as error:
            self._refuse(error)

    async def _take_audio(self, frame: AudioChunk) -> None:
        if self._recording is None or self._speech is None:
            raise EdgeError(STREAM_NOT_STARTED)
        at = self._recording.clock
        self._recording.add(frame.pcm)  # before anything that might fail
        self._received += 1
        self._speech.hear(at, frame.pcm, frame.mark, frame.prompt)
        if frame.fault is not None:
            self._refuse(frame.fault)
        await self._hand_in(self._recording.store())

    async def _hand_in(self, step: Awaitable[None]) -> bool:
        """Store, or end the socket: what would come after it could only pile up."""
        try:
            await step
        except EdgeError as error:
            self._refuse(error)
            self._end(Ending(POLICY_VIOLATION, error.kind.code, patient=False))
            return False
        return True

    # -- recordings

    async def _start(self, frame: AudioStreamStart, held: AsyncExitStack) -> None:
        await self._end_recording()
        if self._settling is not None:
            await self._settled.wait()
        if self._closing is not None:
            return
        session = await self._open(frame, held)
        stream = session.stream(DEFAULT_STREAM)
        recording = Recording(
            session, stream, self._parts, on_taken_over=self._make_way, on_trouble=self._refuse
        )
        await recording.begin()
        self._recording, self._speech, self._received = recording, None, 0
        await self._rest_the_ear()  # what is told from here on is of this recording
        self._speech = RecordedSpeech(recording, session, self._scribe, self._say, self._parts.wall_ms)
        self._say(AudioStreamStartAck(self._parts.wall_ms(), self.principal.user, session.session_id))

    async def _open(self, frame: AudioStreamStart, held: AsyncExitStack) -> Session:
        """The socket's session, opened the first time."""
        if self._session is not None:
            if frame.session_id not in (UNSET, self._session.session_id):
                raise EdgeError(INVALID_FIELD, "frame.session_id must be the session of this socket")
            return self._session
        session_id = str(uuid.uuid4()) if frame.session_id is UNSET else frame.session_id
        await self._admit_session(session_id)
        session = await held.enter_async_context(self._registry.use(session_id, self.principal.caller))
        session.sockets += 1
        self._session = session
        self._subscriptions += [session.subscribe(self._tell), session.partials.subscribe(self._tell_partial)]
        self._scribe = self._make_scribe(session, self._say)
        return session

    async def _end_recording(self) -> Recording | None:
        """Let the recording rest, where there is one: all of it is in the journal's hands then."""
        recording = self._recording
        if recording is None:
            return None
        if self._speech is not None:
            self._speech.rest()
        if not await self._hand_in(recording.rest()):
            return None
        recording.end()
        self._recording = None
        return recording

    async def _stop(self, nursery: trio.Nursery) -> None:
        if self._recording is None:
            raise EdgeError(STREAM_NOT_STARTED)
        ended = await self._end_recording()
        if ended is None:
            return
        self._settling, self._settled = ended, trio.Event()
        nursery.start_soon(self._acknowledge_end, ended, self._received)

    async def _acknowledge_end(self, recording: Recording, received: int) -> None:
        """Beside the reading: pings go on meanwhile. A store that never answers is `mind_storage`'s."""
        try:
            await recording.settled()
            await self._rest_the_ear()
            await self._scribe.settled()
            if self._closing is None or self._closing.patient:
                self._say(AudioStreamEndAck(received, self._parts.wall_ms()))
        finally:
            self._settling = None
            self._settled.set()

    async def _rest_the_ear(self) -> None:
        """Have the server's detection finish with what there is. It failing withholds no ack."""
        if self._session is None:
            return
        try:
            with trio.move_on_after(self._settings.close_timeout):
                await self._session.rest(DEFAULT_STREAM)
        except Exception as error:  # invariant 5: whatever it failed with, the audio is stored
            log.warning(
                "the end of a recording was not heard",
                code=known_error(error).kind.code,
                **self._told_of_fault(),
            )

    def _make_way(self) -> None:
        """Another socket records into the session now."""
        self._refuse(EdgeError(RECORDED_ELSEWHERE))
        self._reading.cancel()  # the writer may be stuck: a client that comes back has often left one behind

    # -- answering

    def _greet(self) -> None:
        self._say(AuthSuccess(self.principal.user, self._parts.wall_ms()))

    def _say(self, frame: ServerFrame) -> None:
        self._texts.say(browser_dialect.encode_utf8(frame))

    def _refuse(self, error: EdgeError) -> None:
        self._say(Error.of(error))
        if error.kind.close is not None:
            self._end(Ending.of(error.kind))

    def _tell(self, events: Sequence[Event]) -> None:
        """The session's committed events; a client that reads nothing of what follows from them is closed."""
        if self._texts.is_full:
            self._end(Ending.of(SLOW_READER))
        else:
            if self._speech is not None:
                self._speech.tell(events)
            self._scribe.tell(events)  # between two recordings, too

    def _tell_partial(self, told: Partial) -> None:
        if self._speech is not None and not self._texts.is_full:
            self._speech.tell_partial(told)


def _scribe_of(parts: NodeParts) -> MakeScribe:
    """The scribe of a node: its desk's, where it has one."""

    def make(session: Session, say: Callable[[ServerFrame], None]) -> Scribe:
        if parts.desk is None:
            return NoProvider(say, parts.wall_ms)
        return LiveScribe(session, parts.desk, say, parts.wall_ms, parts.settings.transcription_wait)

    return make
