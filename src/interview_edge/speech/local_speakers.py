"""SpeakerInference on this machine: the API that we serve, without the HTTP (contract inference.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import trio

from interview_edge.errors import (
    INFERENCE_STATUS,
    INFERENCE_TIMEOUT,
    UNPROCESSABLE,
    EdgeError,
)
from interview_edge.speech.campplus import MODEL_ID
from interview_edge.speech.speaker_work import SpeakerWork
from interview_edge.wire.speaker_requests import ResolveSpeaker


class LocalSpeakers:
    """See `SpeakerInference`. What the API would answer with an error's status is the same error here, so
    that a client sees one behaviour wherever the model runs. `timeout` (seconds) bounds the whole of it.
    """

    def __init__(self, work: SpeakerWork, *, timeout: float, provider: str = f"local {MODEL_ID}") -> None:
        self.provider = provider
        self._work = work
        self._timeout = timeout

    async def resolve(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `SpeakerInference.resolve`."""
        try:
            with trio.fail_after(self._timeout):
                return await self._work.run(lambda operations: operations.resolve(_convert(request)))
        except trio.TooSlowError as error:
            raise EdgeError(INFERENCE_TIMEOUT) from error
        except EdgeError as error:
            told = msgspec.json.encode({"detail": error.detail, "code": error.kind.code}).decode()
            fields = {"backend_status": error.kind.status, "backend_body": told}
            raise EdgeError(INFERENCE_STATUS, fields=fields) from error

    async def aclose(self) -> None:
        """Wait for what is under way, some seconds at most. No resolve after that."""
        await self._work.aclose()


def _convert(request: Mapping[str, Any]) -> ResolveSpeaker:
    try:
        return msgspec.convert(request, ResolveSpeaker)
    except msgspec.ValidationError as error:
        raise EdgeError(UNPROCESSABLE, str(error)) from error
