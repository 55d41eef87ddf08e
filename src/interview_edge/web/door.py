"""The door: the one check that every request and every socket passes before anything of it is read.

It stands in `EdgeAsgi`, in front of Quart and of the raw ASGI handlers alike, and goes by the route's row in
the table: a route without `access` can't be written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quart import request

from interview_edge.access.credentials import Credential, find_credential
from interview_edge.access.principal import EVERYBODY, NOBODY, Principal
from interview_edge.core.keys import check_session_id
from interview_edge.core.models import Caller
from interview_edge.errors import (
    INSUFFICIENT_SCOPE,
    INVALID_KEY,
    INVALID_TICKET,
    MISSING_AUTH,
    SESSION_NOT_FOUND,
    EdgeError,
)
from interview_edge.web.client_address import Address, client_of
from interview_edge.web.context import WebContext
from interview_edge.web.route_table import Match
from interview_edge.web.routes import Route, Visitors

PRINCIPAL = "interview_edge.principal"  # in the scope, set here only


class Door:
    """Lets requests in, or raises what they are refused with."""

    def __init__(self, context: WebContext) -> None:
        self._context = context

    async def admit(self, scope: Any, match: Match) -> Principal:
        """Who asks, allowed to use the route and the session that its path names.

        Raises EdgeError: missing_auth, invalid_key, insufficient_scope; invalid_session_id, and
        session_not_found for another's. CatalogUnavailable.
        """
        principal = await self._recognise(scope, match.route)
        _check_scope(principal, match.route)
        session_id = match.values.get("session_id")
        if session_id is not None:
            await self._check_owner(principal, check_session_id(session_id))
        return principal

    async def _recognise(self, scope: Any, route: Route) -> Principal:
        if not self._context.access.authenticator.guarded:
            return EVERYBODY
        credential = find_credential(scope["headers"])
        if credential is not None:
            return await self._try(credential, client_of(scope).address)
        if route.access is Visitors.ANYBODY:
            return NOBODY
        raise EdgeError(MISSING_AUTH)

    async def _try(self, credential: Credential, address: Address | None) -> Principal:
        """Too many wrong ones from one place, and no more are looked at."""
        access = self._context.access
        access.limits.check_attempt(address, credential)
        try:
            return await access.authenticator.recognise(credential)
        except EdgeError as error:
            if error.kind in (INVALID_KEY, INVALID_TICKET):
                access.limits.note_failure(address, credential)
            raise

    async def _check_owner(self, principal: Principal, session_id: str) -> None:
        """Another's session is as one that isn't there. A new one is nobody's until it is opened, and the
        catalog decides that race in one transaction.
        """
        caller = principal.caller
        if caller.sees_all:
            return
        live = self._context.registry.live(session_id)
        owner = live.owner if live else await self._context.parts.catalog.owner_of(session_id)
        if owner is not None and not caller.may_see(owner):
            raise EdgeError(SESSION_NOT_FOUND)


def _check_scope(principal: Principal, route: Route) -> None:
    if isinstance(route.access, Visitors):
        return
    if not principal.may(*route.access):
        wanted = " or ".join(route.access)
        raise EdgeError(INSUFFICIENT_SCOPE, f"this needs the scope {wanted}")


def principal_of(scope: Mapping[str, Any]) -> Principal:
    """Whom the door let in with this scope."""
    found: Principal = scope[PRINCIPAL]
    return found


def caller() -> Caller:
    """Who asks, in a view."""
    return principal_of(request.scope).caller
