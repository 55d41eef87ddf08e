"""The OpenAPI 3.1 document, made of the routes that are served: what isn't there isn't documented, and vice
versa.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from interview_edge.access.credentials import LOGIN_COOKIE
from interview_edge.access.principal import Scope
from interview_edge.errors import ErrorKind
from interview_edge.web.access_schemas import ACCESS_SCHEMAS
from interview_edge.web.refusals import Family, family_of
from interview_edge.web.routes import Content, Parameter, Route, Visitors
from interview_edge.web.schemas import SCHEMAS, STREAM, ref
from interview_edge.web.storage_schemas import STORAGE_SCHEMAS

_PARAMETER = re.compile(r"<(?:segment|key):([a-z_]+)>")
_ERRORS = {Family.INGEST: "Error", Family.API: "ApiError", Family.OPENAI: "OpenAiError"}
_SECURITY: Mapping[str, Mapping[str, str]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a JWT."},
    "api_key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "login": {"type": "apiKey", "in": "cookie", "name": LOGIN_COOKIE},
}
_PATH_SCHEMAS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "session_id": (
        {"type": "string", "minLength": 1, "maxLength": 128},
        "any Unicode, percent-encoded (a `/` in it as `%2F`)",
    ),
    # One name for both, since to OpenAPI two paths that differ in a name only are the same path.
    "user_or_path": (
        {"type": "string", "minLength": 1},
        "GET: whose files, percent-encoded; DELETE: a file's key, as `path` of a download",
    ),
    "path": (
        {"type": "string", "minLength": 1},
        "a file's key, each of its segments percent-encoded once more (`%` as `%25`)",
    ),
    "key_id": ({"type": "string", "minLength": 1}, "the public part of an API key"),
    "stream": (STREAM, "an audio channel of the session"),
    "seq": ({"type": "integer", "minimum": 1, "maximum": 2**31 - 1}, "the second's number, from 1"),
    "folder": ({"type": "string", "minLength": 1}, "a folder of the pages"),
    "name": ({"type": "string", "minLength": 1}, "a file in it"),
}


def make_openapi(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """The document of these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route, operation_id in zip(routes, _operation_ids(routes), strict=True):
        path = _PARAMETER.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, operation_id)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "interview-edge",
            "version": version,
            "description": (
                "Live interview audio in, every acknowledged second kept, the finished record out. "
                "Audio comes in by WebSocket, see /asyncapi.json. Errors are `{detail, code}`, under "
                "/api `{success, error, code}`, under /auth, /v1/usage and /v1/realtime as OpenAI's "
                "are, with fields of their own where that helps."
            ),
        },
        "paths": paths,
        "components": {
            "schemas": {**SCHEMAS, **ACCESS_SCHEMAS, **STORAGE_SCHEMAS},
            "securitySchemes": _SECURITY,
        },
    }


def _operation_ids(routes: Sequence[Route]) -> list[str]:
    """An id for each, by its words; with its parameters' names where another before it has those words."""
    found: dict[str, None] = {}  # in order
    for route in routes:
        name = f"{route.method.lower()}_{_words(route.path)}"
        if name in found:
            name = "_".join((name, "by", *_PARAMETER.findall(route.path)))
        found[name] = None
    return list(found)


def _operation(route: Route, operation_id: str) -> dict[str, Any]:
    answers: dict[str, Any] = {str(status): _answer(content) for status, content in route.answers.items()}
    family = family_of(route.path)
    answers |= {
        str(status): _refusals(kinds, family, _scopes(route))
        for status, kinds in _by_status(route.all_errors).items()
    }
    shown: dict[str, Any] = {
        "summary": route.summary,
        "operationId": operation_id,
        "parameters": [
            *(_path_parameter(name) for name in _PARAMETER.findall(route.path)),
            *(_parameter(parameter) for parameter in route.parameters),
        ],
        "responses": dict(sorted(answers.items())),
    }
    if route.access is not Visitors.ANYBODY:
        shown["security"] = [{name: []} for name in _SECURITY]
    if route.body is not None:
        shown["requestBody"] = _answer(route.body) | {"required": not route.body.optional}
    return shown


def _words(path: str) -> str:
    return "_".join(re.findall(r"[a-z0-9]+", _PARAMETER.sub("", path).lower())) or "root"


def _answer(content: Content) -> dict[str, Any]:
    types = {content.media_type: content.schema, **content.others}
    shown = {name: {} if schema is None else {"schema": dict(schema)} for name, schema in types.items()}
    return {"description": content.description, "content": shown}


def _by_status(kinds: Iterable[ErrorKind]) -> dict[int, list[ErrorKind]]:
    found: dict[int, list[ErrorKind]] = {}
    for kind in dict.fromkeys(kinds):
        found.setdefault(kind.status, []).append(kind)
    return found


def _scopes(route: Route) -> str:
    """As the door names what a key lacks; a route for anybody who is signed in asks only for `admin`."""
    return Scope.ADMIN.value if isinstance(route.access, Visitors) else " or ".join(route.access)


def _refusals(kinds: Sequence[ErrorKind], family: Family, scopes: str) -> dict[str, Any]:
    codes = {"type": "object", "properties": {"code": {"enum": [kind.code for kind in kinds]}}}
    if family is Family.OPENAI:
        codes = {"type": "object", "properties": {"error": codes}}
    return {
        "description": "; ".join(
            f"`{kind.code}`: {kind.detail.replace('{scope}', scopes)}" for kind in kinds
        ),
        "content": {"application/json": {"schema": {"allOf": [ref(_ERRORS[family]), codes]}}},
    }


def _path_parameter(name: str) -> dict[str, Any]:
    schema, text = _PATH_SCHEMAS[name]
    return {"name": name, "in": "path", "required": True, "description": text, "schema": schema}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }
