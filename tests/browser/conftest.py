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
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def playwright() -> Iterator[Any]:
    if find_spec("playwright") is None:
        pytest.skip("Playwright isn't installed (dependency group `test`)")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM} (Debian's package `chromium`)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium, whose microphone plays speech from when a page opens it."""
    wav = tmp_path_factory.mktemp("speech") / "speech.wav"
    write_speech(wav, SPEECH, 40)
    with microphone_playing(playwright, wav) as launched:
        yield launched


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node without keys that listens, and is left as it is: tests that kill have one of their own."""
    process = NodeProcess(tmp_path_factory.mktemp("node"))
    process.start()
    yield process
    process.kill()


@pytest.fixture
def own_node(tmp_path: Path) -> Iterator[NodeProcess]:
    """A node of this test's own, to be killed and given keys."""
    process = NodeProcess(tmp_path / "node")
    process.start()
    yield process
    process.kill()


@pytest.fixture
def visit(browser: Any, request: pytest.FixtureRequest) -> Iterator[Visits]:
    """`visit(**options)`: a page of a visitor who comes for the first time, at the test's node."""
    own = "own_node" in request.fixturenames
    node: NodeProcess = request.getfixturevalue("own_node" if own else "node")
    with ExitStack() as stack:

        def begin(**options: Any) -> Visit:
            context = browser.new_context(**({"locale": "en-GB"} | options))
            stack.callback(context.close)
            return Visit.begin(context, node.url)

        yield begin


@pytest.fixture(scope="module")
def run(browser: Any, node: NodeProcess) -> Iterator[Run]:
    """`run("capture/pcm", body, a)`: the body of a function of `m` (the module) and `a`."""
    page = browser.new_page()
    page.goto(f"{node.url}/console")  # under whose policy our modules may run

    def call(module: str, body: str, argument: Any = None) -> Any:
        return page.evaluate(
            f"async a => {{ const m = await import('{node.url}/pages/{module}.js'); {body} }}", argument
        )

    yield call
    page.close()
