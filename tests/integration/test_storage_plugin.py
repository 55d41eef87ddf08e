"""A plugin package, really built and installed, is found by its URL's scheme and keeps the contract."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[1] / "plugins" / "example_backend"

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


def _installer() -> list[str]:
    uv = shutil.which("uv")
    if uv is not None and subprocess.run([uv, "--version"], capture_output=True).returncode == 0:
        return [uv, "pip", "install", "--quiet", f"--python={sys.executable}"]
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        return [sys.executable, "-m", "pip", "install", "--quiet"]
    pytest.skip("neither uv nor pip is here to install the example plugin with")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    # A copy, since builds write into the source tree.
    source = shutil.copytree(PLUGIN, tmp_path_factory.mktemp("source") / "plugin")
    command = [*_installer(), "--no-deps", f"--target={target}", str(source)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if result.returncode != 0:
        pytest.skip(f"the example plugin can't be built here (no package index?): {result.stderr[-500:]}")
    return target


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
