"""The Quart-Trio application behind the dispatcher: the routes, and what holds for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge, RequestTimeout

from interview_edge.errors import (
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    INVALID_QUERY,
    METHOD_NOT_ALLOWED,
    ROUTE_NOT_FOUND,
    EdgeError,
)
from interview_edge.web.hypercorn import BodyBudget, BodyLimit
from interview_edge.web.messages import REQUEST_STACK
from interview_edge.web.object_paths import KeyConverter
from interview_edge.web.paths import SegmentConverter
from interview_edge.web.refusals import error_body, error_headers, family_of, known_error, refuse_http
from interview_edge.web.routes import Route

AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]

# Eight resolves of the largest size at once; a body's parsed form costs about as much again.
BODIES_TOTAL = 128 * 1024 * 1024
ROUTE = "interview_edge.route"  # in the scope: the dispatcher's match


def build_http_app(routes: Sequence[Route]) -> AsgiApp:
    """The routes as an ASGI application for `http` scopes that the dispatcher has matched and rewritten."""
    app = QuartTrio("interview_edge.web", static_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.config["MAX_CONTENT_LENGTH"] = None  # BodyLimit's, a limit for each route
    app.url_map.converters |= {"segment": SegmentConverter, "key": KeyConverter}
    app.url_map.merge_slashes = False
    for route in routes:
        app.add_url_rule(route.path, f"{route.method} {route.path}", route.view, methods=[route.method])
    app.register_error_handler(Exception, _answer_error)

    async def refuse(error: EdgeError, scope: Any, send: Any) -> None:
        await refuse_http(error, scope, send)

    bounded = BodyLimit(
        app=_untyped(app), limit_for=_body_limit, budget=BodyBudget(BODIES_TOTAL), refuse=refuse
    )

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        async with AsyncExitStack() as stack:
            await bounded({**scope, REQUEST_STACK: stack}, receive, send)

    return serve


def _untyped(app: QuartTrio) -> AsgiApp:
    """Quart types its scopes and events one by one; ASGI is dictionaries."""
    return app


def _body_limit(scope: Any) -> int:
    route: Route = scope[ROUTE]
    return route.max_body


async def _answer_error(error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return _answer_http_exception(error)
    return _refusal(known_error(error), {})


def _answer_http_exception(error: HTTPException) -> Response:
    """Quart's own refusals, in the words of our table."""
    match error:
        case MethodNotAllowed():
            allowed = ", ".join(sorted(error.valid_methods or ()))
            return _refusal(EdgeError(METHOD_NOT_ALLOWED), {"allow": allowed})
        case RequestEntityTooLarge():
            return _refusal(EdgeError(BODY_TOO_LARGE), {})
        case RequestTimeout():
            return _refusal(EdgeError(BODY_TOO_SLOW), {})
        case HTTPException(code=400):
            return _refusal(EdgeError(INVALID_QUERY), {})
        case _:
            return _refusal(EdgeError(ROUTE_NOT_FOUND), {})


def _refusal(error: EdgeError, headers: dict[str, str]) -> Response:
    body = error_body(error, family_of(request.path))
    return Response(body, error.kind.status, error_headers(error) | headers)
