"""What the server is measured against: a bare echo on stock Quart-Trio and Hypercorn, nothing of ours in it.

`python -m benchmarks.echo same` sends each frame back; `short` answers each with a text of an ack's size,
which is less work for it and so the harder comparison; `decoding` gets at the audio first, as whoever wants
to do anything with it must (json and base64 of the standard library), and then sends the frame back.
"""

from __future__ import annotations

import base64
import json
import sys
from functools import partial

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import websocket
from quart_trio import QuartTrio

SHORT = (
    '{"type":"ack","seq":1000,"status":"stored","last_seq":1000,"missing_count":0,"duplicate_count":0,'
    '"next_seq":1001,"key":"sessions/bench/chunks/00001000.pcm"}'
)


def build_app(answer: str) -> QuartTrio:
    """The echo application; `answer` is `same`, `short` or `decoding`."""
    app = QuartTrio(__name__)

    @app.websocket("/v1/audio/ws/<session_id>")
    async def echo(session_id: str) -> None:
        while True:
            frame = await websocket.receive()
            if answer == "decoding":
                decode(frame)
            await websocket.send(SHORT if answer == "short" else frame)

    return app


def decode(frame: str | bytes) -> bytes:
    """The audio of a chunk frame, by the standard library."""
    if isinstance(frame, bytes):
        return frame[16:]
    return base64.b64decode(json.loads(frame)["content_b64"])


async def main(answer: str) -> None:
    """Serve until killed, the URL on standard output."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.accesslog = None
    config.errorlog = None
    async with trio.open_nursery() as nursery:
        urls = await nursery.start(partial(serve, build_app(answer), config))
        print(urls[0], flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
