"""For schemathesis, which loads it by SCHEMATHESIS_HOOKS: the media types that it doesn't know."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.serializer("application/sdp")
def send_sdp(context: Any, value: Any) -> Any:
    return value if isinstance(value, bytes) else str(value).encode()
