"""For tests: an example plugin, really built and installed into a folder of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parent / "plugins"


def install_plugin(name: str, folder: Path) -> Path:
    """Build and install a package of tests/plugins; answers the folder for PYTHONPATH. Skips where nothing
    here can install, or no package index has the build backend.
    """
    source = shutil.copytree(PLUGINS / name, folder / "source")  # builds write into the source tree
    target = folder / "site"
    command = [*_installer(), "--no-deps", f"--target={target}", str(source)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if result.returncode != 0:
        pytest.skip(f"the example plugin can't be built here (no package index?): {result.stderr[-500:]}")
    return target


def _installer() -> list[str]:
    uv = shutil.which("uv")
    if uv is not None and subprocess.run([uv, "--version"], capture_output=True).returncode == 0:
        return [uv, "pip", "install", "--quiet", f"--python={sys.executable}"]
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        return [sys.executable, "-m", "pip", "install", "--quiet"]
    pytest.skip("neither uv nor pip is here to install the example plugin with")
