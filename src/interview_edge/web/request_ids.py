"""A name for each request: in its answer, in every log line of it, in its audit rows."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

HEADER = "x-request-id"
REQUEST_ID = "interview_edge.request_id"  # in the scope, set by the dispatcher

_TAKEN = re.compile(r"[A-Za-z0-9._-]{1,64}")  # nothing that could forge a log line


def request_id_of(scope: Mapping[str, Any]) -> str:
    """The client's own id, so that its log and ours can be laid side by side; a new one for any other."""
    for name, value in scope["headers"]:
        if name.lower() == HEADER.encode():
            shown = str(value.decode("latin-1"))
            if _TAKEN.fullmatch(shown):
                return shown
    return uuid.uuid4().hex
