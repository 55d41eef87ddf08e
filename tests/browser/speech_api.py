"""For the browser tests: an API of transcription in a thread, since what surrounds it isn't async."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import attrs


@attrs.define(eq=False)
class SpeechApi:
    """Says `text(n)` to the n-th request, from 1; while `open` is clear, requests wait."""

    text: Callable[[int], str]
    url: str = ""
    open: threading.Event = attrs.field(factory=threading.Event)
    asked: int = 0

    def answer(self) -> bytes:
        self.asked += 1
        text = self.text(self.asked)
        self.open.wait()
        return json.dumps({"text": text, "language": "english"}).encode()


@contextmanager
def speech_api(text: Callable[[int], str]) -> Iterator[SpeechApi]:
    api = SpeechApi(text)
    api.open.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            body = api.answer()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Tests say enough."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        api.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield api
        api.open.set()
        server.shutdown()
        thread.join()
