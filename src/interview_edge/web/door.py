"""The door: the one check that every request and every socket passes before anything of it is read.

It stands in `EdgeAsgi`, in front of Quart and of the raw ASGI handlers alike, and goes by the route's row in
the table: a route without `access` can't be written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio
from quart import request

from interview_edge.access.credentials import Credential, LoginCookie, Ticket, find_credential
from interview_edge.access.principal import EVERYBODY, NOBODY, Principal
from interview_edge.core.keys import check_session_id
from interview_edge.core.models import Caller
from interview_edge.errors import (
    CATALOG_UNAVAILABLE,
    INSUFFICIENT_SCOPE,
    INVALID_TICKET,
    MISSING_AUTH,
    SESSION_NOT_FOUND,
    EdgeError,
)
from interview_edge.web.answer_headers import answer_of
from interview_edge.web.client_address import client_of
from interview_edge.web.context import WebContext
from interview_edge.web.origins import check_local, check_page
from interview_edge.web.route_table import Match
from interview_edge.web.routes import Route, Visitors

PRINCIPAL = "interview_edge.principal"  # in the scope, set here only


class Door:
    """Lets requests in, or raises what they are refused with."""

    def __init__(self, context: WebContext) -> None:
        self._context = context

    async def admit(self, scope: Any, match: Match, shown: Credential | None = None) -> Principal:
        """Who asks, allowed to use the route and the session that its path names. `shown` is a credential
        that stood elsewhere than in the headers.

        Raises EdgeError: local_only, missing_auth, invalid_key, invalid_ticket, insufficient_scope,
        csrf_refused, origin_refused; invalid_session_id, and session_not_found for another's.
        catalog_unavailable, after `storage_timeout` too. CatalogUnavailable.
        """
        self.check_place(scope, match.route)
        with trio.move_on_after(self._context.parts.settings.storage_timeout):
            principal = scope[PRINCIPAL] = await self._recognise(scope, match.route, shown)
            _check_scope(principal, match.route)
            session_id = match.values.get("session_id")
            if session_id is not None:
                await self._check_owner(principal, check_session_id(session_id))
            return principal
        raise EdgeError(CATALOG_UNAVAILABLE)

    def check_place(self, scope: Any, route: Route) -> None:
        """Without keys, only this machine is served. Raises EdgeError(local_only)."""
        if not (self._asks_nobody or self._context.access.authenticator.guarded or route.from_anywhere):
            check_local(scope, self._context.parts.settings.cors_origins)

    @property
    def _asks_nobody(self) -> bool:
        return self._context.parts.settings.insecure

    async def _recognise(self, scope: Any, route: Route, shown: Credential | None) -> Principal:
        authenticator = self._context.access.authenticator
        if self._asks_nobody or not authenticator.guarded:
            return EVERYBODY
        credential = shown or find_credential(scope["headers"])
        if credential is None:
            if route.access is Visitors.ANYBODY:
                return NOBODY
            raise EdgeError(MISSING_AUTH)
        if isinstance(credential, Ticket) and scope["type"] != "websocket":
            raise EdgeError(INVALID_TICKET)  # and not used up
        if isinstance(credential, LoginCookie):
            return await self._by_cookie(scope, route, credential)
        return await self._try(scope, credential)

    async def _by_cookie(self, scope: Any, route: Route, login: LoginCookie) -> Principal:
        try:
            principal = await self._try(scope, login)
            check_page(scope, login, self._context.parts.settings.cors_origins)
        except EdgeError:
            # A browser sends it unasked: an old one must not keep its owner from logging in again.
            if route.access is Visitors.ANYBODY:
                return NOBODY
            raise
        return principal

    async def _try(self, scope: Any, credential: Credential) -> Principal:
        """Too many wrong ones from one place, and no more are looked at. Raises EdgeError."""
        access = self._context.access
        with access.limits.attempt(client_of(scope).network, credential):
            principal = await access.authenticator.recognise(credential)
        answer_of(scope).allow(access.limits.take_of_key(principal))
        return principal

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
