"""What follows once lines are written: who spoke in them, and results that went without them written anew.

A session that is open here resolves in a task of its own. Lines may also come when it isn't any more (they
were put off, or a crash left them): then this task opens it for as long as it takes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
import trio

from interview_edge.catalog.protocol import CatalogUnavailable
from interview_edge.errors import EdgeError
from interview_edge.sessions.auto_resolving import AutoResolves, is_long_enough, resolve_written
from interview_edge.sessions.finalizer import FinalizeRequest, finalize
from interview_edge.sessions.node_parts import NodeParts
from interview_edge.sessions.registry import Registry
from interview_edge.sessions.session import Session
from interview_edge.sessions.transcription_desk import Written

log = structlog.get_logger(__name__)

MAX_LATE = 1_000  # utterances of closed sessions that wait to be resolved
PAGE = 100
LEAST_PAUSE = 0.2  # seconds between two looks that nobody asked for


class AfterTranscription:
    """See the module's text. `run` is its task; `done` neither waits nor fails."""

    def __init__(self, registry: Registry, parts: NodeParts) -> None:
        self._registry = registry
        self._parts = parts
        self._resolves = AutoResolves(parts, self._look_again_at)
        self._late: deque[tuple[str, Written]] = deque()
        self._named: set[str] = set()  # closed sessions whose result lacks a name that was found since
        self._woken = trio.Event()

    def done(self, session_id: str, written: Written | None) -> None:
        """An utterance of the session waits no more: it was written, or given up (None)."""
        session = self._registry.live(session_id)
        if written is not None and self._is_name_wanted(session, written):
            is_added = session is not None and self._resolves.add(session, written)
            if not is_added:
                self._resolve_later(session_id, written)
        self._look_again_at(session)

    def _is_name_wanted(self, session: Session | None, written: Written) -> bool:
        wanted = written.utterance.resolve or (session is not None and session.resolves)
        return wanted and is_long_enough(written.utterance) and self._parts.inference is not None

    def _resolve_later(self, session_id: str, written: Written) -> None:
        if len(self._late) < MAX_LATE:
            self._late.append((session_id, written))
        else:
            log.warning("an utterance was not resolved", session_id=session_id, error="too many wait")

    def _look_again_at(self, session: Session | None) -> None:
        """There may be a result to renew, unless the session is open and has none yet."""
        if session is None or session.finalized is not None:
            self._woken.set()

    async def run(self) -> None:
        """Do what is to be done, until cancelled. It looks again by itself now and then: what it was told of
        may have come in the middle of a finalize.
        """
        while True:
            self._woken = trio.Event()
            await self._resolve_late()
            for session_id in tuple(self._named):
                if await self._renew(session_id):
                    self._named.discard(session_id)
            await self._renew_results()
            with trio.move_on_after(max(self._parts.settings.retry_max, LEAST_PAUSE)):
                await self._woken.wait()

    async def _resolve_late(self) -> None:
        while self._late:
            session_id, written = self._late[0]
            try:
                async with self._briefly_open(session_id) as session:
                    if session is None:
                        return  # another time
                    await resolve_written(session, written, self._parts)
            except Exception as error:  # it can't be opened: that costs a name
                _log_failure("an utterance was not resolved", session_id, error)
            self._late.popleft()
            if len(self._named) < MAX_LATE:
                self._named.add(session_id)

    async def _renew_results(self) -> None:
        after = ""
        while True:
            try:
                page = await self._parts.catalog.results_to_renew(limit=PAGE, after=after)
            except CatalogUnavailable:
                return
            for session_id in page:
                await self._resolve_late()
                await self._renew(session_id)
            if len(page) < PAGE:
                return
            after = page[-1]

    async def _renew(self, session_id: str) -> bool:
        """Write its result anew, where it has one. False where that has to wait: somebody is in the middle of
        recording, or the node has no room.
        """
        try:
            async with self._briefly_open(session_id) as session:
                if session is None:
                    return False
                if session.finalized is not None:
                    # A finalize ends open utterances and takes gaps for silence, which nobody asked for here.
                    if not await self._is_at_rest(session):
                        return False
                    await finalize(session, FinalizeRequest(), self._parts)
        except Exception as error:  # a store that is away, a full node: the result as it is stays good
            _log_failure("a result waits to be written anew", session_id, error)
        return True

    async def _is_at_rest(self, session: Session) -> bool:
        """Whether all that is held was heard, and nobody speaks in it; or whoever did has been away for so
        long that the session would have been closed, and so heard out.
        """
        settings = self._parts.settings
        with trio.move_on_after(settings.finalize_timeout):
            await session.hear_held()  # after a restart the last minute may not be heard yet
        if session.is_at_rest:
            return True
        last_came = max(stream.ledger.updated_at or 0 for stream in session.streams.values())
        is_away = self._parts.wall_ms() - last_came >= settings.session_idle_timeout * 1000
        return is_away and session.users == 1

    @asynccontextmanager
    async def _briefly_open(self, session_id: str) -> AsyncIterator[Session | None]:
        """The session, closed again where nobody else used it; None while the node has no room to spare."""
        if self._registry.live(session_id) is None and not self._registry.has_room_to_spare:
            yield None
            return
        async with self._registry.use(session_id, by_node=True) as session:
            yield session
        if session.idle and not session.was_used:
            session.close()


def _log_failure(what: str, session_id: str, error: Exception) -> None:
    code = error.kind.code if isinstance(error, EdgeError) else type(error).__name__
    log.warning(what, session_id=session_id, error=code)
