"""Who spoke in each utterance, found out by itself: a session that asked for it (`hello.resolve`) or a node
that always does (`auto_resolve`) resolves what was transcribed, as `POST .../resolve` would.

It goes through the session's state lane like any other, so its answers come one after the other; it delays no
transcript, and failing it costs a name, never a line.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

import structlog
import trio

from interview_edge.core.models import Utterance
from interview_edge.core.pcm import CHUNK_SAMPLES
from interview_edge.errors import EdgeError
from interview_edge.sessions.node_parts import NodeParts
from interview_edge.sessions.resolving import ResolveRequest, digest_body, resolve
from interview_edge.sessions.session import Session
from interview_edge.sessions.transcription_desk import Written

log = structlog.get_logger(__name__)

MIN_SAMPLES = CHUNK_SAMPLES * 3 // 2  # of shorter speech no voice is told for sure (contract inference.md)


def is_long_enough(utterance: Utterance) -> bool:
    """Whether a voice can be told from it."""
    return utterance.end_sample - utterance.start_sample >= MIN_SAMPLES


class AutoResolves:
    """Those of the sessions that are open here: one of a session's at a time, in a task of the session's, so
    that a finalize or somebody's own resolve waits for one of them at most. `on_all` is told of a session of
    which none waits any more.
    """

    def __init__(self, parts: NodeParts, on_all: Callable[[Session], None]) -> None:
        self._parts = parts
        self._on_all = on_all
        self._waiting: dict[Session, deque[Written]] = {}

    def add(self, session: Session, written: Written) -> bool:
        """Have it resolved. Never waits. False where the session has just ended."""
        waiting = self._waiting.get(session)
        if waiting is not None:
            waiting.append(written)
        elif session.start_soon(partial(self._run, session)):
            self._waiting[session] = deque([written])
        else:
            return False
        session.names.add()
        return True

    async def _run(self, session: Session) -> None:
        waiting = self._waiting[session]
        try:
            while waiting:
                await resolve_written(session, waiting[0], self._parts)
                waiting.popleft()
                session.names.done()
        finally:
            del self._waiting[session]
        self._on_all(session)


async def resolve_written(session: Session, written: Written, parts: NodeParts) -> None:
    """Resolve it, or log why not. Raises nothing but cancellation."""
    request = ResolveRequest(
        written.utterance, written.text or None, (), digest_body(b""), utterance_id=written.utterance_id
    )
    try:
        with trio.fail_after(parts.settings.finalize_timeout):
            await resolve(session, request, parts)
    # A full lane, a catalog that is away, a plugin's defect: none of them may end the session.
    except Exception as error:
        log.warning(
            "an utterance was not resolved",
            session_id=session.session_id,
            utterance=written.utterance.number,
            error=error.kind.code if isinstance(error, EdgeError) else type(error).__name__,
        )
