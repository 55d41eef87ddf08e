"""Object keys in URLs (contract storage.md, Paths): which text is one, and the route converter that takes its
slashes.

A key holds percent signs of its own (`sessions/a%2Fb/...`), so in a URL each of its segments is encoded once
more; the whole key in one segment (`sessions%2Fplain%2F...`) is the same key.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from werkzeug.routing import BaseConverter

from interview_edge.backends.keys import is_valid_key
from interview_edge.core.keys import parse_audio_key
from interview_edge.errors import PATH_REFUSED, EdgeError

_PREFIX = "sessions/"
_RESULT = "result.json"


class KeyConverter(BaseConverter):
    """The rest of a path, its slashes included, each segment of `join_path` decoded."""

    part_isolating = False
    regex = ".*"

    def to_python(self, value: str) -> str:
        return unquote(value)

    def to_url(self, value: str) -> str:
        return quote(value, safe="/")


def check_object_key(path: str) -> str:
    """The key, where it may be one of this store's. Raises EdgeError(path_refused) for anything else: another
    folder, a way out of it, what no store takes.
    """
    known = path.startswith(_PREFIX) and (parse_audio_key(path) is not None or is_result(path))
    if not known or not is_valid_key(path):
        raise EdgeError(PATH_REFUSED)
    return path


def component_of(key: str) -> str:
    """The session's part of a checked key."""
    return key.split("/", 2)[1]


def is_result(key: str) -> bool:
    """Whether a checked key is that of a result.json."""
    return key.count("/") == 2 and key.endswith(f"/{_RESULT}")


def is_conflict(key: str) -> bool:
    """Whether it is that of other bytes found late for a held second."""
    named = parse_audio_key(key)
    return named is not None and named.kind == "conflicts"
