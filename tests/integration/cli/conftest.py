from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from interview_edge.serving import open_server
from interview_edge.settings import Settings

ServerOpener = AbstractAsyncContextManager[str]


@pytest.fixture
def server(tmp_path: Path) -> ServerOpener:
    """A real server on a free port, opened by the test itself so that it ends with it; gives its URL."""

    @asynccontextmanager
    async def open_one() -> AsyncIterator[str]:
        async with open_server(Settings(port=0, data_dir=tmp_path / "data")) as running:
            yield running.url

    return open_one()
