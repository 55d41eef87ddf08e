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
from interview_edge.sessions.registry import Registry
from interview_edge.sessions.resolving import ResolveRequest, digest_body, resolve
from interview_edge.sessions.session import Session

log = structlog.get_logger(__name__)

MIN_SAMPLES = CHUNK_SAMPLES * 3 // 2  # of shorter speech no voice is told for sure (contract inference.md)


def resolve_written(
    session_id: str, utterance: Utterance, pcm: bytes, text: str, registry: Registry, parts: NodeParts
) -> None:
    """An utterance was transcribed: have it resolved, where its session is open and wants that. Never
    waits.
    """
    session = registry.live(session_id)
    if session is None or not session.resolves or parts.inference is None:
        return
    if utterance.end_sample - utterance.start_sample >= MIN_SAMPLES:
        session.start_soon(partial(_resolve, session, utterance, pcm, text, parts))


async def _resolve(session: Session, utterance: Utterance, pcm: bytes, text: str, parts: NodeParts) -> None:
    audio = {"content_b64": base64.b64encode(encode_wav(pcm)).decode("ascii"), "format": "wav"}
    request = ResolveRequest(audio, text or None, (), digest_body(b""), utterance)
    try:
        with trio.fail_after(parts.settings.finalize_timeout):
            await resolve(session, request, parts)
    # A full lane, a catalog that is away, a plugin's defect: none of them may end the session.
    except Exception as error:
        log.warning(
            "an utterance was not resolved",
            session_id=session.session_id,
            utterance=utterance.number,
            error=error.kind.code if isinstance(error, EdgeError) else type(error).__name__,
        )
