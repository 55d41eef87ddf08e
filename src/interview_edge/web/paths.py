"""Paths as the client sent them: split first, percent-decoded segment by segment.

ASGI's `path` is decoded as a whole, so `a%2Fb` has become two segments there. Quart gets the segments encoded
again, so that its `/` are separators only, and decodes each with `SegmentConverter`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

from werkzeug.routing import BaseConverter

from interview_edge.errors import INVALID_PATH, EdgeError

# What comes before the path in a target of absolute form, which every server has to take (RFC 9112, 3.2.2).
_ORIGIN = re.compile(rb"https?://[^/?]*", re.IGNORECASE)
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def split_path(scope: Mapping[str, Any]) -> list[str]:
    """The decoded segments of an ASGI scope's path, below its `root_path`: `/v1/a%2Fb` is `["v1", "a/b"]`.

    Raises EdgeError(invalid_path) for a broken escape or bytes that are no UTF-8. A server that gives no
    `raw_path` (it is optional) has decoded already: there an encoded `/` can't be told from a separator.
    """
    raw: bytes = scope.get("raw_path") or quote(scope["path"], safe="/").encode()
    if origin := _ORIGIN.match(raw):
        raw = raw[origin.end() :]
    raw = raw.partition(b"?")[0]
    root = quote(scope.get("root_path", ""), safe="/").encode()
    if root and raw.startswith(root + b"/"):
        raw = raw[len(root) :]
    if _BROKEN_ESCAPE.search(raw):
        raise EdgeError(INVALID_PATH)
    try:
        return [unquote_to_bytes(segment).decode("utf-8") for segment in raw.split(b"/")[1:]]
    except UnicodeDecodeError as error:
        raise EdgeError(INVALID_PATH) from error


def join_path(segments: Sequence[str]) -> str:
    """The path with each segment encoded on its own: what Quart matches its routes against."""
    return "".join("/" + quote(segment, safe="") for segment in segments)


class SegmentConverter(BaseConverter):
    """One segment of `join_path`, decoded; an empty one too, so that its view can say what is wrong with
    it.
    """

    regex = "[^/]*"

    def to_python(self, value: str) -> str:
        return unquote(value)

    def to_url(self, value: str) -> str:
        return quote(value, safe="")
