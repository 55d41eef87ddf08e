"""A node with an admin's key, and audio in its store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from api_keys import bearer, give_key
from asgi_calls import Answer, call
from interview_edge.app import Edge
from interview_edge.catalog.protocol import StoredChunks
from interview_edge.core.keys import chunk_key
from interview_edge.core.models import Caller, Extent, LedgerSnapshot, StreamKey
from nodes import nodes_in, second


@attrs.frozen
class Admin:
    """An admin's view of a node."""

    edge: Edge
    key: str

    async def ask(self, method: str, target: str, **more: Any) -> Answer:
        headers = bearer(self.key) | more.pop("headers", {})
        return await call(self.edge.asgi_app, method, target, headers=headers, **more)

    async def data(self, method: str, target: str, **more: Any) -> Any:
        """What a success answers."""
        answer = await self.ask(method, target, **more)
        assert answer.status == 200, answer
        body = answer.json()
        assert set(body) == {"success", "data"}
        assert body["success"] is True
        return body["data"]

    async def refusal(self, method: str, target: str, **more: Any) -> tuple[int, str]:
        """Status and code of a refusal, in the shape of the contract."""
        answer = await self.ask(method, target, **more)
        body = answer.json()
        assert body["success"] is False, answer
        assert body["error"]
        return answer.status, body["code"]

    async def record(self, session_id: str, seconds: int, owner: str = "alice") -> None:
        """A session of `owner` with so many seconds, all of it in the store, and closed."""
        async with self.edge.registry.use(session_id, Caller(owner)) as session:
            stream = session.stream("mixed")
            for seq in range(1, seconds + 1):
                session.audio.accept(stream, seq, 1_000, second(seq))
            await session.settle()
        await self.edge.parts.archive.flush(session_id)
        await self.edge.registry.close_one(session_id)

    async def name_files(self, session_id: str, count: int, size: int = 32_000) -> list[str]:
        """A session of alice with so many files of `size` bytes, which only the catalog knows; their keys."""
        key, catalog = StreamKey(session_id), self.edge.parts.catalog
        await catalog.open_session(session_id, 1, Caller("alice"))
        extents = [
            Extent(seq, seq, chunk_key(key, seq), 32_000, b"h" * 32, object_size=size)
            for seq in range(1, count + 1)
        ]
        await catalog.record_stored(StoredChunks(key, extents, {}, LedgerSnapshot(((1, count),)), 1))
        return [extent.key for extent in extents]


OpenAdmin = Callable[..., AbstractAsyncContextManager[Admin]]


@pytest.fixture
def open_admin(tmp_path: Path) -> OpenAdmin:
    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[Admin]:
        async with nodes_in(tmp_path)(**settings) as edge:
            yield Admin(edge, await give_key(edge, "admin", owner="root"))

    return opened
