"""For tests: a small real HTTP server in the place of an OpenAI-compatible API of transcription."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress

import attrs
import h11
import trio

from interview_edge.core.wav import decode_wav
from openai_api import read_request

KEY = "sk-transcription-0123456789"
PATH = "/v1/audio/transcriptions"
Reply = tuple[int, dict[str, str], bytes]


def said(text: str, **more: object) -> Reply:
    """The answer that this was said."""
    return 200, {}, json.dumps({"text": text} | more).encode()


@attrs.define(eq=False)
class SpeechApi:
    """Answers `replies` in turn, hanging up on None, then what `answer` makes of headers and body."""

    answer: Callable[[Mapping[str, str], bytes], Reply] = lambda *_: said("said")
    replies: deque[Reply | None] = attrs.field(factory=deque)
    asked: list[tuple[str, Mapping[str, str], bytes]] = attrs.field(factory=list)
    url: str = ""
    hang: bool = False

    async def serve(self, stream: trio.SocketStream) -> None:
        # Who asked may have gone.
        with suppress(trio.BrokenResourceError, h11.RemoteProtocolError):
            async with stream:
                connection = h11.Connection(h11.SERVER)
                path, headers, body = await read_request(connection, stream)
                if not path:  # it went before it asked
                    return
                self.asked.append((path, headers, body))
                if self.hang:
                    await trio.sleep_forever()
                reply = self.replies.popleft() if self.replies else self.answer(headers, body)
                if reply is None:
                    return
                status, more, content = reply
                shown = {"content-length": str(len(content)), "connection": "close"} | more
                head = connection.send(h11.Response(status_code=status, headers=list(shown.items())))
                await stream.send_all((head or b"") + (connection.send(h11.Data(data=content)) or b""))


def form_fields(headers: Mapping[str, str], body: bytes) -> dict[str, bytes]:
    """The fields of a multipart form."""
    boundary = b"--" + headers["content-type"].partition("boundary=")[2].encode()
    return {
        part.partition(b'name="')[2].partition(b'"')[0].decode(): part.partition(b"\r\n\r\n")[2][:-2]
        for part in body.split(boundary)
        if b'name="' in part
    }


def hear(headers: Mapping[str, str], body: bytes) -> Reply:
    """As OpenAI's own: what isn't a request of the published shape is refused, the language is a word.

    The text is how long the audio is, and empty where all of it is silent.
    """
    fields = form_fields(headers, body)
    try:
        pcm = decode_wav(fields["file"])
        hints = [fields[name].decode() for name in ("language", "prompt") if name in fields]
    except (KeyError, ValueError) as error:
        return 400, {}, json.dumps({"error": {"message": repr(error)}}).encode()
    if headers.get("authorization") != f"Bearer {KEY}":
        return 401, {}, b"{}"
    if fields.get("response_format") != b"verbose_json" or not fields.get("model") or "" in hints:
        return 400, {}, b"{}"
    return said(
        f"{len(pcm) // 2} samples" if any(pcm) else "", language="english", duration=len(pcm) / 32_000
    )


async def serve_transcription(*, task_status: trio.TaskStatus[SpeechApi]) -> None:
    """Serve on a free port until cancelled; gives the API, to be looked into and told what to answer."""
    api = SpeechApi()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    api.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1"
    task_status.started(api)
    await trio.serve_listeners(api.serve, [listener])
