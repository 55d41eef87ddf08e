"""JSON objects from text messages, their fields not judged yet: what both dialects begin with."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from interview_edge.errors import FRAME_NOT_JSON, FRAME_NOT_OBJECT, EdgeError

T = TypeVar("T", bound=msgspec.Struct)


def parse_object(decoder: msgspec.json.Decoder[T], text: str | bytes) -> T:
    """The object in a message, as a Struct of which any field may be anything.

    Raises EdgeError: frame_not_json, frame_not_object.
    """
    try:
        # Bytes are checked as UTF-8 as a whole: msgspec doesn't look inside what it skips.
        return decoder.decode(text if isinstance(text, str) else text.decode())
    except (ValueError, RecursionError):
        # Not an object, or not JSON at all: a second parse without a type tells (msgspec gives up on
        # the first byte of the wrong type).
        try:
            value = msgspec.json.decode(text)
        except (ValueError, RecursionError):
            raise EdgeError(FRAME_NOT_JSON) from None
        raise EdgeError(FRAME_NOT_JSON if isinstance(value, dict) else FRAME_NOT_OBJECT) from None
