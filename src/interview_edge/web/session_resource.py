"""`/v1/sessions`: the list, and one session's state, events, result, deletion."""

from __future__ import annotations

from typing import Any

import attrs
import trio
from quart import Response, request

from interview_edge.access.principal import Scope
from interview_edge.core.models import SessionState
from interview_edge.core.pcm import SAMPLE_BYTES, SAMPLE_RATE
from interview_edge.core.state_json import state_to_json
from interview_edge.core.times import iso_from_ms
from interview_edge.errors import (
    CATALOG_UNAVAILABLE,
    INVALID_QUERY,
    NOT_FINALIZED,
    RESOLVE_BUSY,
    SESSION_LIVE,
    SESSION_NOT_FOUND,
    EdgeError,
)
from interview_edge.sessions.deleting import delete
from interview_edge.sessions.view import SessionView, view_session, view_summary
from interview_edge.web.context import WebContext
from interview_edge.web.cursors import Whole, decode_cursor, encode_cursor
from interview_edge.web.door import caller
from interview_edge.web.messages import json_reply, whole_number
from interview_edge.web.routes import SESSION_ERRORS, Content, Parameter, Route
from interview_edge.web.schemas import TEXT, ref, whole

PAGE = 50
MAX_PAGE = 200
EVENTS_PAGE = 100
MAX_EVENTS_PAGE = 1_000

_JSON = "application/json"


@attrs.frozen
class SessionResource:
    """The views; each reads without opening the session."""

    context: WebContext

    def routes(self) -> list[Route]:
        one = "/v1/sessions/<segment:session_id>"
        return [
            Route(
                method="GET",
                path="/v1/sessions",
                view=self.index,
                access=(Scope.SESSIONS,),
                summary="Sessions, newest first",
                answers={
                    200: Content(_JSON, ref("SessionList"), "One page; `next` is the next one's cursor.")
                },
                errors=(INVALID_QUERY, CATALOG_UNAVAILABLE, SESSION_ERRORS[-1]),
                parameters=(
                    Parameter("limit", whole(1, MAX_PAGE), f"1..{MAX_PAGE}, default {PAGE}"),
                    Parameter("cursor", TEXT, "`next` of the page before"),
                ),
            ),
            Route(
                method="GET",
                path=f"{one}/state",
                view=self.state,
                access=(Scope.INGEST, Scope.SESSIONS),
                summary="A session's state and ingest status; an empty one for a session never seen",
                answers={200: Content(_JSON, ref("State"), "The state as of now.")},
                errors=SESSION_ERRORS,
            ),
            Route(
                method="GET",
                path=f"{one}/events",
                view=self.events,
                access=(Scope.SESSIONS,),
                summary="A session's events in order",
                answers={
                    200: Content(_JSON, ref("EventList"), "Events; `next` is `after` of the next page.")
                },
                errors=(INVALID_QUERY, SESSION_NOT_FOUND, *SESSION_ERRORS),
                parameters=(
                    Parameter("after", whole(0), "events with a higher seq_no only, default 0"),
                    Parameter(
                        "limit", whole(1, MAX_EVENTS_PAGE), f"1..{MAX_EVENTS_PAGE}, default {EVENTS_PAGE}"
                    ),
                ),
            ),
            Route(
                method="GET",
                path=f"{one}/result",
                view=self.result,
                access=(Scope.SESSIONS,),
                summary="result.json of the last finalize",
                answers={200: Content(_JSON, {"type": "object"}, "The finished record.")},
                errors=(SESSION_NOT_FOUND, NOT_FINALIZED, *SESSION_ERRORS),
            ),
            Route(
                method="DELETE",
                path=one,
                view=self.delete,
                access=(Scope.SESSIONS,),
                audited="session.delete",
                summary="Delete everything of a session: audio, events, result",
                answers={200: Content(_JSON, ref("Deleted"), "It is gone; reads answer 410 from now on.")},
                errors=(SESSION_NOT_FOUND, SESSION_LIVE, RESOLVE_BUSY, *SESSION_ERRORS),
            ),
        ]

    async def index(self) -> Response:
        limit = whole_number(request, "limit", PAGE, 1, MAX_PAGE)
        before = decode_cursor(request.args.get("cursor"), tuple[Whole, str])
        parts = self.context.parts
        with trio.fail_after(parts.settings.storage_timeout):
            asker = caller()
            found = await parts.catalog.list_sessions(
                limit=limit + 1, before=before, owner=None if asker.sees_all else asker.user
            )
            page = found[:limit]
            views = [await view_summary(summary, self.context.registry, parts) for summary in page]
        following = encode_cursor((page[-1].created_at, page[-1].session_id)) if len(found) > limit else None
        return json_reply({"items": [_show_summary(v) for v in views if v is not None], "next": following})

    async def state(self, session_id: str) -> Response:
        view = await self.view(session_id)
        if view is None:
            shown = _show_state(session_id, SessionState())
        else:
            shown = _show_state(session_id, view.state) | {
                "event_count": view.event_count,
                "updated_at": iso_from_ms(view.updated_at),
                "ingest": view.main_status(),
                "ingest_by_stream": view.statuses(),
            }
        return json_reply(shown)

    async def events(self, session_id: str) -> Response:
        after = whole_number(request, "after", 0, 0)
        limit = whole_number(request, "limit", EVENTS_PAGE, 1, MAX_EVENTS_PAGE)
        if await self.view(session_id) is None:
            raise EdgeError(SESSION_NOT_FOUND)
        parts = self.context.parts
        with trio.fail_after(parts.settings.storage_timeout):
            found = await parts.catalog.events(session_id, after=after, limit=limit + 1)
        page = found[:limit]
        following = page[-1].seq_no if len(found) > limit else None
        return json_reply({"items": [event.to_wire() for event in page], "next": following})

    async def result(self, session_id: str) -> Response:
        view = await self.view(session_id)
        if view is None:
            raise EdgeError(SESSION_NOT_FOUND)
        if view.result_key is None:
            raise EdgeError(NOT_FINALIZED)
        parts = self.context.parts
        with trio.fail_after(parts.settings.storage_timeout):
            return json_reply(await parts.backend.get(view.result_key), encoded=True)

    async def delete(self, session_id: str) -> Response:
        parts = self.context.parts
        # Objects are many: the time of an upload, not of a read. What is left over the next start deletes.
        with trio.fail_after(parts.settings.upload_timeout):
            await delete(session_id, self.context.registry, parts, caller())
        return json_reply({"session_id": session_id, "deleted": True})

    async def view(self, session_id: str) -> SessionView | None:
        """The asker's session as it stands, None for one never seen; bounded by `storage_timeout`."""
        parts = self.context.parts
        with trio.fail_after(parts.settings.storage_timeout):
            return await view_session(session_id, self.context.registry, parts, caller())


def _show_state(session_id: str, state: SessionState) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "state": state_to_json(state),
        "event_count": 0,
        "updated_at": None,
        "ingest": None,
        "ingest_by_stream": {},
    }


def _show_summary(view: SessionView) -> dict[str, Any]:
    ingest = view.total_status()
    return {
        "session_id": view.session_id,
        "started_at": iso_from_ms(view.created_at),
        "last_activity_at": iso_from_ms(view.updated_at),
        "status": "live" if view.live else "closed",
        "seconds": 0 if ingest is None else ingest.bytes_stored / (SAMPLE_RATE * SAMPLE_BYTES),
        "missing": 0 if ingest is None else ingest.missing_chunks,
        "finalized": view.finalized_at is not None,
        "finalized_at": None if view.finalized_at is None else iso_from_ms(view.finalized_at),
    }
