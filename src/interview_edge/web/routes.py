"""What a resource says of a route: enough to serve it and to document it, in one place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs
from quart import Response

from interview_edge.errors import (
    CATALOG_UNAVAILABLE,
    INTERNAL,
    INVALID_SESSION_ID,
    SESSION_DELETED,
    STORAGE_UNAVAILABLE,
    ErrorKind,
)

View = Callable[..., Awaitable[Response]]

# Any route that touches a session can answer these.
SESSION_ERRORS: tuple[ErrorKind, ...] = (
    INVALID_SESSION_ID,
    SESSION_DELETED,
    CATALOG_UNAVAILABLE,
    STORAGE_UNAVAILABLE,
)


@attrs.frozen
class Parameter:
    """A query parameter or a header of a request, with its JSON schema."""

    name: str
    schema: Mapping[str, Any]
    description: str
    place: str = "query"


@attrs.frozen
class Content:
    """A body: its media type, its JSON schema (None for bytes), and what it is."""

    media_type: str
    schema: Mapping[str, Any] | None
    description: str


@attrs.frozen(kw_only=True)
class Route:
    """One method of one path. `path` is Quart's, with `<segment:name>` for a path parameter.

    `answers` are the successes by status; `errors` every kind that it can answer besides `internal`. A body
    that the route doesn't ask for is read and ignored up to `max_body` bytes.
    """

    method: str
    path: str
    view: View
    summary: str
    answers: Mapping[int, Content]
    errors: Sequence[ErrorKind] = ()
    parameters: Sequence[Parameter] = ()
    body: Content | None = None
    max_body: int = 64 * 1024

    @property
    def all_errors(self) -> tuple[ErrorKind, ...]:
        """Every kind that it can answer."""
        return (*self.errors, INTERNAL)
