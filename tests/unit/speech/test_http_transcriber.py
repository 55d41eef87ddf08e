"""The OpenAI-compatible provider against a real HTTP server: what is asked, tried again, and what is not."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator
from random import Random

import attrs
import h11
import pytest
import trio
import trio.testing

from interview_edge.core.wav import decode_wav
from interview_edge.speech.http_transcriber import (
    MAX_ANSWER_BYTES,
    HttpTranscriber,
    HttpTranscription,
    open_http_transcriber,
)
from interview_edge.speech.transcriber import Failure, TranscriptionFailed
from openai_api import read_request

PCM = bytes(range(256)) * 10
KEY = "sk-transcription-0123456789"
Reply = tuple[int, dict[str, str], bytes]


def text(said: str, **more: object) -> Reply:
    return 200, {}, json.dumps({"text": said} | more).encode()


@attrs.define
class Api:
    """Answers `replies` in turn, then `text("said")`; hangs up on None."""

    replies: deque[Reply | None] = attrs.field(factory=deque)
    asked: list[tuple[str, dict[str, str], bytes]] = attrs.field(factory=list)
    url: str = ""
    hang: bool = False

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            connection = h11.Connection(h11.SERVER)
            self.asked.append(await read_request(connection, stream))
            if self.hang:
                await trio.sleep_forever()
            reply = self.replies.popleft() if self.replies else text("said")
            if reply is None:
                return
            status, headers, body = reply
            shown = {"content-length": str(len(body)), "connection": "close"} | headers
            head = connection.send(h11.Response(status_code=status, headers=list(shown.items())))
            await stream.send_all((head or b"") + (connection.send(h11.Data(data=body)) or b""))


@pytest.fixture
async def api(nursery: trio.Nursery) -> Api:
    found = Api()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    found.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}/v1"
    nursery.start_soon(trio.serve_listeners, found.serve, [listener])
    return found


@pytest.fixture
async def transcriber(api: Api) -> AsyncIterator[HttpTranscriber]:
    how = HttpTranscription(
        base_url=api.url,
        model="whisper-1",
        api_key=KEY,
        timeout=5.0,
        retry_initial=0.001,
        retry_max=0.002,
        breaker_failures=4,
        breaker_cooldown=0.05,
    )
    async with open_http_transcriber(how, random=Random(1)) as found:
        yield found


async def test_it_asks_as_the_published_api_wants(api: Api, transcriber: HttpTranscriber) -> None:
    api.replies.append(text("  Hello.  ", language="en", segments=[]))
    found = await transcriber.transcribe(PCM, language="en", prompt="Ann")
    assert (found.text, found.language) == ("Hello.", "en")
    assert found.fetch_ms > 0
    ((path, headers, body),) = api.asked
    assert path == "/v1/audio/transcriptions"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["content-type"].startswith("multipart/form-data; boundary=")
    fields = {
        part.partition(b'name="')[2].partition(b'"')[0].decode(): part.partition(b"\r\n\r\n")[2]
        for part in body.split(b"--" + headers["content-type"].partition("boundary=")[2].encode())
        if b'name="' in part
    }
    assert decode_wav(fields.pop("file").removesuffix(b"\r\n")) == PCM
    assert {name: value.strip() for name, value in fields.items()} == {
        "model": b"whisper-1",
        "response_format": b"verbose_json",
        "language": b"en",
        "prompt": b"Ann",
    }
    assert b'filename="audio.wav"' in body


@pytest.mark.parametrize(
    "passing", [(429, {}, b""), (500, {}, b"oh"), (503, {}, b""), None, (200, {}, b"{}")]
)
async def test_what_may_pass_is_tried_again(
    api: Api, transcriber: HttpTranscriber, passing: Reply | None
) -> None:
    api.replies.extend([passing, passing])
    assert (await transcriber.transcribe(PCM)).text == "said"
    assert len(api.asked) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 302])
async def test_a_refusal_is_not(api: Api, transcriber: HttpTranscriber, status: int) -> None:
    api.replies.append((status, {"location": "http://elsewhere.example/"}, KEY.encode()))
    with pytest.raises(TranscriptionFailed) as error:
        await transcriber.transcribe(PCM)
    assert error.value.failure is Failure.REFUSED
    assert len(api.asked) == 1
    assert KEY not in str(error.value)
    assert KEY not in repr(transcriber._how)


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        ((429, {"retry-after": "0"}, b""), Failure.BUSY),
        ((500, {}, b""), Failure.BROKEN),
        ((200, {}, b"<html>"), Failure.BROKEN),
        ((200, {}, b'{"text": 5}'), Failure.BROKEN),
        ((200, {}, b"[" * 5_000), Failure.BROKEN),
        ((200, {}, b'{"text":"' + b"x" * MAX_ANSWER_BYTES + b'"}'), Failure.BROKEN),
        (None, Failure.UNREACHABLE),
    ],
)
async def test_after_three_tries_it_says_what_is_wrong(
    api: Api, transcriber: HttpTranscriber, reply: Reply | None, failure: Failure
) -> None:
    api.replies.extend([reply] * 3)
    with pytest.raises(TranscriptionFailed) as error:
        await transcriber.transcribe(PCM)
    assert error.value.failure is failure
    assert len(api.asked) == 3


async def test_a_provider_that_keeps_failing_is_left_alone_for_a_while(
    api: Api, transcriber: HttpTranscriber
) -> None:
    api.replies.extend([(500, {}, b"")] * 4)
    for _ in range(2):
        with pytest.raises(TranscriptionFailed):
            await transcriber.transcribe(PCM)
    assert len(api.asked) == 4  # the breaker opened before the sixth try
    with pytest.raises(TranscriptionFailed) as error:
        await transcriber.transcribe(PCM)
    assert (error.value.failure, len(api.asked)) == (Failure.BUSY, 4)
    assert error.value.retry_after is not None
    await trio.sleep(error.value.retry_after)
    assert (await transcriber.transcribe(PCM)).text == "said"


async def test_one_that_never_answers_is_given_up(api: Api) -> None:
    api.hang = True
    how = HttpTranscription(base_url=api.url, model="m", timeout=0.02, tries=1)
    async with open_http_transcriber(how) as transcriber:
        with pytest.raises(TranscriptionFailed) as error:
            await transcriber.transcribe(PCM)
    assert error.value.failure is Failure.TIMEOUT


async def test_no_more_is_under_way_than_is_allowed_and_a_cancelled_call_leaves(api: Api) -> None:
    api.hang = True
    how = HttpTranscription(base_url=api.url, model="m", concurrency=2)
    async with open_http_transcriber(how) as transcriber, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(transcriber.transcribe, PCM)
        with trio.fail_after(5):
            while len(api.asked) < 2:
                await trio.sleep(0.001)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(api.asked) == 2
        nursery.cancel_scope.cancel()
    api.hang = False
    async with open_http_transcriber(how) as transcriber:
        assert (await transcriber.transcribe(PCM)).text == "said"


async def test_audio_over_half_a_minute_is_the_callers_mistake(transcriber: HttpTranscriber) -> None:
    with pytest.raises(ValueError, match="over 30 s"):
        await transcriber.transcribe(bytes(32_000 * 30 + 2))
