"""What follows once lines are written: who spoke in them, and results that went without them written anew.

A session that is open here resolves in tasks of its own. Lines may also come when it isn't any more (they
were put off, or a crash left them): then this task opens it for as long as it takes.
"""

from __future__ import annotations

from collections import deque
from functools import partial

import structlog
import trio

from interview_edge.catalog.protocol import CatalogUnavailable
from interview_edge.errors import EdgeError
from interview_edge.sessions.auto_resolving import is_long_enough, resolve_soon, resolve_written
from interview_edge.sessions.finalizer import FinalizeRequest, finalize
from interview_edge.sessions.node_parts import NodeParts
from interview_edge.sessions.registry import Registry
from interview_edge.sessions.session import Session
from interview_edge.sessions.transcription_desk import Written

log = structlog.get_logger(__name__)

MAX_LATE = 16  # utterances of closed sessions that wait to be resolved, each with its audio: 15 MB at most
PAGE = 100


class AfterTranscription:
    """See the module's text. `run` is its task; `written` neither waits nor fails."""

    def __init__(self, registry: Registry, parts: NodeParts) -> None:
        self._registry = registry
        self._parts = parts
        self._late: deque[tuple[str, Written]] = deque()
        self._may_renew = True  # the last run may have been ended before it could
        self._woken = trio.Event()

    def written(self, session_id: str, written: Written) -> None:
        """That utterance's transcript is committed."""
        session = self._registry.live(session_id)
        wanted = written.utterance.resolve or (session is not None and session.resolves)
        if wanted and is_long_enough(written.utterance) and self._parts.inference is not None:
            if session is not None:
                session.names.on_zero = partial(self._look_again_at, session)
                resolve_soon(session, written, self._parts)
            elif len(self._late) < MAX_LATE:
                self._late.append((session_id, written))
            else:
                log.warning("an utterance was not resolved", session_id=session_id, error="too many wait")
        self._look_again_at(session)

    def _look_again_at(self, session: Session | None) -> None:
        """There may be a result to renew, unless the session is open and has none yet."""
        if session is None or session.finalized is not None:
            self._may_renew = True
            self._woken.set()

    async def run(self) -> None:
        """Do what is to be done, until cancelled."""
        while True:
            while self._late:
                await self._resolve_late(*self._late[0])
                self._late.popleft()
            if self._may_renew:
                self._may_renew = False
                if not await self._renew_results():
                    await trio.sleep(self._parts.settings.retry_max)
                    self._may_renew = True
                continue
            self._woken = trio.Event()
            await self._woken.wait()

    async def _resolve_late(self, session_id: str, written: Written) -> None:
        try:
            async with self._registry.use(session_id) as session:
                await resolve_written(session, written, self._parts)
        except EdgeError as error:
            log.warning("an utterance was not resolved", session_id=session_id, error=error.kind.code)

    async def _renew_results(self) -> bool:
        """Whether every result that could be renewed was."""
        after, done = "", True
        while True:
            try:
                page = await self._parts.catalog.results_to_renew(limit=PAGE, after=after)
            except CatalogUnavailable:
                return False
            for session_id in page:
                done &= await self._renew(session_id)
            if len(page) < PAGE:
                return done
            after = page[-1]

    async def _renew(self, session_id: str) -> bool:
        try:
            async with self._registry.use(session_id) as session:
                await finalize(session, FinalizeRequest(), self._parts)
        except Exception as error:  # a store that is away, a full node: the result as it is stays good
            code = error.kind.code if isinstance(error, EdgeError) else type(error).__name__
            log.warning("a result waits to be written anew", session_id=session_id, error=code)
            return False
        return True
