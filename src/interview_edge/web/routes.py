"""What a resource says of a route: enough to serve it and to document it, in one place."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs
from quart import Response

from interview_edge.access.principal import Scope
from interview_edge.errors import (
    CATALOG_UNAVAILABLE,
    CSRF_REFUSED,
    INSUFFICIENT_SCOPE,
    INTERNAL,
    INVALID_KEY,
    INVALID_SESSION_ID,
    JWKS_UNAVAILABLE,
    LOCAL_ONLY,
    MISSING_AUTH,
    RATE_LIMITED,
    SERVICE_UNAVAILABLE,
    SESSION_DELETED,
    SESSION_NOT_FOUND,
    STORAGE_UNAVAILABLE,
    ErrorKind,
)


class Visitors(enum.Enum):
    """Routes that ask for no scope."""

    ANYBODY = "anybody"  # no key at all; who shows one is recognised all the same
    SIGNED_IN = "signed in"  # any valid credential


# The scopes of which one must be there, or a kind of visitor.
Access = tuple[Scope, ...] | Visitors

View = Callable[..., Awaitable[Response]]

# The action of an audit row; or what names it, by the ASGI scope.
Audited = str | Callable[[Mapping[str, Any]], str]

NODE = "node"  # the service of routes that every node has

# Any request can be answered these, whatever it asks for.
ANSWERED_AT_THE_DOOR: tuple[ErrorKind, ...] = (
    INVALID_KEY,
    RATE_LIMITED,
    JWKS_UNAVAILABLE,
    CATALOG_UNAVAILABLE,
)

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
    """A body: its media type, its JSON schema (None for bytes), and what it is; `others` are the media types
    that it may have instead. A request may come without an `optional` one.
    """

    media_type: str
    schema: Mapping[str, Any] | None
    description: str
    others: Mapping[str, Mapping[str, Any] | None] = attrs.field(factory=dict)
    optional: bool = False


@attrs.frozen(kw_only=True)
class Route:
    """One method of one path. `path` is Quart's, with `<segment:name>` for a path parameter.

    `answers` are the successes by status; `errors` every kind that it can answer besides `internal`. A body
    that the route doesn't ask for is read and ignored up to `max_body` bytes. `access` says who may use it:
    the door (door.py) holds it. Each use leaves an audit row with the action `audited`, where there is one
    (audit_trail.py). `service` is the part of the node that it belongs to: where that isn't among
    `settings.services`, the route answers 503; NODE is always there.
    """

    method: str
    path: str
    view: View
    summary: str
    answers: Mapping[int, Content]
    access: Access
    service: str = "ingest"
    errors: Sequence[ErrorKind] = ()
    parameters: Sequence[Parameter] = ()
    body: Content | None = None
    max_body: int = 64 * 1024
    from_anywhere: bool = False  # answered also where, without keys, only this machine is served
    audited: Audited | None = None

    @property
    def all_errors(self) -> tuple[ErrorKind, ...]:
        """Every kind that it can answer: its own, the door's, and a fault."""
        return (*self.errors, *self._door_errors, INTERNAL)

    @property
    def _door_errors(self) -> tuple[ErrorKind, ...]:
        asking = () if self.access is Visitors.ANYBODY else (MISSING_AUTH,)
        scoped = () if isinstance(self.access, Visitors) else (INSUFFICIENT_SCOPE,)
        owned = (SESSION_NOT_FOUND,) if "<segment:session_id>" in self.path else ()
        local = () if self.from_anywhere else (LOCAL_ONLY,)
        changing = () if self.method in ("GET", "HEAD", "OPTIONS") else (CSRF_REFUSED,)
        parted = () if self.service == NODE else (SERVICE_UNAVAILABLE,)
        return (*ANSWERED_AT_THE_DOOR, *asking, *scoped, *owned, *local, *changing, *parted)
