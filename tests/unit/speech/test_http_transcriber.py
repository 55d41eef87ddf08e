"""The OpenAI-compatible provider against a real HTTP server: what is asked, tried again, and what is not."""

from __future__ import annotations

import gc
import socket
from collections.abc import AsyncIterator
from random import Random

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
from transcription_api import KEY, Reply, SpeechApi, form_fields, said, serve_transcription

PCM = bytes(range(256)) * 10


@pytest.fixture
async def api(nursery: trio.Nursery) -> SpeechApi:
    return await nursery.start(serve_transcription)


@pytest.fixture
async def transcriber(api: SpeechApi) -> AsyncIterator[HttpTranscriber]:
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


async def test_it_asks_as_the_published_api_wants(api: SpeechApi, transcriber: HttpTranscriber) -> None:
    api.replies.append(said("  Hello.  ", language="english", segments=[]))
    found = await transcriber.transcribe(PCM, language="en", prompt="Ann")
    assert (found.text, found.language) == ("Hello.", "en")
    assert found.fetch_ms > 0
    ((path, headers, body),) = api.asked
    assert path == "/v1/audio/transcriptions"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["content-type"].startswith("multipart/form-data; boundary=")
    fields = form_fields(headers, body)
    assert decode_wav(fields.pop("file")) == PCM
    assert fields == {
        "model": b"whisper-1",
        "response_format": b"verbose_json",
        "language": b"en",
        "prompt": b"Ann",
    }
    assert b'filename="audio.wav"' in body


async def test_control_characters_are_no_text(api: SpeechApi, transcriber: HttpTranscriber) -> None:
    api.replies.append(said("\x00And\tso,\r\nmy\x7f \x1b[1mfellow", language="klingon"))
    found = await transcriber.transcribe(PCM)
    assert (found.text, found.language) == ("And\tso,\nmy [1mfellow", None)


@pytest.mark.parametrize(
    "passing", [(429, {}, b""), (500, {}, b"oh"), (503, {}, b""), None, (200, {}, b"{}")]
)
async def test_what_may_pass_is_tried_again(
    api: SpeechApi, transcriber: HttpTranscriber, passing: Reply | None
) -> None:
    api.replies.extend([passing, passing])
    assert (await transcriber.transcribe(PCM)).text == "said"
    assert len(api.asked) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 302])
async def test_a_refusal_is_not(api: SpeechApi, transcriber: HttpTranscriber, status: int) -> None:
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
    api: SpeechApi, transcriber: HttpTranscriber, reply: Reply | None, failure: Failure
) -> None:
    api.replies.extend([reply] * 3)
    with pytest.raises(TranscriptionFailed) as error:
        await transcriber.transcribe(PCM)
    assert error.value.failure is failure
    assert len(api.asked) == 3


async def test_a_provider_that_keeps_failing_is_left_alone_for_a_while(
    api: SpeechApi, transcriber: HttpTranscriber
) -> None:
    api.replies.extend([(500, {}, b"")] * 4)
    for _ in range(2):
        with pytest.raises(TranscriptionFailed):
            await transcriber.transcribe(PCM)
    assert len(api.asked) == 4  # the breaker opened before the sixth try
    with pytest.raises(TranscriptionFailed) as error:
        await transcriber.transcribe(PCM)
    assert (error.value.failure, len(api.asked)) == (Failure.BROKEN, 4)
    assert error.value.detail.startswith("the provider answered 500; it failed too often")
    assert error.value.retry_after is not None
    assert not error.value.tried
    await trio.sleep(error.value.retry_after)
    assert (await transcriber.transcribe(PCM)).text == "said"


async def test_one_that_never_answers_is_given_up(api: SpeechApi) -> None:
    api.hang = True
    how = HttpTranscription(base_url=api.url, model="m", timeout=0.02, tries=1)
    async with open_http_transcriber(how) as transcriber:
        with pytest.raises(TranscriptionFailed) as error:
            await transcriber.transcribe(PCM)
    assert error.value.failure is Failure.TIMEOUT


async def test_no_more_is_under_way_than_is_allowed_and_a_cancelled_call_leaves(
    api: SpeechApi,
) -> None:
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


async def test_a_call_cancelled_in_its_upload_leaves_nothing_behind() -> None:
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)  # and nobody reads it
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        how = HttpTranscription(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}/v1", model="m")
        async with open_http_transcriber(how) as transcriber, trio.open_nursery() as nursery:
            nursery.start_soon(transcriber.transcribe, bytes(30 * 32_000))
            await trio.testing.wait_all_tasks_blocked(0.01)
            nursery.cancel_scope.cancel()
    gc.collect()  # what is left behind complains here
