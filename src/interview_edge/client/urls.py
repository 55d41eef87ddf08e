"""URLs of the API, with session ids percent-encoded so that every id comes back as it was."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from interview_edge.core.models import DEFAULT_STREAM


def session_segment(session_id: str) -> str:
    """The id as one path segment: `a/b` is `a%2Fb`; `.` and `..` would be resolved if bare."""
    if session_id in (".", ".."):
        return session_id.replace(".", "%2E")
    return quote(session_id, safe="")


def ingest_url(base_url: str, session_id: str, stream: str = DEFAULT_STREAM) -> str:
    """The ws:// or wss:// URL of a stream's socket, for a base URL of either family. Raises ValueError."""
    parts = urlsplit(base_url)
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.netloc:
        raise ValueError(f"not a base URL: {base_url!r} (want http://host:port)")
    prefix = parts.path.rstrip("/")
    path = f"{prefix}/v1/audio/ws/{session_segment(session_id)}"
    if stream != DEFAULT_STREAM:
        path += f"/{stream}"
    return f"{scheme}://{parts.netloc}{path}"


def with_key(headers: Mapping[str, str] | None, api_key: str | None) -> dict[str, str]:
    """Request headers with the credential among them, where there is one."""
    return dict(headers or {}) | ({} if api_key is None else {"authorization": f"Bearer {api_key}"})
