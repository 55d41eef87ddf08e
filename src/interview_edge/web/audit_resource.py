"""`GET /auth/audit`: who did what, in pages or as JSON lines (contract gateway.md, Auth)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any
from urllib.parse import parse_qs

import attrs
import msgspec
import trio
from quart import Response, request

from interview_edge.access.principal import Scope
from interview_edge.catalog.access import AuditEntry
from interview_edge.core.times import iso_from_ms
from interview_edge.errors import CATALOG_UNAVAILABLE, INVALID_QUERY, STORAGE_UNAVAILABLE, EdgeError
from interview_edge.web.context import WebContext
from interview_edge.web.messages import held_by_request, json_reply, whole_number
from interview_edge.web.pieces import Pieces
from interview_edge.web.refusals import COMMON_HEADERS
from interview_edge.web.routes import Content, Parameter, Route
from interview_edge.web.schemas import TEXT, ref, whole

PAGE = 100
MAX_PAGE = 1_000
EXPORT_PAGE = 500  # rows read at once: some 200 kB
LINES = "application/x-ndjson"


@attrs.frozen
class AuditResource:
    """The view."""

    context: WebContext

    def routes(self) -> list[Route]:
        return [
            Route(
                method="GET",
                path="/auth/audit",
                view=self.show,
                service="auth",
                access=(Scope.ADMIN,),
                audited=_action,
                summary="Who did what, when, from where, with what outcome",
                answers={
                    200: Content(
                        "application/json",
                        ref("Audit"),
                        "One page; `next` is `after` of the next one. As JSON lines all rows, one a line.",
                        others={LINES: TEXT},
                    )
                },
                errors=(INVALID_QUERY, CATALOG_UNAVAILABLE, STORAGE_UNAVAILABLE),
                parameters=(
                    Parameter("after", whole(0), "rows with a higher number only, default 0"),
                    Parameter(
                        "limit",
                        whole(1, MAX_PAGE),
                        f"rows of a page, 1..{MAX_PAGE}, default {PAGE}; JSON lines have all",
                    ),
                    Parameter("owner", TEXT, "what this user did only"),
                    Parameter("action", TEXT, "this action only"),
                    Parameter(
                        "format", {"enum": ["json", "jsonl"]}, f"`jsonl` is the same as `Accept: {LINES}`"
                    ),
                ),
            )
        ]

    async def show(self) -> Response:
        after = whole_number(request, "after", 0, 0)
        limit = whole_number(request, "limit", PAGE, 1, MAX_PAGE)
        if request.args.get("format", "json") not in ("json", "jsonl"):
            raise EdgeError(INVALID_QUERY, "format must be json or jsonl", fields={"field": "format"})
        owner, action = request.args.get("owner"), request.args.get("action")
        if wants_lines(request.scope):
            return await self._export(after, owner, action)
        with trio.fail_after(self.context.parts.settings.storage_timeout):
            found = await self.context.access.records.audit(
                after=after, limit=limit + 1, owner=owner, action=action
            )
        page = found[:limit]
        following = page[-1][0] if len(found) > limit else None
        return json_reply({"items": [show_entry(*row) for row in page], "next": following})

    async def _export(self, after: int, owner: str | None, action: str | None) -> Response:
        headers = {"content-type": LINES} | COMMON_HEADERS
        if request.method == "HEAD":
            return Response(b"", headers=headers)
        lines = self._lines(after, owner, action)
        held_by_request().push_async_callback(lines.aclose)
        body = Pieces(lines, self.context.parts.settings.storage_timeout)
        await body.start()
        response = Response(body, headers=headers)
        response.timeout = None  # as long as it is read; the server's send_timeout ends one that isn't
        return response

    async def _lines(self, after: int, owner: str | None, action: str | None) -> AsyncGenerator[bytes, None]:
        """All rows after `after`, a page at a time."""
        while found := await self.context.access.records.audit(
            after=after, limit=EXPORT_PAGE, owner=owner, action=action
        ):
            yield b"".join(msgspec.json.encode(show_entry(*row)) + b"\n" for row in found)
            after = found[-1][0]


def wants_lines(scope: Mapping[str, Any]) -> bool:
    """Whether a request asks for JSON lines: by `format`, or where there is none by its Accept."""
    query: bytes = scope["query_string"]
    asked = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("format")
    if asked is not None:
        return asked[0] == "jsonl"
    accepted = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"accept"]
    return any(part.partition(";")[0].strip() == LINES for value in accepted for part in value.split(","))


def _action(scope: Mapping[str, Any]) -> str:
    return "audit.export" if wants_lines(scope) else "audit.read"


def show_entry(number: int, entry: AuditEntry) -> dict[str, Any]:
    """A row as JSON."""
    return {
        "number": number,
        "at": iso_from_ms(entry.at),
        "owner": entry.owner,
        "key_id": entry.key_id,
        "action": entry.action,
        "target": entry.target,
        "address": entry.address,
        "request_id": entry.request_id,
        "outcome": entry.outcome,
        "detail": dict(entry.detail),
    }
