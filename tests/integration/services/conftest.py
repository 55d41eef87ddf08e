from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nodes import OpenNode, nodes_in
from openai_api import OpenAiApi, open_openai_api


@pytest.fixture
def open_node(tmp_path: Path) -> OpenNode:
    return nodes_in(tmp_path)


@pytest.fixture
async def api() -> AsyncIterator[OpenAiApi]:
    async with open_openai_api() as api:
        yield api
