"""Who spoke in each utterance, found out by itself: a session that asked for it (`hello.resolve`) or a node
that always does (`auto_resolve`) resolves what was transcribed, as `POST .../resolve` would.

It goes through the session's state lane like any other, so its answers come one after the other; it delays no
transcript, and failing it costs a name, never a line.
"""

from __future__ import annotations

import base64
from functools import partial

import structlog
import trio

from interview_edge.core.models import Utterance
from interview_edge.core.pcm import CHUNK_SAMPLES
from interview_edge.core.wav import encode_wav
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


def resolve_soon(session: Session, written: Written, parts: NodeParts) -> None:
    """Have it resolved by a task of the session's. Never waits."""
    session.names.add()
    if not session.start_soon(partial(_resolve_counted, session, written, parts)):
        session.names.done()


async def _resolve_counted(session: Session, written: Written, parts: NodeParts) -> None:
    try:
        await resolve_written(session, written, parts)
    finally:
        session.names.done()


async def resolve_written(session: Session, written: Written, parts: NodeParts) -> None:
    """Resolve it, or log why not. Raises nothing but cancellation."""
    audio = {"content_b64": base64.b64encode(encode_wav(written.pcm)).decode("ascii"), "format": "wav"}
    request = ResolveRequest(
        audio, written.text or None, (), digest_body(b""), written.utterance, written.utterance_id
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
