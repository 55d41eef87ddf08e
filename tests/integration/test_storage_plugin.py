"""A plugin package, really built and installed, is found by its URL's scheme and keeps the contract."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from installed_plugins import install_plugin

USE = """
import sys
import trio
from interview_edge.backends import BackendURLError, open_backend
from interview_edge.testing import check_backend

async def main(url):
    async with open_backend(url) as backend:
        await backend.put("a/b", b"kept", metadata={"By": "a plugin"})
    async with open_backend(url) as backend:
        print(type(backend).__module__, await backend.get("a/b"), (await backend.head("a/b")).metadata)
    await check_backend(lambda: open_backend(url))
    print("conforms")
    for wrong in ("broken:///x", "unheard-of:///x"):
        try:
            async with open_backend(wrong):
                pass
        except BackendURLError as error:
            print(error)

trio.run(main, sys.argv[1])
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_plugin("example_backend", tmp_path_factory.mktemp("plugin"))


def test_an_installed_plugin_serves_its_scheme(installed: Path, tmp_path: Path) -> None:
    url = (tmp_path / "objects.db").as_uri().replace("file:", "example:")
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", USE, url],
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    used, conforms, broken, unknown = result.stdout.splitlines()
    assert used == "example_backend b'kept' {'by': 'a plugin'}"
    assert conforms == "conforms"
    assert "broken://" in broken
    assert "interview-edge-example-backend" in broken
    assert "no_such_name" in broken
    assert "unheard-of://" in unknown
    assert "known: broken, example, file, memory, r2, s3" in unknown
