"""What a request is about, on its log lines and its span: the route, the session, the stream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from interview_edge.tracing import Span
from interview_edge.web.route_table import Match

SPAN = "interview_edge.span"  # in the scope, set by the dispatcher

MAX_SHOWN = 128  # characters: a sound id is no longer


@contextmanager
def naming(span: Span, match: Match, method: str) -> Iterator[None]:
    """The session on every log line of the block; what there is to tell, on the span."""
    named = {
        name: str(match.values[name])[:MAX_SHOWN] for name in ("session_id", "stream") if name in match.values
    }
    span.name(f"{method} {match.route.path}")
    span.note({"http.request.method": method, "http.route": match.route.path})
    span.note({f"interview_edge.{name}": value for name, value in named.items()})
    with structlog.contextvars.bound_contextvars(**named):
        yield


def note_status(span: Span, status: int | None) -> None:
    """How it ended; without an answer, or by our fault, it failed."""
    if status is not None:
        span.note({"http.response.status_code": status})
    if status is None or status >= 500:
        span.fail()
