"""For the browser tests: a Chromium whose microphone plays a file, and what its pages did wrong."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:  # it may not be there; then the tests skip
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, Request

CHROMIUM = Path("/usr/bin/chromium")
LOOK_EVERY_MS = 50
PATIENCE_MS = 30_000  # a busy machine is slow; a test that would wait longer fails

# Each captured second as the page says it, before it is sent.
_LISTEN = """
window.captured = [];
document.addEventListener("interview-edge:chunk", ({ detail }) => {
  const bytes = new Uint8Array(detail.pcm);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  window.captured.push({ session: detail.sessionId, seq: detail.seq, final: detail.final, pcm: btoa(text) });
});
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`);
});
"""


@attrs.define(slots=False)  # Playwright marks the instance of a handler
class Visit:
    """One page, and all that went wrong in it: errors on its console, and requests to elsewhere."""

    page: Page
    origin: str
    errors: list[str] = attrs.field(factory=list)
    strangers: list[str] = attrs.field(factory=list)

    @classmethod
    def begin(cls, context: BrowserContext, origin: str) -> Visit:
        context.add_init_script(_LISTEN)
        visit = cls(context.new_page(), origin)
        visit.page.set_default_timeout(PATIENCE_MS)
        visit.page.on("console", visit._hear)
        visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
        visit.page.on("request", visit._see)
        visit.page.on("websocket", lambda socket: visit._check(socket.url.replace("ws://", "http://")))
        return visit

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.text} ({message.location.get('url')})")

    def _see(self, request: Request) -> None:
        self._check(request.url)

    def _check(self, url: str) -> None:
        if not url.startswith((self.origin + "/", "blob:", "data:")):
            self.strangers.append(url)

    # -- doing

    def open(self) -> None:
        self.page.goto(self.origin + "/audio-storage-test")
        self.page.wait_for_selector("#start:not(:disabled)")

    def record(self) -> str:
        """Begin; answers the session's id."""
        self.page.click("#start")
        self.page.wait_for_selector("#stop:not(:disabled)")
        return self.page.input_value("#session")

    def seconds(self, counter: str) -> int:
        """One of the counters: captured, unacked, acked, missing."""
        return int(self.page.inner_text(f"#{counter}").split()[0])

    def wait_for(self, what: Callable[[], bool], patience_ms: float = PATIENCE_MS) -> None:
        """Look until it is so. (Playwright's own wait evaluates strings, which the page's policy forbids.)"""
        waited = 0.0
        while not what():
            assert waited < patience_ms, "it didn't come to that"
            self.page.wait_for_timeout(LOOK_EVERY_MS)
            waited += LOOK_EVERY_MS

    def wait_until_captured(self, seconds: int) -> None:
        count = "captured.length"
        self.wait_for(lambda: self.page.evaluate(count) >= seconds, seconds * 1000 + PATIENCE_MS)

    def wait_until_acked(self) -> None:
        """Nothing of what is captured by now waits for its ack."""
        self.wait_for(lambda: self.seconds("unacked") == 0)

    def stop(self) -> None:
        """End the recording, and wait until all of it is acked."""
        self.page.click("#stop")
        self.page.wait_for_selector("#finish:visible")

    def captured(self) -> dict[int, bytes]:
        """What the page captured since it was loaded, by seq."""
        found: list[Mapping[str, Any]] = self.page.evaluate("captured")
        return {chunk["seq"]: base64.b64decode(chunk["pcm"]) for chunk in found}

    def check(self, *, but: str | None = None) -> None:
        """Nothing went wrong; `but` is what errors may say."""
        assert not self.strangers
        assert [error for error in self.errors if but is None or but not in error] == []


@contextmanager
def microphone_playing(playwright: Playwright, wav: Path) -> Iterator[Browser]:
    """A browser whose microphone plays `wav` once, from when a page opens it."""
    browser = playwright.chromium.launch(
        executable_path=CHROMIUM,
        chromium_sandbox=False,  # containers have no user namespaces for it
        args=[
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-audio-capture={wav.absolute()}%noloop",
        ],
    )
    try:
        yield browser
    finally:
        browser.close()
