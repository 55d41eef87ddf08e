"""Requests read and replies made: what every resource needs of Quart."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from typing import Any

import msgspec
from quart import Request, Response, request

from interview_edge.core.near_names import MAX_MISTYPED, suggest
from interview_edge.errors import BODY_NOT_JSON, INVALID_BODY, INVALID_QUERY, EdgeError
from interview_edge.web.refusals import COMMON_HEADERS
from interview_edge.web.schemas import MAX_INTEGER

MAX_DEPTH = 100  # of a body's JSON: whatever takes it on (another encoder, the catalog) recurses over it


REQUEST_STACK = "interview_edge.request_stack"  # in the scope


def held_by_request() -> AsyncExitStack:
    """What is entered here ends with the request, however that ends: also where no answer was sent."""
    scope: Mapping[str, Any] = request.scope
    stack: AsyncExitStack = scope[REQUEST_STACK]  # set in http_app.py
    return stack


async def read_body() -> bytes:
    """The request's body, whole: BodyLimit has bounded it."""
    body = await request.get_data(cache=False, as_text=False)
    return body.encode() if isinstance(body, str) else body


def json_reply(
    data: Any, status: int = 200, headers: Mapping[str, str] | None = None, *, encoded: bool = False
) -> Response:
    """`data` as JSON in UTF-8; `encoded` bytes go out as they are."""
    body = data if encoded else msgspec.json.encode(data)
    shown = {"content-type": "application/json; charset=utf-8"} | COMMON_HEADERS | dict(headers or {})
    return Response(body, status, shown)


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a request body.

    Raises EdgeError: body_not_json (also for invalid UTF-8, lone surrogates, numbers that no float holds and
    nesting over 100), invalid_body for JSON of another kind.
    """
    try:
        data = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:  # DecodeError and UnicodeDecodeError are ValueErrors
        raise EdgeError(BODY_NOT_JSON) from error
    if not isinstance(data, dict):
        raise EdgeError(INVALID_BODY, "request body must be an object", fields={"field": "body"})
    if _is_deep(data):
        raise EdgeError(BODY_NOT_JSON)
    return data


def parse_fields(body: bytes, known: Collection[str]) -> dict[str, Any]:
    """The JSON object in a request body of ours, in which an unknown field is a mistake: what it was meant
    to say would go unsaid, `dryrun` delete for good.

    Raises EdgeError as parse_object; invalid_body that names the first field that isn't `known`, and the one
    that it may have been meant to be.
    """
    data = parse_object(body)
    for name in data:
        if name not in known:
            shown = name if len(name) <= MAX_MISTYPED else f"{name[:MAX_MISTYPED]}..."
            raise invalid_field(shown, f"is no field of this body{suggest(name, known)}")
    return data


def _is_deep(data: dict[str, Any]) -> bool:
    """Whether containers nest over MAX_DEPTH. A level at a time, since recursion is what this guards
    against.
    """
    level: list[Any] = [data]
    for _ in range(MAX_DEPTH):
        children = (parent.values() if isinstance(parent, dict) else parent for parent in level)
        level = [child for group in children for child in group if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def invalid_field(field: str, rule: str) -> EdgeError:
    """A field of the body breaks a rule; the text names both."""
    return EdgeError(INVALID_BODY, f"{field} {rule}", fields={"field": field})


def whole_in_json(value: object) -> int | None:
    """The whole number that a body's value is, as JSON Schema has it: 5.0 is one, true isn't. None for any
    other.
    """
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def whole_number(request: Request, name: str, default: int, low: int, high: int = MAX_INTEGER) -> int:
    """The query parameter as an integer of low..high. Raises EdgeError(invalid_query)."""
    raw = request.args.get(name)
    return default if raw is None else parse_whole_number(raw, name, low, high)


def parse_whole_number(raw: str, name: str, low: int, high: int = MAX_INTEGER) -> int:
    """`raw` as an integer of low..high. Raises EdgeError(invalid_query), naming parameter and limits."""
    # int() alone takes `1_0`, ` 1`, `+1` and other scripts' digits.
    if re.fullmatch(r"[0-9]{1,16}", raw) and low <= int(raw) <= high:
        return int(raw)
    raise EdgeError(INVALID_QUERY, f"{name} must be a whole number, {low}..{high}", fields={"field": name})
