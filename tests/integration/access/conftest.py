from __future__ import annotations

from pathlib import Path

import pytest

from nodes import OpenNode, nodes_in


@pytest.fixture
def open_node(tmp_path: Path) -> OpenNode:
    return nodes_in(tmp_path)
