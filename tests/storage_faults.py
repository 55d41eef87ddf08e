"""For tests: a journal whose disk hangs."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from interview_edge.app import Edge


def hold_commits(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> trio.Event:
    """Let the journal's commits wait until the event is set: a disk that hangs."""
    go_on = trio.Event()
    commit = edge.parts.journal._insert

    async def held(batch: Any) -> Any:
        await go_on.wait()
        return await commit(batch)

    monkeypatch.setattr(edge.parts.journal, "_insert", held)
    return go_on
