"""For the browser tests: Playwright and a Chromium, or a plain word why not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from browser.alignment import write_speech
from browser.node_process import NodeProcess
from browser.visits import CHROMIUM, Visit, microphone_playing

SPEECH = Path(__file__).parents[2] / "src/interview_edge/cli/demo_audio/jfk.flac"  # eleven seconds, 16 kHz

Visits = Callable[..., Visit]


@pytest.fixture(scope="module")
def playwright() -> Iterator[Any]:
    if find_spec("playwright") is None:
        pytest.skip("Playwright isn't installed (dependency group `test`)")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM} (Debian's package `chromium`)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        yield running


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    """A node without keys that listens."""
    process = NodeProcess(tmp_path / "node")
    process.start()
    yield process
    process.kill()


@pytest.fixture
def visit(playwright: Any, node: NodeProcess, tmp_path: Path) -> Iterator[Visits]:
    """`visit(wav, **options)`: a page of its own browser, whose microphone plays `wav` (default: speech)."""
    with ExitStack() as stack:

        def begin(wav: Path | None = None, **options: Any) -> Visit:
            if wav is None:
                wav = tmp_path / "speech.wav"
                write_speech(wav, SPEECH, 40)
            context = stack.enter_context(microphone_playing(playwright, wav, **options))
            return Visit.begin(context, node.url)

        yield begin
