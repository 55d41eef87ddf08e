"""The audit rows that follow from a route and from who uses it (contract gateway.md, Auth).

Views of logins and keys write their own, with what only they know. What is here is written by the dispatcher:
as the answer's status is known and before it goes out, so that whoever was told of something finds it in the
audit. Where the row can't be written, the answer says so in place of the one that was meant.
"""

from __future__ import annotations

import enum
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import structlog
import trio

from interview_edge.access.principal import Principal, Via
from interview_edge.catalog.protocol import CatalogUnavailable
from interview_edge.errors import CATALOG_UNAVAILABLE, EdgeError
from interview_edge.web.audit import about_request
from interview_edge.web.context import WebContext
from interview_edge.web.door import PRINCIPAL
from interview_edge.web.refusals import refuse_http
from interview_edge.web.route_table import Match

log = structlog.get_logger(__name__)

_PLACE = re.compile("<[a-z]+:")

Send = Callable[[Any], Awaitable[None]]

_READS = ("GET", "HEAD")
_TELLING = (403, 404)  # of the door's refusals; a row for each that a limit turns away would undo the limit


class Outcome(enum.StrEnum):
    """How what was asked for ended."""

    DONE = "done"
    REFUSED = "refused"  # a status of 4xx, at the door or behind it
    FAILED = "failed"  # of 5xx
    UNANSWERED = "unanswered"  # the client went, or the node: it may have been done or not


DEED = "interview_edge.deed"  # in the scope of a request that leaves a row


@attrs.frozen
class Deed:
    """What a request does, as its row will say. `told` is what its view adds meanwhile."""

    action: str
    target: str | None
    principal: Principal
    detail: Mapping[str, Any]
    told: dict[str, Any] = attrs.field(factory=dict)


def tell_audit(scope: Mapping[str, Any], **detail: Any) -> None:
    """For the row of this request: what only its view knows. Rows are small: no lists of any length."""
    deed: Deed | None = scope.get(DEED)
    if deed is not None:
        deed.told.update(detail)


class AuditTrail:
    """Writes the rows of one node."""

    def __init__(self, context: WebContext) -> None:
        self._context = context

    async def deed(self, scope: Mapping[str, Any], match: Match, principal: Principal) -> Deed | None:
        """What the request does that leaves a row: what its route names, and an admin's use of a session of
        somebody else. Raises CatalogUnavailable, and after `storage_timeout` EdgeError(catalog_unavailable).
        """
        session_id = match.values.get("session_id")
        owner = None
        if session_id is not None and principal.caller.sees_all and principal.via is not Via.OPEN:
            owner = await self._owner_of(session_id)
        of_another = owner is not None and owner != principal.user
        if match.route.audited is None and not of_another:
            return None
        reads = scope["type"] == "http" and scope["method"] in _READS
        action = _action_of(scope, match) or ("admin.read" if reads else "admin.write")
        detail = {"owner": owner} if of_another else {}
        return Deed(action, _target(match), principal, {"route": _route_of(match)} | detail)

    async def _owner_of(self, session_id: str) -> str | None:
        live = self._context.registry.live(session_id)
        if live:
            return live.owner
        with trio.move_on_after(self._context.parts.settings.storage_timeout):
            return await self._context.parts.catalog.owner_of(session_id)
        raise EdgeError(CATALOG_UNAVAILABLE)

    @asynccontextmanager
    async def answering(self, scope: Mapping[str, Any], deed: Deed | None, send: Send) -> AsyncIterator[Send]:
        """The `send` for an answer inside the block: it writes the deed's row before anything goes out."""
        if deed is None:
            yield send
            return
        answer = _Answer(self, scope, deed, send)
        try:
            yield answer.send
        finally:
            if not answer.begun:  # perhaps cancelled: what it did before that stays done
                with trio.move_on_after(self._context.parts.settings.storage_timeout, shield=True):
                    await self._note_unanswered(scope, deed)

    async def _note_unanswered(self, scope: Mapping[str, Any], deed: Deed) -> None:
        try:
            await self.note(scope, deed, Outcome.UNANSWERED)
        except EdgeError:
            log.error("an audit row is missing", action=deed.action, target=deed.target)

    async def refused(self, scope: Mapping[str, Any], match: Match | None, refusal: EdgeError) -> EdgeError:
        """What to answer where the door refused somebody whom it knew: `refusal`, once its row is written,
        if the route is one that leaves any.
        """
        principal: Principal | None = scope.get(PRINCIPAL)
        action = None if match is None else _action_of(scope, match)
        if match is None or action is None or principal is None or refusal.kind.status not in _TELLING:
            return refusal
        detail = {"route": _route_of(match), "code": refusal.kind.code}
        try:
            deed = Deed(action, _target(match), principal, detail)
            await self.note(scope, deed, Outcome.REFUSED)
        except EdgeError as error:
            return error
        return refusal

    async def note(
        self, scope: Mapping[str, Any], deed: Deed, outcome: Outcome, detail: Mapping[str, Any] | None = None
    ) -> None:
        """Write the deed's row. Raises EdgeError(catalog_unavailable)."""
        parts = self._context.parts
        entry = about_request(
            scope,
            deed.action,
            outcome.value,
            at=parts.wall_ms(),
            principal=deed.principal,
            target=deed.target,
        )
        entry = attrs.evolve(entry, detail={**deed.detail, **deed.told, **(detail or {})})
        try:
            with trio.fail_after(parts.settings.storage_timeout):
                await parts.catalog.access.append_audit(entry)
        except (CatalogUnavailable, trio.TooSlowError) as error:
            raise EdgeError(CATALOG_UNAVAILABLE) from error


class _Answer:
    """One answer over ASGI, held back until its row is written."""

    def __init__(self, trail: AuditTrail, scope: Mapping[str, Any], deed: Deed, send: Send) -> None:
        self._trail = trail
        self._scope = scope
        self._deed = deed
        self._send = send
        self._replaced = False
        self.begun = False

    async def send(self, message: Any) -> None:
        """ASGI's `send`. Of an answer whose row can't be written nothing goes out but that."""
        if message["type"] == "http.response.start" and not self.begun:
            self.begun = True
            status: int = message["status"]
            try:
                await self._trail.note(self._scope, self._deed, _outcome(status), {"status": status})
            except EdgeError as error:
                self._replaced = True
                await refuse_http(error, self._scope, self._send)
        if not self._replaced:
            await self._send(message)


def _action_of(scope: Mapping[str, Any], match: Match) -> str | None:
    audited = match.route.audited
    return audited(scope) if callable(audited) else audited


def _outcome(status: int) -> Outcome:
    if status < 400:
        return Outcome.DONE
    return Outcome.REFUSED if status < 500 else Outcome.FAILED


def _target(match: Match) -> str | None:
    """What the path names first: a session, a key."""
    return next((str(value) for value in match.values.values()), None)


def _route_of(match: Match) -> str:
    return f"{match.route.method} {_PLACE.sub('{', match.route.path)}".replace(">", "}")
