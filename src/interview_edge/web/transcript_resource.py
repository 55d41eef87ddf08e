"""`/v1/sessions/{id}/transcript`: what was said, as JSON or as people and players read it."""

from __future__ import annotations

import attrs
import trio
from quart import Response, request

from interview_edge.access.principal import Scope
from interview_edge.core.keys import check_stream
from interview_edge.core.models import Event
from interview_edge.core.transcripts import (
    RESOLVE,
    TRANSCRIPT,
    TranscriptFormat,
    lines_of,
    to_srt,
    to_txt,
    to_vtt,
)
from interview_edge.errors import (
    INVALID_QUERY,
    INVALID_STREAM,
    SESSION_NOT_FOUND,
    STREAM_NOT_FOUND,
    EdgeError,
)
from interview_edge.sessions.view import view_session
from interview_edge.web.context import WebContext
from interview_edge.web.door import caller
from interview_edge.web.messages import json_reply
from interview_edge.web.refusals import COMMON_HEADERS
from interview_edge.web.routes import SESSION_ERRORS, Content, Parameter, Route
from interview_edge.web.schemas import STREAM, choice, ref

EVENTS_A_READ = 1_000

_TYPES = {
    TranscriptFormat.TXT: "text/plain; charset=utf-8",
    TranscriptFormat.SRT: "application/x-subrip; charset=utf-8",
    TranscriptFormat.VTT: "text/vtt; charset=utf-8",
}


@attrs.frozen
class TranscriptResource:
    """The view; it reads without opening the session."""

    context: WebContext

    def routes(self) -> list[Route]:
        return [
            Route(
                method="GET",
                path="/v1/sessions/<segment:session_id>/transcript",
                view=self.show,
                access=(Scope.SESSIONS,),
                summary="What was said, utterance by utterance",
                answers={
                    200: Content(
                        "application/json",
                        ref("Transcript"),
                        "`waiting`, in every format also `x-transcript-waiting`: utterances that were heard "
                        "and aren't written yet.",
                        others={media.partition(";")[0]: None for media in _TYPES.values()},
                    )
                },
                errors=(INVALID_QUERY, INVALID_STREAM, STREAM_NOT_FOUND, SESSION_NOT_FOUND, *SESSION_ERRORS),
                parameters=(
                    Parameter("stream", STREAM, "one stream's lines only, default all"),
                    Parameter(
                        "format",
                        choice(*(each.value for each in TranscriptFormat), default="json"),
                        "lines as data, as plain text, or as subtitles",
                    ),
                ),
            )
        ]

    async def show(self, session_id: str) -> Response:
        try:
            form = TranscriptFormat(request.args.get("format", "json"))
        except ValueError:
            raise EdgeError(
                INVALID_QUERY, "format must be json, txt, srt or vtt", fields={"field": "format"}
            ) from None
        stream = None if (asked := request.args.get("stream")) is None else check_stream(asked)
        parts = self.context.parts
        with trio.fail_after(parts.settings.storage_timeout):
            view = await view_session(session_id, self.context.registry, parts, caller())
            if view is None:
                raise EdgeError(SESSION_NOT_FOUND)
            if stream is not None:
                view.heard(stream)
            waiting = await parts.catalog.count_untranscribed(session_id, stream=stream)
            lines = lines_of(await self._events(session_id), view.state.bindings)
        lines = [line for line in lines if stream in (None, line.stream)]
        incomplete = {"x-transcript-waiting": str(waiting)}
        if form is TranscriptFormat.JSON:
            shown = {"session_id": session_id, "lines": [line.to_wire() for line in lines]}
            return json_reply(shown | {"waiting": waiting}, headers=incomplete)
        text = {
            TranscriptFormat.TXT: to_txt,
            TranscriptFormat.SRT: to_srt,
            TranscriptFormat.VTT: to_vtt,
        }[form](lines)
        return Response(text, headers={"content-type": _TYPES[form]} | COMMON_HEADERS | incomplete)

    async def _events(self, session_id: str) -> list[Event]:
        catalog, after = self.context.parts.catalog, 0
        events: list[Event] = []
        while page := await catalog.events(
            session_id, after=after, limit=EVENTS_A_READ, types=[TRANSCRIPT, RESOLVE]
        ):
            events += page
            after = page[-1].seq_no
        return events
