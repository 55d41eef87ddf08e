"""Nodes on this test's own folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodes import OpenNode, nodes_in


@pytest.fixture
def open_node(tmp_path: Path) -> OpenNode:
    """`async with open_node(**settings) as edge`: a node; open it again for a restart."""
    return nodes_in(tmp_path)
