"""Which known name a mistyped one was meant to be. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MAX_MISTYPED = 64  # characters: comparing costs their product, and a longer name is no slip of the hand


def suggest(name: str, known: Iterable[str]) -> str:
    """The end of an error about `name`: `; did you mean 'x'?`, or nothing where no known name is near."""
    if len(name) > MAX_MISTYPED:
        return ""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.7)
    return f"; did you mean {close[0]!r}?" if close else ""
