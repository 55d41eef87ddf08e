"""For tests: models of real weights, where this machine has them.

They lie where TEST_MODEL_DIR says, else in the user's cache. A machine that lacks them skips and says so;
where nothing may skip (REQUIRE_ALL=1), they are fetched, once.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from benchmarks.source_archives import SourceArchive
from interview_edge.speech.model_files import fetch, is_there
from interview_edge.speech.models import Model

CACHE = Path.home() / ".cache" / "interview-edge" / "models"


def need_extra(extra: str, *libraries: str) -> None:
    """Skip where an extra isn't installed."""
    missing = [name for name in libraries if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"the extra `{extra}` isn't installed: no {', '.join(missing)}")


def cache_folder() -> Path:
    return Path(os.environ.get("TEST_MODEL_DIR", CACHE))


def archive_folder(archive: SourceArchive) -> Path:
    """The folder that holds a source archive, or will once it is read; skips without it."""
    folder = cache_folder()
    if not (folder / archive.file).exists() and os.environ.get("REQUIRE_ALL") != "1":
        pytest.skip(f"{folder} lacks {archive.file}, the source archive of {archive.package}")
    return folder


def model_folder(model: Model, *libraries: str) -> Path:
    """The model folder that holds `model`; skips without it, or without the libraries that it needs."""
    need_extra("local", *libraries)
    folder = cache_folder()
    if not is_there(model, folder):
        if os.environ.get("REQUIRE_ALL") != "1":
            pytest.skip(f"{folder} lacks {model.name}: interview-edge models fetch")
        folder.mkdir(parents=True, exist_ok=True)
        fetch(model, folder)
    return folder
