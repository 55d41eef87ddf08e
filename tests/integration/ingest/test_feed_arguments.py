"""What an embedding program hands in is checked before it reaches the committer that all sessions share."""

from __future__ import annotations

from typing import Any

import pytest

from interview_edge.errors import EdgeError
from nodes import OpenNode, second


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"seq": 0}, "invalid_seq"),
        ({"seq": -1}, "invalid_seq"),
        ({"seq": 2**31}, "invalid_seq"),
        ({"seq": 1.5}, "invalid_seq"),
        ({"seq": 1, "timestamp_ms": 2**64}, "invalid_timestamp"),
        ({"seq": 1, "timestamp_ms": 0}, "invalid_timestamp"),
        ({"seq": 1, "stream": "a lone \ud800"}, "invalid_stream"),
    ],
)
async def test_a_wrong_argument_is_refused_and_the_node_goes_on(
    open_node: OpenNode, wrong: dict[str, Any], code: str
) -> None:
    async with open_node() as edge, edge.session("s") as session:
        with pytest.raises(EdgeError, match=code):
            await session.feed(second(1), **wrong)
        assert (await session.feed(second(1), seq=1)).error is None
