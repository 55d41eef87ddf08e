"""Nodes on this test's own folder, and an inference API to resolve against."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from inference_api import InferenceApi
from nodes import OpenNode, nodes_in


@pytest.fixture
def open_node(tmp_path: Path) -> OpenNode:
    """`async with open_node(**settings) as edge`: a node; open it again for a restart."""
    return nodes_in(tmp_path)


@pytest.fixture
async def inference_api(nursery: trio.Nursery) -> InferenceApi:
    """A real HTTP server on a free port of this machine."""
    api = InferenceApi()
    await nursery.start(api.serve)
    return api
