"""Make docs/images/recorder-*.png from a real node's page: `uv run python docs/make_page_pictures.py`.

Takes two minutes, and Debian's `chromium`, whose fake microphone plays the demo's speech. What writes it down
is the extra `local` with Whisper's files in EDGE_MODEL_DIR; without them the page says that nothing does.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import soundfile
from playwright.sync_api import Browser, Page, sync_playwright

import interview_edge.cli

IMAGES = Path(__file__).parent / "images"
CHROMIUM = "/usr/bin/chromium"
SPEECH = Path(interview_edge.cli.__file__).parent / "demo_audio/jfk.flac"
SECONDS = 16  # recorded before the picture is taken
PATIENCE_MS = 60_000
SERVE = (sys.executable, "-c", "from interview_edge.cli import main; main()", "serve", "--port", "0")

PICTURES: Mapping[str, Mapping[str, Any]] = {
    "light": {"viewport": {"width": 1120, "height": 700}, "color_scheme": "light", "locale": "en-GB"},
    "dark": {"viewport": {"width": 1120, "height": 700}, "color_scheme": "dark", "locale": "en-GB"},
    "phone": {"viewport": {"width": 360, "height": 780}, "color_scheme": "light", "locale": "en-GB"},
    "chinese": {"viewport": {"width": 1120, "height": 700}, "color_scheme": "light", "locale": "zh-CN"},
}


def main() -> None:
    """Write every picture. Raises what the browser or the server raise."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        samples, rate = soundfile.read(SPEECH)
        soundfile.write(wav, samples, rate)
        with node(Path(folder) / "data") as url, chromium(wav) as browser:
            for number, (name, options) in enumerate(PICTURES.items(), 42):
                page = browser.new_page(**options)
                page.set_default_timeout(PATIENCE_MS)
                take(page, url, f"interview-{number}", IMAGES / f"recorder-{name}.png")
                page.close()


def take(page: Page, url: str, session: str, picture: Path) -> None:
    """Record for a while, and take the picture while it records."""
    page.goto(f"{url}/audio-storage-test")
    page.wait_for_selector("#start:not(:disabled)")
    page.fill("#session", session)
    page.click("#start")
    page.wait_for_selector("#stop:not(:disabled)")
    page.wait_for_timeout(SECONDS * 1000)
    page.screenshot(path=picture, full_page=picture.stem.endswith("phone"))
    page.click("#stop")
    page.wait_for_selector("#finish:visible")
    print(f"wrote {picture} ({picture.stat().st_size // 1000} kB)")


@contextmanager
def chromium(wav: Path) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            chromium_sandbox=False,
            args=[
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-audio-capture={wav}",
            ],
        )
        yield browser
        browser.close()


@contextmanager
def node(data: Path) -> Iterator[str]:
    """A node of its own; its URL."""
    process = subprocess.Popen([*SERVE, "--data-dir", str(data)], stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        said = process.stdout.readline() if process.stdout else ""
        yield said.split()[-1]
    finally:
        process.terminate()
        process.communicate(timeout=30)


if __name__ == "__main__":
    main()
