"""Names: which session ids and streams are allowed, and the object keys made of them (contract ingest.md).

Two different sessions never share a key, and no id can leave its place in the store: see `session_component`.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote_to_bytes

import attrs

from interview_edge.core.models import DEFAULT_STREAM, SegmentFormat, StreamKey
from interview_edge.errors import INVALID_PATH, INVALID_SESSION_ID, INVALID_STREAM, EdgeError

MAX_SESSION_ID = 128  # characters (code points)
# Past this the component is cut: file names end at 255 bytes, object keys at 1,024.
MAX_COMPONENT = 200
CUT_COMPONENT = 150

_PLAIN = re.compile(r"[A-Za-z0-9._-]+")
_STREAM = re.compile(r"[a-z0-9_-]{1,32}")
# `~` and eight digits: where the key itself held other bytes (archive/objects.py, NewObject.distinct_key).
_AUDIO_KEY = re.compile(
    r"sessions/(?P<component>[^/]+)/(?P<kind>chunks|segments|conflicts)/(?:(?P<stream>[a-z0-9_-]{1,32})/)?"
    r"(?P<first>\d{8,10})(?:-(?P<last>\d{8,10})|-[0-9a-f]{32})?(?:~[0-9a-f]{8})?\.(?P<format>pcm|wav|flac)"
)


def check_session_id(raw: str) -> str:
    """The id, where it may name a session: 1..128 characters of any Unicode, percent-decoded already.

    Raises EdgeError: `invalid_session_id` for its length, `invalid_path` for a lone surrogate, which no
    UTF-8 path can hold.
    """
    if not 1 <= len(raw) <= MAX_SESSION_ID:
        raise EdgeError(INVALID_SESSION_ID)
    try:
        raw.encode()
    except UnicodeEncodeError:
        raise EdgeError(INVALID_PATH) from None
    return raw


def check_stream(name: str) -> str:
    """The name, where it may name a stream: `[a-z0-9_-]{1,32}`. Raises EdgeError `invalid_stream`."""
    if _STREAM.fullmatch(name) is None:
        raise EdgeError(INVALID_STREAM)
    return name


def session_component(session_id: str) -> str:
    """The session's part of every key: one path component of at most 200 ASCII characters.

    Injective. What stands as it is holds no `%` and no `~`; an encoded id holds a `%` and decodes to that id
    alone; a cut one is told by its `~`, which nothing else keeps, and from other cut ones by 160 bits of
    SHA-256.
    """
    if _PLAIN.fullmatch(session_id) is not None and session_id not in (".", ".."):
        return session_id
    raw = session_id.encode()
    keeps = (
        b""
        if session_id in (".", "..")
        else b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
    )
    encoded = "".join(chr(byte) if byte in keeps else f"%{byte:02X}" for byte in raw)
    if len(encoded) <= MAX_COMPONENT:
        return encoded
    return f"{encoded[:CUT_COMPONENT]}~{hashlib.sha256(raw).hexdigest()[:40]}"


def session_prefix(session_id: str) -> str:
    """What every key of the session starts with, and no other session's key: it ends in `/`."""
    return f"sessions/{session_component(session_id)}/"


def session_id_of(component: str) -> str | None:
    """The id that `component` was made of; None for a cut one, which doesn't hold all of it, and for what
    `session_component` never makes.
    """
    try:
        session_id = unquote_to_bytes(component).decode()
    except UnicodeDecodeError:
        return None
    if not 1 <= len(session_id) <= MAX_SESSION_ID or session_component(session_id) != component:
        return None
    return session_id


def beginning_of_cut(component: str) -> str | None:
    """What the id of a cut component begins with; None for one that isn't cut."""
    encoded, cut, _ = component.rpartition("~")
    if not cut or len(encoded) != CUT_COMPONENT:  # a short one would be the beginning of far too many ids
        return None
    whole = re.sub(r"%[0-9A-F]?$", "", encoded)  # an escape that the cut went through
    return unquote_to_bytes(whole).decode(errors="ignore")


@attrs.frozen
class AudioKey:
    """What the key of an object of audio says. `kind` is `chunks`, `segments` or `conflicts`."""

    component: str
    kind: str
    stream: str
    first: int
    last: int
    format: str


def parse_audio_key(key: str) -> AudioKey | None:
    """The parts of a key that `chunk_key`, `segment_key` or `conflict_key` made; None for any other."""
    found = _AUDIO_KEY.fullmatch(key)
    if found is None:
        return None
    first = int(found["first"])
    return AudioKey(
        component=found["component"],
        kind=found["kind"],
        stream=found["stream"] or DEFAULT_STREAM,
        first=first,
        last=int(found["last"] or first),
        format=found["format"],
    )


def result_key(session_id: str) -> str:
    """The key of the session's result.json."""
    return f"{session_prefix(session_id)}result.json"


def chunk_key(key: StreamKey, seq: int) -> str:
    """The key of one chunk's object in layout `chunks`."""
    return f"{_folder(key, 'chunks')}{seq:08d}.pcm"


def segment_key(key: StreamKey, first: int, last: int, segment_format: SegmentFormat) -> str:
    """The key of the object that holds seqs `first..last` in layout `segments`."""
    return f"{_folder(key, 'segments')}{first:08d}-{last:08d}.{segment_format.value}"


def conflicts_prefix(session_id: str) -> str:
    """What the keys of the session's conflicts start with, and no others."""
    return f"{session_prefix(session_id)}conflicts/"


def conflict_key(key: StreamKey, seq: int, identity: bytes) -> str:
    """The key of other bytes found late for a held seq. `identity` is theirs, so equal bytes share one."""
    return f"{_folder(key, 'conflicts')}{seq:08d}-{identity.hex()}.pcm"


def _folder(key: StreamKey, kind: str) -> str:
    """`mixed` lies in the folder itself, every other stream in a folder of its own below."""
    folder = f"{session_prefix(key.session_id)}{kind}/"
    return folder if key.stream == DEFAULT_STREAM else f"{folder}{key.stream}/"
