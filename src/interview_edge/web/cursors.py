"""Cursors of paged answers: opaque to clients, a place in an order to us."""

from __future__ import annotations

import base64
from typing import Annotated, Any, TypeVar

import msgspec

from interview_edge.errors import INVALID_QUERY, EdgeError

T = TypeVar("T")

# A whole number of a place: what the catalog's columns hold. Any larger is no cursor of ours.
Whole = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


def encode_cursor(place: Any) -> str:
    """The place of a page's last item, as text for a URL."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def decode_cursor(raw: str | None, kind: type[T]) -> T | None:
    """The place that `encode_cursor` wrote, None without one. Raises EdgeError(invalid_query)."""
    if raw is None:
        return None
    try:
        decoded = base64.b64decode(raw + "=" * (-len(raw) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(decoded, type=kind)
    except ValueError as error:  # binascii's, msgspec's and the codec's errors all are
        raise EdgeError(
            INVALID_QUERY, "cursor must be one that a page gave", fields={"field": "cursor"}
        ) from error
