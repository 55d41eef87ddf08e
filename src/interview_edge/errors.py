"""The one table of errors: code, meaning, HTTP status, WebSocket close code, whose fault.

Everything that is refused or fails in a way a caller can see is an `EdgeError` of one of these kinds. It is
turned into an HTTP answer or a frame at the boundary only (web/, client/).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import attrs


class Fault(enum.Enum):
    """Who has to change something before a retry can succeed."""

    CLIENT = "client"
    SERVER = "server"
    UPSTREAM = "upstream"


@attrs.frozen
class ErrorKind:
    """One row of the table. `close` is None where the socket stays open for this error."""

    code: str
    detail: str
    status: int
    close: int | None
    fault: Fault


class EdgeError(Exception):
    """An error of a known kind. `detail` defaults to the kind's; `fields` go into the answer's body,
    `headers` (lower-case names) beside it, and `Retry-After` where `retry_after` (seconds) is given.
    """

    def __init__(
        self,
        kind: ErrorKind,
        detail: str | None = None,
        *,
        fields: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.kind = kind
        self.detail = kind.detail if detail is None else detail
        self.fields: Mapping[str, Any] = {} if fields is None else fields
        self.headers: Mapping[str, str] = {} if headers is None else headers
        self.retry_after = retry_after
        super().__init__(f"{kind.code}: {self.detail}")


_table: dict[str, ErrorKind] = {}


def _kind(code: str, detail: str, status: int, close: int | None, fault: Fault) -> ErrorKind:
    if code in _table:
        raise ValueError(f"error code {code!r} stands twice in the table")
    _table[code] = kind = ErrorKind(code, detail, status, close, fault)
    return kind


# Frames of the chunk dialect, in the order in which they are checked (contract ingest.md).
FRAME_NOT_TEXT = _kind("frame_not_text", "websocket frame must be text JSON", 400, None, Fault.CLIENT)
FRAME_NOT_JSON = _kind("frame_not_json", "websocket frame is not valid JSON", 400, None, Fault.CLIENT)
FRAME_NOT_OBJECT = _kind("frame_not_object", "websocket frame must be an object", 400, None, Fault.CLIENT)
UNSUPPORTED_TYPE = _kind("unsupported_type", "unsupported message type: {type}", 400, None, Fault.CLIENT)
INVALID_HEADER = _kind(
    "invalid_header", "the header of a binary chunk frame is invalid", 400, None, Fault.CLIENT
)
MEETING_REQUIRED = _kind("meeting_required", "frame.meeting_id is required", 400, None, Fault.CLIENT)
INVALID_SEQ = _kind("invalid_seq", "frame.seq must be a positive integer", 400, None, Fault.CLIENT)
INVALID_TIMESTAMP = _kind(
    "invalid_timestamp", "frame.timestamp_ms must be a positive number", 400, None, Fault.CLIENT
)
INVALID_SAMPLE_RATE = _kind("invalid_sample_rate", "frame.sample_rate must be 16000", 400, None, Fault.CLIENT)
INVALID_CHANNELS = _kind("invalid_channels", "frame.channels must be 1", 400, None, Fault.CLIENT)
INVALID_FORMAT = _kind("invalid_format", "frame.format must be pcm_s16le", 400, None, Fault.CLIENT)
CONTENT_REQUIRED = _kind("content_required", "frame.content_b64 is required", 400, None, Fault.CLIENT)
MEETING_MISMATCH = _kind("meeting_mismatch", "meeting_id mismatch: expected {id}", 400, None, Fault.CLIENT)
INVALID_FIELD = _kind("invalid_field", "a field of the frame is invalid", 400, None, Fault.CLIENT)
INVALID_BASE64 = _kind("invalid_base64", "frame.content_b64 is not valid base64", 400, None, Fault.CLIENT)
CHUNK_LENGTH = _kind("chunk_length", "chunk byte length must be 32000, got {n}", 400, None, Fault.CLIENT)
SEQ_TOO_FAR = _kind(
    "seq_too_far", "frame.seq must be at most 86400 ahead of last_seq", 400, None, Fault.CLIENT
)
CHUNK_CONFLICT = _kind(
    "chunk_conflict", "this seq is held with other bytes; the stored bytes stand", 409, None, Fault.CLIENT
)
STREAM_ENDED = _kind("stream_ended", "the stream ended with an earlier final chunk", 409, None, Fault.CLIENT)
FINAL_BELOW_HELD = _kind(
    "final_below_held",
    "a final chunk must not come below a seq that is already held",
    409,
    None,
    Fault.CLIENT,
)
STREAM_NOT_STARTED = _kind(
    "stream_not_started", "no recording is under way: send audio_stream_start", 409, None, Fault.CLIENT
)

# Sockets and sessions.
IN_FLIGHT_FULL = _kind("in_flight_full", "too many unacked chunks for too long", 503, 1013, Fault.CLIENT)
STORAGE_UNAVAILABLE = _kind(
    "storage_unavailable", "storage is unavailable; keep what is not acked and retry", 503, 1013, Fault.SERVER
)
FRAME_TOO_BIG = _kind("frame_too_big", "frame is over the limit", 413, 1009, Fault.CLIENT)
SLOW_READER = _kind("slow_reader", "the peer does not read what it is sent", 408, 1013, Fault.CLIENT)
SILENT_PEER = _kind("silent_peer", "no frame and no pong for too long", 408, 1001, Fault.CLIENT)
DRAINING = _kind("draining", "the server is shutting down; reconnect", 503, 1012, Fault.SERVER)
INTERNAL = _kind("internal", "internal error", 500, 1011, Fault.SERVER)
SESSION_DELETED = _kind("session_deleted", "the session was deleted", 410, 4410, Fault.CLIENT)
RECORDED_ELSEWHERE = _kind(
    "recorded_elsewhere", "another socket records into this session now", 409, 1008, Fault.CLIENT
)
SESSION_LIVE = _kind("session_live", "the session has an open socket", 409, None, Fault.CLIENT)
NODE_FULL = _kind("node_full", "the node is short of memory; retry", 503, 1013, Fault.SERVER)
SESSION_LIMIT = _kind("session_limit", "too many live sessions on this node", 503, 1013, Fault.SERVER)
STREAM_LIMIT = _kind("stream_limit", "a session has at most 4 streams", 409, 1008, Fault.CLIENT)
CATALOG_UNAVAILABLE = _kind("catalog_unavailable", "the catalog is unavailable", 503, 1013, Fault.SERVER)

# HTTP routes.
INVALID_SESSION_ID = _kind("invalid_session_id", "session_id must be 1..128 chars", 400, 1008, Fault.CLIENT)
INVALID_STREAM = _kind("invalid_stream", "stream must match [a-z0-9_-]{1,32}", 400, 1008, Fault.CLIENT)
INVALID_PATH = _kind("invalid_path", "the path is not valid percent-encoded UTF-8", 400, 1008, Fault.CLIENT)
INVALID_QUERY = _kind("invalid_query", "a query parameter is invalid", 400, None, Fault.CLIENT)
BODY_NOT_JSON = _kind("body_not_json", "request body must be valid JSON", 400, None, Fault.CLIENT)
BODY_TOO_LARGE = _kind("body_too_large", "request body is over the limit", 413, None, Fault.CLIENT)
BODY_TOO_SLOW = _kind("body_too_slow", "request body came too slowly", 408, None, Fault.CLIENT)
BODIES_BUSY = _kind("bodies_busy", "too many request bodies are under way; retry", 503, None, Fault.SERVER)
INVALID_BODY = _kind(
    "invalid_body", "a field of the request body is missing or invalid", 400, None, Fault.CLIENT
)
AUDIO_REQUIRED = _kind(
    "audio_required", "audio.content_b64 and audio.format are required", 400, None, Fault.CLIENT
)
ROUTE_NOT_FOUND = _kind("route_not_found", "route not found", 404, None, Fault.CLIENT)
PAGE_FILE_NOT_FOUND = _kind("page_file_not_found", "the pages have no such file", 404, None, Fault.CLIENT)
METHOD_NOT_ALLOWED = _kind("method_not_allowed", "method not allowed", 405, None, Fault.CLIENT)
UPGRADE_REQUIRED = _kind("upgrade_required", "websocket upgrade required", 426, None, Fault.CLIENT)
NOT_READY = _kind("not_ready", "the node is not ready", 503, None, Fault.SERVER)
SESSION_NOT_FOUND = _kind("session_not_found", "session not found", 404, 1008, Fault.CLIENT)
NOT_FINALIZED = _kind("not_finalized", "the session is not finalized", 404, None, Fault.CLIENT)
CHUNK_NOT_FOUND = _kind("chunk_not_found", "no chunk is held at this seq", 404, None, Fault.CLIENT)
CHUNK_EXPIRED = _kind("chunk_expired", "the audio expired and was deleted", 410, None, Fault.CLIENT)
STREAM_NOT_FOUND = _kind("stream_not_found", "the session has no such stream", 404, None, Fault.CLIENT)
FILE_NOT_FOUND = _kind("file_not_found", "no such file", 404, None, Fault.CLIENT)
FILE_STAYS = _kind("file_stays", "result.json is deleted with its session", 409, None, Fault.CLIENT)
PATH_REFUSED = _kind(
    "path_refused", "a path is the key of a file: sessions/{id}/...", 403, None, Fault.CLIENT
)
AUDIO_TOO_LARGE = _kind(
    "audio_too_large", "the audio is over 4 GiB; read it chunk by chunk", 413, None, Fault.CLIENT
)
ZIP_TOO_LARGE = _kind(
    "zip_too_large", "one ZIP holds at most 50,000 files; ask for some by paths", 413, None, Fault.CLIENT
)
DOWNLOADS_BUSY = _kind("downloads_busy", "too many downloads are under way; retry", 503, None, Fault.SERVER)
RANGE_NOT_SATISFIABLE = _kind(
    "range_not_satisfiable", "the range lies outside the audio", 416, None, Fault.CLIENT
)
WINDOW_EMPTY = _kind("window_empty", "the live window holds no audio", 409, None, Fault.CLIENT)
IDEMPOTENCY_MISMATCH = _kind(
    "idempotency_mismatch", "the idempotency key was used with another body", 422, None, Fault.CLIENT
)
RESOLVE_BUSY = _kind(
    "resolve_busy", "too many resolves are waiting for this session", 503, None, Fault.SERVER
)
FINALIZE_TIMEOUT = _kind(
    "finalize_timeout",
    "not everything reached the object store in time; nothing was written",
    503,
    None,
    Fault.SERVER,
)
INFERENCE_UNSET = _kind(
    "inference_unset",
    "nothing tells speakers apart here: interview-edge models fetch, or set INFERENCE_BASE_URL",
    503,
    None,
    Fault.SERVER,
)
INFERENCE_FAILED = _kind("inference_failed", "inference request failed", 502, None, Fault.UPSTREAM)
INFERENCE_TIMEOUT = _kind("inference_timeout", "inference request failed: timeout", 504, None, Fault.UPSTREAM)
INFERENCE_STATUS = _kind(
    "inference_status", "inference backend returned non-success status", 502, None, Fault.UPSTREAM
)
INFERENCE_NOT_JSON = _kind(
    "inference_not_json", "inference backend returned non-JSON response", 502, None, Fault.UPSTREAM
)
INFERENCE_SHAPE = _kind(
    "inference_shape", "inference backend returned an answer of the wrong shape", 502, None, Fault.UPSTREAM
)

# The speaker inference API that we serve (contract inference.md).
AUDIO_UNDECODABLE = _kind("audio_undecodable", "the audio can't be decoded", 400, None, Fault.CLIENT)
CLIP_TOO_LARGE = _kind("clip_too_large", "audio must be at most 5 MiB", 413, None, Fault.CLIENT)
CLIP_TOO_LONG = _kind("clip_too_long", "audio must be at most 30 s long", 422, None, Fault.CLIENT)
NO_SPEECH = _kind("no_speech", "there is no speech in the audio", 422, None, Fault.CLIENT)
UNPROCESSABLE = _kind("unprocessable", "the request breaks the schema", 422, None, Fault.CLIENT)
SPEAKERS_BUSY = _kind(
    "speakers_busy", "too many requests wait for the speaker model; retry", 429, None, Fault.SERVER
)
SPEAKER_MODEL_FAILED = _kind(
    "speaker_model_failed", "the speaker model can't be used", 500, None, Fault.SERVER
)
DIARIZE_UNSUPPORTED = _kind(
    "diarize_unsupported", "diarization isn't offered here; use /speaker/resolve", 501, None, Fault.SERVER
)

# Who may do what, and how much (contract gateway.md, Auth). Why a credential is refused is never said.
MISSING_AUTH = _kind("missing_auth", "Authentication required", 401, 4401, Fault.CLIENT)
INVALID_KEY = _kind("invalid_key", "Authentication required", 401, 4401, Fault.CLIENT)
INVALID_TICKET = _kind(
    "invalid_ticket", "the ticket is unknown, used or expired; ask for a new one", 401, 4401, Fault.CLIENT
)
AUTH_TIMEOUT = _kind(
    "auth_timeout", "the first frame with the credential did not come in time", 401, 4401, Fault.CLIENT
)
JWKS_UNAVAILABLE = _kind(
    "jwks_unavailable", "the keys that sign JWTs can't be fetched now; retry", 503, 1013, Fault.UPSTREAM
)
INSUFFICIENT_SCOPE = _kind("insufficient_scope", "this needs the scope {scope}", 403, 4403, Fault.CLIENT)
CSRF_REFUSED = _kind(
    "csrf_refused",
    "a request with the session cookie must come from this site, with the x-csrf-token of GET /auth/me",
    403,
    4403,
    Fault.CLIENT,
)
ORIGIN_REFUSED = _kind(
    "origin_refused", "this Origin is not in cors_origins (EDGE_CORS_ORIGINS)", 403, 4403, Fault.CLIENT
)
LOCAL_ONLY = _kind(
    "local_only",
    "no API key exists yet, so only clients of this machine are served: interview-edge keys create",
    403,
    4403,
    Fault.CLIENT,
)
RATE_LIMITED = _kind("rate_limited", "too many requests; retry later", 429, 1013, Fault.CLIENT)
QUOTA_EXCEEDED = _kind("quota_exceeded", "the day's quota of {what} is used up", 429, 1013, Fault.CLIENT)
TOO_MANY_SOCKETS = _kind("too_many_sockets", "too many open sockets of this client", 429, 1013, Fault.CLIENT)
KEY_NOT_FOUND = _kind("key_not_found", "key not found", 404, None, Fault.CLIENT)

# Other people's models (contract gateway.md, Realtime token).
SERVICE_UNAVAILABLE = _kind("service_unavailable", "this service does not run here", 503, None, Fault.SERVER)
PROVIDER_UNSET = _kind("provider_unset", "no provider is configured: set {setting}", 503, None, Fault.SERVER)
MODEL_NOT_ALLOWED = _kind("model_not_allowed", "this model is not allowed", 400, None, Fault.CLIENT)
INVALID_SDP = _kind("invalid_sdp", "the body must be an SDP offer (application/sdp)", 400, None, Fault.CLIENT)
PROVIDER_FAILED = _kind(
    "provider_failed", "the provider did not answer as it should", 502, None, Fault.UPSTREAM
)
PROVIDER_REFUSED = _kind(
    "provider_refused", "the provider refused the server's request", 502, None, Fault.UPSTREAM
)
PROVIDER_BUSY = _kind(
    "provider_busy", "the provider is over its rate limit; retry later", 429, None, Fault.UPSTREAM
)
PROVIDER_TIMEOUT = _kind("provider_timeout", "the provider did not answer in time", 504, None, Fault.UPSTREAM)

ERRORS: Mapping[str, ErrorKind] = _table
