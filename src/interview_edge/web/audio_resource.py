"""`/v1/sessions/{id}/audio` and `/chunks/{seq}`: what was recorded, as it was sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial
from typing import IO

import attrs
import trio
from quart import Response, request

from interview_edge.access.principal import Scope
from interview_edge.core.keys import check_stream
from interview_edge.core.models import DEFAULT_STREAM, StreamKey
from interview_edge.errors import (
    AUDIO_TOO_LARGE,
    CHUNK_EXPIRED,
    CHUNK_NOT_FOUND,
    DOWNLOADS_BUSY,
    INVALID_QUERY,
    INVALID_STREAM,
    RANGE_NOT_SATISFIABLE,
    SESSION_NOT_FOUND,
    STREAM_NOT_FOUND,
    EdgeError,
)
from interview_edge.sessions.view import view_session
from interview_edge.web.audio_track import AudioTrack, encode_flac_file, read_wav
from interview_edge.web.context import WebContext
from interview_edge.web.door import caller
from interview_edge.web.file_answers import Downloads, RangedFile, head_answer, streamed
from interview_edge.web.messages import held_by_request, parse_whole_number
from interview_edge.web.refusals import COMMON_HEADERS
from interview_edge.web.routes import SESSION_ERRORS, Content, Parameter, Route
from interview_edge.web.schemas import STREAM, TEXT, choice

MAX_SEQ = 2**31 - 1
FILE_PART = 64 * 1024

_STREAM = Parameter("stream", STREAM, "default `mixed`")


@attrs.frozen
class AudioResource:
    """The views; both read without opening the session."""

    context: WebContext
    downloads: Downloads = attrs.field(factory=Downloads)

    def routes(self) -> list[Route]:
        one = "/v1/sessions/<segment:session_id>"
        found = (INVALID_STREAM, SESSION_NOT_FOUND, *SESSION_ERRORS)
        return [
            Route(
                method="GET",
                path=f"{one}/audio",
                view=self.audio,
                access=(Scope.SESSIONS,),
                summary="One stream of a session as one file, silence in place of missing seconds",
                answers={
                    200: Content(
                        "audio/wav",
                        None,
                        "All of it; `x-missing-seconds` and `x-expired-seconds` say how much is silence.",
                        others={"audio/flac": None},
                    ),
                    206: Content("audio/wav", None, "The range asked for (WAV only)."),
                },
                errors=(
                    INVALID_QUERY,
                    STREAM_NOT_FOUND,
                    CHUNK_EXPIRED,
                    AUDIO_TOO_LARGE,
                    RANGE_NOT_SATISFIABLE,
                    DOWNLOADS_BUSY,
                    *found,
                ),
                parameters=(
                    _STREAM,
                    Parameter("format", choice("wav", "flac", default="wav"), "what kind of file"),
                    Parameter("range", TEXT, "one range of bytes", place="header"),
                    Parameter("if-range", TEXT, "the ETag that the range is of", place="header"),
                ),
            ),
            Route(
                method="GET",
                path=f"{one}/chunks/<segment:seq>",
                view=self.chunk,
                access=(Scope.SESSIONS,),
                summary="The raw PCM of one second",
                answers={200: Content("application/octet-stream", None, "s16le, mono, 16 kHz.")},
                errors=(INVALID_QUERY, CHUNK_NOT_FOUND, CHUNK_EXPIRED, *found),
                parameters=(_STREAM,),
            ),
        ]

    async def chunk(self, session_id: str, seq: str) -> Response:
        number = parse_whole_number(seq, "seq", 1, MAX_SEQ)
        key = StreamKey(session_id, check_stream(request.args.get("stream", DEFAULT_STREAM)))
        parts = self.context.parts
        with trio.fail_after(parts.settings.storage_timeout):
            if await view_session(session_id, self.context.registry, parts, caller()) is None:
                raise EdgeError(SESSION_NOT_FOUND)
            pcm = await parts.reader.chunk(key, number)
        if pcm is None:
            raise EdgeError(CHUNK_NOT_FOUND, fields={"seq": number})
        return Response(pcm, headers={"content-type": "application/octet-stream"} | COMMON_HEADERS)

    async def audio(self, session_id: str) -> Response:
        form = request.args.get("format", "wav")
        if form not in ("wav", "flac"):
            raise EdgeError(INVALID_QUERY, "format must be wav or flac", fields={"field": "format"})
        key = StreamKey(session_id, check_stream(request.args.get("stream", DEFAULT_STREAM)))
        track = await self._track(key)
        held_by_request().enter_context(self.downloads.one())
        return await (self._wav(track) if form == "wav" else self._flac(track))

    async def _track(self, key: StreamKey) -> AudioTrack:
        parts = self.context.parts
        with trio.fail_after(parts.settings.storage_timeout):
            view = await view_session(key.session_id, self.context.registry, parts, caller())
            expired = await parts.catalog.files.expired_seqs(key)
        if view is None:
            raise EdgeError(SESSION_NOT_FOUND)
        track = AudioTrack(key, view.heard(key.stream), expired)
        if not track.has_audio:
            raise EdgeError(CHUNK_EXPIRED)
        if not track.fits_wav:
            raise EdgeError(AUDIO_TOO_LARGE)
        return track

    async def _wav(self, track: AudioTrack) -> Response:
        reader = self.context.parts.reader
        headers = _headers(track, "audio/wav")
        file = RangedFile(track.wav_bytes, track.etag, headers, partial(read_wav, track, reader))
        return await file.answer(self.context.parts.settings.upload_timeout)

    async def _flac(self, track: AudioTrack) -> Response:
        headers = _headers(track, "audio/flac")
        if request.method == "HEAD":
            return head_answer(headers)
        parts = self.context.parts
        file = await encode_flac_file(track, parts.reader, parts.settings.data_dir)
        held_by_request().callback(file.close)
        return await streamed(_read_file(file), headers, parts.settings.upload_timeout)


def _headers(track: AudioTrack, media_type: str) -> dict[str, str]:
    return {
        "content-type": media_type,
        "x-content-type-options": "nosniff",
        "cache-control": "private, no-cache",
        "x-missing-seconds": str(track.missing_seconds),
        "x-expired-seconds": str(track.expired_seconds),
    }


async def _read_file(file: IO[bytes]) -> AsyncGenerator[bytes, None]:
    while part := await trio.to_thread.run_sync(file.read, FILE_PART):
        yield part
