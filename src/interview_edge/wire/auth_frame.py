"""The first frame of a socket that was opened with `?auth=first-frame`, read without I/O."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from interview_edge.errors import MISSING_AUTH, EdgeError
from interview_edge.wire.frames import Auth, Hello

MAX_AUTH_BYTES = 16 * 1024  # as much as a handshake's headers may hold

# Of two kinds, so that the tag must be there: of one alone it may be left out.
_decoder: msgspec.json.Decoder[Auth | Hello] = msgspec.json.Decoder(Auth | Hello)


def decode_auth(data: bytes, *, text: bool) -> Auth:
    """The frame in a message, with exactly one credential. Raises EdgeError(missing_auth) for any other
    message: what came is not repeated, since it may hold a secret.
    """
    if not text or len(data) > MAX_AUTH_BYTES:
        raise EdgeError(MISSING_AUTH)
    try:
        frame = _decoder.decode(data)
    except (ValueError, RecursionError):
        raise EdgeError(MISSING_AUTH) from None
    if not isinstance(frame, Auth):
        raise EdgeError(MISSING_AUTH)
    shown = [value for value in (frame.key, frame.token, frame.ticket) if value is not UNSET]
    if len(shown) != 1 or not shown[0]:
        raise EdgeError(MISSING_AUTH)
    return frame
