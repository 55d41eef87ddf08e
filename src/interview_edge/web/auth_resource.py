"""`/auth/*` and tickets: keys, logins of pages, who one is (contract gateway.md, Auth; stream.md, Ticket)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from quart import Response, request

from interview_edge.access.api_keys import parse_key
from interview_edge.access.credentials import LOGIN_COOKIE, Bearer, LoginCookie, find_credential
from interview_edge.access.csrf import csrf_token
from interview_edge.access.key_admin import MAX_DAYS, NewKey, create_key, revoke_key, show_key
from interview_edge.access.principal import Principal, Scope, Via
from interview_edge.catalog.access import AuditEntry, GrantKind, UsageKind
from interview_edge.core.times import iso_from_ms
from interview_edge.errors import (
    BODY_NOT_JSON,
    BODY_TOO_LARGE,
    CATALOG_UNAVAILABLE,
    INVALID_BODY,
    INVALID_KEY,
    KEY_NOT_FOUND,
    RATE_LIMITED,
    EdgeError,
)
from interview_edge.web.audit import about_request
from interview_edge.web.client_address import client_of
from interview_edge.web.context import WebContext
from interview_edge.web.door import principal_of
from interview_edge.web.messages import invalid_field, json_reply, parse_fields, read_body, whole_in_json
from interview_edge.web.routes import Content, Parameter, Route, Visitors
from interview_edge.web.schemas import MAX_INTEGER, TEXT, ref

_JSON = "application/json"
_BODY = (BODY_NOT_JSON, INVALID_BODY, BODY_TOO_LARGE)
MAX_NAME = 100
MAX_OWNER = 256
_KEY_FIELDS = ("name", "owner", "scopes", "expires_in_days", "quotas")


@attrs.frozen
class AuthResource:
    """The views."""

    context: WebContext

    def routes(self) -> list[Route]:
        return [*self._login_routes(), *self._key_routes()]

    def _login_routes(self) -> list[Route]:
        return [
            Route(
                method="POST",
                path="/auth/login",
                view=self.login,
                service="auth",
                access=Visitors.ANYBODY,
                summary="Exchange an API key for the session cookie of a page",
                answers={200: Content(_JSON, ref("Login"), "Who one is now; the cookie is beside it.")},
                errors=(*_BODY, CATALOG_UNAVAILABLE),
                body=Content(_JSON, ref("LoginRequest"), "The key."),
            ),
            Route(
                method="POST",
                path="/auth/logout",
                view=self.logout,
                service="auth",
                access=Visitors.SIGNED_IN,
                summary="End the login whose cookie is sent",
                answers={200: Content(_JSON, ref("Done"), "It is over, everywhere.")},
                errors=(CATALOG_UNAVAILABLE,),
            ),
            Route(
                method="GET",
                path="/auth/me",
                view=self.me,
                service="auth",
                access=Visitors.SIGNED_IN,
                summary="Who one is, and what one may do",
                answers={200: Content(_JSON, ref("Me"), "With a login also its `csrf_token`.")},
            ),
            Route(
                method="POST",
                path="/api/ws/ticket",
                view=self.ticket,
                service="auth",
                access=(Scope.INGEST,),
                summary="A ticket that opens one socket, once",
                answers={200: Content(_JSON, ref("Ticket"), "`expires_in` is in seconds.")},
                errors=(CATALOG_UNAVAILABLE,),
            ),
        ]

    def _key_routes(self) -> list[Route]:
        return [
            Route(
                method="GET",
                path="/auth/keys",
                view=self.keys,
                service="auth",
                access=Visitors.SIGNED_IN,
                summary="One's API keys; all of them for scope admin",
                answers={200: Content(_JSON, ref("KeyList"), "Without their secrets, which nobody has.")},
                parameters=(Parameter("owner", TEXT, "only this user's, for scope admin"),),
                errors=(CATALOG_UNAVAILABLE,),
            ),
            Route(
                method="POST",
                path="/auth/keys",
                view=self.create,
                service="auth",
                access=(Scope.ADMIN,),
                summary="Make an API key",
                answers={201: Content(_JSON, ref("NewKey"), "`key` is shown this once.")},
                errors=(*_BODY, CATALOG_UNAVAILABLE),
                body=Content(_JSON, ref("KeyRequest"), "Whose key it is, and for what."),
            ),
            Route(
                method="DELETE",
                path="/auth/keys/<segment:key_id>",
                view=self.revoke,
                service="auth",
                access=Visitors.SIGNED_IN,
                summary="Revoke an API key: one's own, or any for scope admin",
                answers={200: Content(_JSON, ref("Key"), "It opens nothing any more.")},
                errors=(KEY_NOT_FOUND, CATALOG_UNAVAILABLE),
            ),
        ]

    # -- logins and tickets

    async def login(self) -> Response:
        """A failed one leaves an audit row as well, so that guessing shows."""
        key = parse_fields(await read_body(), ["key"]).get("key")
        if not isinstance(key, str):
            raise invalid_field("key", "is required and must be a string")
        access = self.context.access
        principal = await self._recognise_key(key)
        if isinstance(principal, EdgeError):
            if principal.kind is not RATE_LIMITED:  # a row for each would undo the limit
                await access.records.append_audit(self._entry("login", None, principal.kind.code))
            raise principal
        seconds = self.context.parts.settings.login_hours * 3600
        given = await access.grants.give(GrantKind.LOGIN, principal, seconds)
        await access.records.append_audit(self._entry("login", principal, "done"))
        reply = json_reply(
            _show_principal(attrs.evolve(principal, via=Via.LOGIN, expires_at=given.expires_at))
            | {"csrf_token": csrf_token(given.text)}
        )
        left = (given.expires_at - self.context.parts.wall_ms()) // 1000
        reply.set_cookie(
            LOGIN_COOKIE,
            given.text,
            max_age=max(0, left),
            path="/",
            httponly=True,
            samesite="Strict",
            secure=client_of(request.scope).secure,
        )
        return reply

    async def _recognise_key(self, key: str) -> Principal | EdgeError:
        """Whose the key is, or why it is refused."""
        access = self.context.access
        try:
            with access.limits.attempt(client_of(request.scope).network, Bearer(key)):
                if parse_key(key) is None:  # a page logs in with a key, not with a JWT of somebody else
                    raise EdgeError(INVALID_KEY)
                return await access.authenticator.recognise(Bearer(key))
        except EdgeError as error:
            return error

    async def logout(self) -> Response:
        credential = find_credential(request.scope["headers"])
        if isinstance(credential, LoginCookie):
            await self.context.access.grants.end_login(credential.text)
        await self.context.access.records.append_audit(
            self._entry("logout", principal_of(request.scope), "done")
        )
        reply = json_reply({"done": True})
        reply.delete_cookie(LOGIN_COOKIE, path="/")
        return reply

    async def me(self) -> Response:
        shown = _show_principal(principal_of(request.scope))
        credential = find_credential(request.scope["headers"])
        if isinstance(credential, LoginCookie) and principal_of(request.scope).via is Via.LOGIN:
            shown["csrf_token"] = csrf_token(credential.text)
        return json_reply(shown)

    async def ticket(self) -> Response:
        seconds = self.context.parts.settings.ticket_seconds
        given = await self.context.access.grants.give(GrantKind.TICKET, principal_of(request.scope), seconds)
        left = (given.expires_at - self.context.parts.wall_ms()) // 1000
        return json_reply({"ticket": given.text, "expires_in": max(0, left)})

    # -- keys

    async def keys(self) -> Response:
        asker = principal_of(request.scope)
        owner = request.args.get("owner") if asker.may(Scope.ADMIN) else asker.user
        found = await self.context.access.records.keys()
        shown = [show_key(key) for key in found if owner is None or key.owner == owner]
        return json_reply({"items": shown})

    async def create(self) -> Response:
        wanted = _parse_key_request(parse_fields(await read_body(), _KEY_FIELDS))
        text, record = await create_key(
            self.context.access.records,
            wanted,
            self._entry("key.create", principal_of(request.scope), "done"),
            self.context.parts.wall_ms(),
        )
        await self.context.access.ring.load()
        return json_reply(show_key(record) | {"key": text}, 201)

    async def revoke(self, key_id: str) -> Response:
        asker = principal_of(request.scope)
        await self.context.access.ring.load()  # it may be another node's
        known = self.context.access.ring.get(key_id)
        if known is None or not (asker.may(Scope.ADMIN) or known.owner == asker.user):
            raise EdgeError(KEY_NOT_FOUND)
        record = await revoke_key(
            self.context.access.records,
            key_id,
            self._entry("key.revoke", asker, "done"),
            self.context.parts.wall_ms(),
        )
        await self.context.access.ring.load()
        return json_reply(show_key(record))

    def _entry(self, action: str, principal: Principal | None, outcome: str) -> AuditEntry:
        return about_request(
            request.scope, action, outcome, at=self.context.parts.wall_ms(), principal=principal
        )


def _show_principal(principal: Principal) -> dict[str, Any]:
    return {
        "user": principal.user,
        "scopes": sorted(principal.scopes),
        "via": principal.via.value,
        "key_id": principal.key_id,
        "expires_at": None if principal.expires_at is None else iso_from_ms(principal.expires_at),
    }


def _parse_key_request(data: Mapping[str, Any]) -> NewKey:
    """Raises EdgeError(invalid_body) that names the field and its limit."""
    name, owner = data.get("name"), data.get("owner", "local")
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME:
        raise invalid_field("name", f"must be a string of 1..{MAX_NAME} characters")
    if not isinstance(owner, str) or not 1 <= len(owner) <= MAX_OWNER:
        raise invalid_field("owner", f"must be a string of 1..{MAX_OWNER} characters")
    scopes, known = data.get("scopes"), [scope.value for scope in Scope]
    if not isinstance(scopes, list) or not scopes or any(scope not in known for scope in scopes):
        raise invalid_field("scopes", f"must be a list of some of {', '.join(known)}")
    days = data.get("expires_in_days")
    if days is not None and (type(days) not in (int, float) or not 0 < days <= MAX_DAYS):
        raise invalid_field("expires_in_days", f"must be a number over 0, at most {MAX_DAYS}")
    return NewKey(name, owner, frozenset(Scope(scope) for scope in scopes), days, _parse_quotas(data))


def _parse_quotas(data: Mapping[str, Any]) -> dict[str, int]:
    quotas = data.get("quotas", {})
    amounts = (
        {what: whole_in_json(amount) for what, amount in quotas.items()} if isinstance(quotas, dict) else None
    )
    found = {what: amount for what, amount in (amounts or {}).items() if amount is not None}
    if found != amounts or any(
        what not in set(UsageKind) or not 0 <= amount <= MAX_INTEGER for what, amount in found.items()
    ):
        raise invalid_field("quotas", f"must map some of {', '.join(UsageKind)} to whole numbers")
    return found
