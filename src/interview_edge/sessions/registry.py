"""The registry: which sessions are live on this node, opened once, closed when idle, never two of one id."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import structlog
import trio

from interview_edge.catalog.protocol import CatalogUnavailable, SessionIsDeleted, SessionOfAnother
from interview_edge.core.models import TRUSTED, Caller, LedgerSnapshot, StreamKey
from interview_edge.core.window import Window
from interview_edge.errors import (
    CATALOG_UNAVAILABLE,
    DRAINING,
    NODE_FULL,
    SESSION_DELETED,
    SESSION_LIMIT,
    SESSION_NOT_FOUND,
    STORAGE_UNAVAILABLE,
    EdgeError,
)
from interview_edge.journal import JournalDamaged, JournalError
from interview_edge.sessions.live_stream import LiveStream, Pending
from interview_edge.sessions.loading import JournalledPart, ledger_of, read_session
from interview_edge.sessions.node_parts import NodeParts
from interview_edge.sessions.receipt import Receipt
from interview_edge.sessions.session import Session

log = structlog.get_logger(__name__)

SPARE_SHARE = 0.8


class Entry:
    """A session's place in the registry, from the first request for it until its task has ended."""

    def __init__(self) -> None:
        self.session: Session | None = None
        # The archive's words that came while the session was being loaded: it may have read the state
        # before them.
        self.missed: list[Callable[[Session], None]] = []
        self.opened = trio.Event()  # also set where opening failed: who waits looks again
        self.ended = trio.Event()


class Registry:
    """Opens, shares and closes the live sessions of one node. `run` is its task and owns every session's."""

    def __init__(self, parts: NodeParts) -> None:
        self.parts = parts
        self._entries: dict[str, Entry] = {}
        self._held_back: dict[str, trio.Event] = {}
        self._nursery: trio.Nursery | None = None
        self._draining = False
        self.ended = 0  # sessions that this node has closed
        self.short_of_memory = False  # memory_watch.py's word: open no more
        self.evicted_windows = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the sessions and close the idle ones, until cancelled."""
        timeout = self.parts.settings.session_idle_timeout
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                while True:
                    await trio.sleep(min(timeout / 4, 5.0))
                    self._close_idle(trio.current_time() - timeout)
        finally:
            self._nursery = None

    def _close_idle(self, unused_since: float) -> None:
        for session in self:
            if session.idle and session.last_used <= unused_since:
                session.close()

    def __iter__(self) -> Iterator[Session]:
        """The sessions that are open now."""
        return iter([entry.session for entry in self._entries.values() if entry.session is not None])

    def __len__(self) -> int:
        return len(self._entries)

    def live(self, session_id: str) -> Session | None:
        """The session, if it is open on this node."""
        entry = self._entries.get(session_id)
        return None if entry is None else entry.session

    @asynccontextmanager
    async def use(
        self, session_id: str, caller: Caller = TRUSTED, *, by_node: bool = False
    ) -> AsyncIterator[Session]:
        """Hold the session open for the block; opened from catalog and journal where it isn't live, made as
        the caller's where it is new. `by_node`: for the node's own work, which no one who speaks notices.

        Raises EdgeError: session_not_found for one that the caller may not see; draining, session_limit,
        node_full (503, for sessions that aren't live yet), session_deleted, catalog_unavailable,
        storage_unavailable.
        """
        session = await self._obtain(session_id, caller)
        session.was_used = session.was_used or not by_node
        try:
            yield session
        finally:
            session.users -= 1
            session.last_used = trio.current_time()

    async def _obtain(self, session_id: str, caller: Caller) -> Session:
        """The session, counted as used: at once, so that it can't be closed as idle in between."""
        while True:
            entry = self._entries.get(session_id)
            if (held_back := self._held_back.get(session_id)) is not None:
                await held_back.wait()
            elif entry is None:
                return await self._open(session_id, caller)
            elif not entry.opened.is_set():
                await entry.opened.wait()
            elif entry.session is not None and not entry.session.closing:
                if not caller.may_see(entry.session.owner):
                    raise EdgeError(SESSION_NOT_FOUND)
                entry.session.users += 1
                return entry.session
            else:
                # It is on its way out (or never opened): a new one begins when the old has given everything
                # back.
                await entry.ended.wait()

    @asynccontextmanager
    async def hold_back(self, session_id: str) -> AsyncIterator[Session | None]:
        """Let who asks for the session wait until the block's end; the block gets it where it is open here.

        Who holds it already keeps it.
        """
        while (other := self._held_back.get(session_id)) is not None:
            await other.wait()
        over = self._held_back[session_id] = trio.Event()
        try:
            entry = self._entries.get(session_id)
            if entry is not None:
                await entry.opened.wait()
            yield self.live(session_id)
        finally:
            del self._held_back[session_id]
            over.set()

    @asynccontextmanager
    async def unless_live(self, session_id: str) -> AsyncIterator[bool]:
        """A block in which nobody opens the session: whether it isn't open on this node."""
        async with self.hold_back(session_id) as session:
            yield session is None

    def check_room(self, session_id: str) -> None:
        """Raises EdgeError(session_limit or node_full) where the session isn't live and can't become so."""
        if session_id in self._entries:
            return
        if len(self._entries) >= self.parts.settings.max_sessions:
            raise EdgeError(SESSION_LIMIT, retry_after=5)
        if self.short_of_memory:
            raise EdgeError(NODE_FULL, retry_after=5)

    @property
    def has_room_to_spare(self) -> bool:
        """Whether the node may open sessions of its own accord, with room left for those who come."""
        return (
            len(self._entries) < self.parts.settings.max_sessions * SPARE_SHARE and not self.short_of_memory
        )

    async def _open(self, session_id: str, caller: Caller) -> Session:
        if self._draining or self._nursery is None:
            raise EdgeError(DRAINING)
        self.check_room(session_id)
        entry = self._entries[session_id] = Entry()
        try:
            with trio.fail_after(self.parts.settings.storage_timeout):
                session = await self._load(session_id, caller)
            session.users = 1
            await self._nursery.start(self._own, session_id, session, entry)
        except SessionOfAnother as error:
            raise EdgeError(SESSION_NOT_FOUND) from error
        except SessionIsDeleted as error:
            raise EdgeError(SESSION_DELETED) from error
        except (CatalogUnavailable, trio.TooSlowError) as error:
            raise EdgeError(CATALOG_UNAVAILABLE) from error
        except JournalError as error:
            raise EdgeError(STORAGE_UNAVAILABLE) from error
        finally:
            if entry.session is None:  # it didn't come to be, for whatever reason: the next one may try
                self._forget(session_id, entry)
            entry.opened.set()
        return session

    async def _own(
        self, session_id: str, session: Session, entry: Entry, *, task_status: trio.TaskStatus[None]
    ) -> None:
        """Run one session. A fault in it is its own: the node and the other sessions go on."""
        # Its own name on its lines, not that of the request that happened to open it.
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(session_id=session_id)
        entry.session = session
        for word in entry.missed:
            word(session)
        try:
            await session.run(task_status=task_status)
        except Exception:  # a defect in one session must not end the others; its audio is in the journal
            log.exception("a session failed", session_id=session_id)
        finally:
            self._forget(session_id, entry)

    def _forget(self, session_id: str, entry: Entry) -> None:
        """The entry's session has ended. Idempotent: the id may be another entry's already."""
        if self._entries.get(session_id) is entry:
            del self._entries[session_id]
        if not entry.ended.is_set():
            self.ended += 1
        entry.ended.set()

    # -- loading

    async def _load(self, session_id: str, caller: Caller) -> Session:
        """The session as catalog and journal know it together, with a new epoch."""
        open_it = partial(self.parts.catalog.open_session, session_id, self.parts.wall_ms(), caller)
        record, journalled = await read_session(session_id, self.parts, open_it)
        streams = {}
        for name in {*record.streams, *journalled}:
            known = record.streams.get(name)
            streams[name] = await self._live_stream(
                StreamKey(session_id, name),
                known.ledger if known else None,
                journalled.get(name, JournalledPart()),
            )
        return Session(record, streams, self.parts)

    async def _live_stream(
        self, key: StreamKey, known: LedgerSnapshot | None, part: JournalledPart
    ) -> LiveStream:
        """One stream: its ledger from both, its window from the journal."""
        settings = self.parts.settings
        ledger = ledger_of(known, part, settings.ack)
        stream = LiveStream(key, ledger, Window(settings.window_ms))
        for row in part.rows:
            # Journalled, but not at this node's level yet: the archive's word admits it.
            if row.seq not in ledger.held:
                ledger.reserve(row.seq, final=row.final)
                receipt = Receipt(row.seq, trio.current_time())
                stream.pending[row.seq] = Pending(row.identity, row.length, row.final, receipt)
        if part.rows:
            newest = part.rows[-1].seq
            oldest_shown = newest - math.ceil(settings.window_ms / 1000) + 1
            try:
                shown = await self.parts.journal.read(key, max(1, oldest_shown), newest)
            except JournalDamaged as error:  # a hole in the window is no reason to refuse new audio
                log.error("the window stays empty", session_id=key.session_id, error=str(error))
                shown = ()
            for seq, pcm in shown:
                stream.show(seq, pcm)
        return stream

    # -- from below

    def stored(self, key: StreamKey, ranges: Sequence[tuple[int, int]]) -> None:
        """The archive's word, passed on to the session where it is live or about to be."""
        self._pass_on(key.session_id, lambda session: session.audio.stored(key.stream, ranges))

    def conflicted(self, key: StreamKey, seqs: Sequence[int]) -> None:
        """The archive's word on conflicts, passed on likewise."""
        self._pass_on(key.session_id, lambda session: session.audio.conflicted(key.stream, seqs))

    def _pass_on(self, session_id: str, word: Callable[[Session], None]) -> None:
        entry = self._entries.get(session_id)
        if entry is None:
            return
        if entry.session is None:
            entry.missed.append(word)
        else:
            word(entry.session)

    # -- ending

    def drain(self) -> None:
        """Open no more sessions. Sockets are web/'s to close."""
        self._draining = True

    @property
    def draining(self) -> bool:
        return self._draining

    @property
    def running(self) -> bool:
        """Whether `run` is up: sessions can be opened."""
        return self._nursery is not None

    async def close_all(self) -> None:
        """Close every session and wait for their tasks. The caller sets the deadline."""
        self.drain()
        for session in self:
            session.close()
        for session_id in tuple(self._entries):  # those too that are being opened
            await self.close_one(session_id)

    async def close_one(self, session_id: str) -> None:
        """Close a session, unless it is closing, and wait for its task."""
        entry = self._entries.get(session_id)
        if entry is not None:
            await entry.opened.wait()
            if entry.session is not None and not entry.session.closing:
                entry.session.close()
            await entry.ended.wait()
