"""What every backend checks before any I/O: keys, metadata, ranges, and which keys a prefix can have."""

from __future__ import annotations

import re
from collections.abc import Mapping

from interview_edge.backends.protocol import BackendRefused

MAX_KEY_BYTES = 1024  # S3's limit, https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html

_FORBIDDEN = re.compile(r"[\x00-\x1f\\\x7f]")
_METADATA_NAME = re.compile(r"[a-z0-9_-]+")
# An S3 client sends these as headers of their own, not as metadata.
_HEADERS = frozenset(
    {"cache-control", "content-disposition", "content-encoding", "content-language", "content-type"}
)


def validate_key(key: str) -> None:
    """Raise `BackendRefused` unless `key` follows the rules in StorageBackend's docstring."""
    if (problem := _problem(key)) is not None:
        # Cut: a hostile key may be megabytes long, and this text goes to logs.
        raise BackendRefused(f"invalid key {key[:200]!r}: {problem}")


def is_valid_key(key: str) -> bool:
    """Whether `validate_key` would let `key` pass."""
    return _problem(key) is None


def _problem(key: str) -> str | None:
    try:
        encoded = key.encode()
    except UnicodeEncodeError:
        return "not encodable as UTF-8"
    if len(encoded) > MAX_KEY_BYTES:
        return f"over {MAX_KEY_BYTES} bytes"
    if _FORBIDDEN.search(key) is not None:
        return "has a control character or a backslash"
    for segment in key.split("/"):
        if segment in ("", ".", ".."):
            return "empty, '.' and '..' segments (so also a '/' at either end) are not allowed"
    return None


def folder_of(prefix: str) -> str | None:
    """The deepest folder that holds every key with this prefix: '' or 'a/b/'; None where none can."""
    folder = prefix[: prefix.rfind("/") + 1]
    if folder and not is_valid_key(folder[:-1]):
        return None
    return folder


def normal_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """The metadata with names in lower case. Raises `BackendRefused` for a name that isn't allowed."""
    normal = {name.lower(): value for name, value in (metadata or {}).items()}
    for name in normal:
        if _METADATA_NAME.fullmatch(name) is None or name in _HEADERS:
            raise BackendRefused(f"invalid metadata name {name[:200]!r}")
    return normal


def check_range(start: int, length: int) -> None:
    """Raise ValueError for a negative start or length: the caller's bug, not the store's answer."""
    if start < 0 or length < 0:
        raise ValueError(f"start and length must not be negative, got {start} and {length}")


def split(key: str) -> tuple[str, str]:
    """'a/b/c' as ('a/b/', 'c')."""
    at = key.rfind("/") + 1
    return key[:at], key[at:]
