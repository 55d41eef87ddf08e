"""Lines that are late: said, put behind others', and written all the same."""

from __future__ import annotations

from pathlib import Path

import trio.testing

from asgi_calls import call
from browser_clients import recording
from interview_edge.app import Edge
from interview_edge.speech.transcriber import Failure, TranscriptionFailed
from nodes import OpenNode, connect, nodes_in
from speaking import events_of, quieter, speak, until
from stenographer import Stenographer, ready

LATENESS = ("transcription_late", "transcription_deferred", "transcription_caught_up")


async def told(edge: Edge, session_id: str, type_: str) -> None:
    async def there() -> bool:
        return bool(await events_of(edge, session_id, type_))

    await until(there)


async def all_written(edge: Edge, session_id: str) -> None:
    async def nothing_waits() -> bool:
        return not await edge.parts.catalog.untranscribed(limit=1)

    await until(nothing_waits)
    ended = await events_of(edge, session_id, "speech_ended")
    written = await events_of(edge, session_id, "transcript")
    assert ended
    assert [each["utterance"] for each in written] == [each["utterance"] for each in ended]


async def test_who_is_late_is_told_and_told_when_it_is_over(open_node: OpenNode, speech: list[bytes]) -> None:
    pen = Stenographer()
    async with open_node(transcriber=pen, transcription_late_after=0.01) as edge:
        await speak(edge, "s", speech)

        async def late() -> bool:
            return bool(await events_of(edge, "s", "transcription_late"))

        await until(late)
        assert edge.parts.desk is not None
        assert edge.parts.desk.figures().late_sessions == 1
        pen.go_on.set()

        async def over() -> bool:
            return bool(await events_of(edge, "s", "transcription_caught_up"))

        await until(over)
        said = await events_of(edge, "s", "transcription_late", "transcription_caught_up")
        assert [each["type"] for each in said] == ["transcription_late", "transcription_caught_up"]


async def test_who_is_too_late_comes_after_the_others_and_gets_all_lines(
    open_node: OpenNode, speech: list[bytes], mock_clock: trio.testing.MockClock
) -> None:
    mock_clock.rate = 1.0
    pen = Stenographer()
    whispered = [quieter(pcm) for pcm in speech]
    async with open_node(transcriber=pen, transcription_concurrency=1, transcription_late_after=0.01) as edge:
        await speak(edge, "talker", speech * 2)
        await told(edge, "talker", "transcription_late")
        mock_clock.jump(edge.settings.transcription_defer_after)
        await told(edge, "talker", "transcription_deferred")
        assert edge.parts.desk is not None
        assert edge.parts.desk.figures().deferred_sessions == 1
        health = (await call(edge.asgi_app, "GET", "/health")).json()
        assert health["transcription"]["deferred_sessions"] == 1
        assert "put off" in health["checks"]["transcription"]["detail"]
        waiting = edge.parts.desk.waiting("talker")
        await speak(edge, "guest", whispered)

        async def came() -> bool:
            return len(await events_of(edge, "guest", "speech_ended")) == edge.parts.desk.waiting("guest") > 1

        await until(came)
        pen.go_on.set()
        await all_written(edge, "guest")
        await all_written(edge, "talker")
        # The one that was out already, then all of the guest's, though they came last.
        from_guest = [pcm in b"".join(whispered) for pcm in pen.asked]
        assert from_guest.index(True) == 1
        assert from_guest == sorted(from_guest[:1]) + sorted(from_guest[1:], reverse=True)
        assert from_guest.count(False) == waiting
        await told(edge, "talker", "transcription_caught_up")
        assert [each["type"] for each in await events_of(edge, "talker", *LATENESS)] == list(LATENESS)
        assert edge.parts.desk.figures().deferred_sessions == 0


async def test_finalize_does_not_wait_for_lines_that_are_put_off(
    open_node: OpenNode, speech: list[bytes]
) -> None:
    policy = {"transcription_late_after": 0.01, "transcription_defer_after": 0.01}
    pen = Stenographer()
    async with open_node(transcriber=pen, transcription_wait=600, finalize_timeout=20, **policy) as edge:
        await speak(edge, "s", speech)
        assert (await call(edge.asgi_app, "POST", "/v1/sessions/s/finalize")).status == 200
        early = (await call(edge.asgi_app, "GET", "/v1/sessions/s/result")).json()
        assert (early["transcript"], early["complete"]) == ([], True)
        assert early["transcript_waiting"] > 1
        pen.go_on.set()
        await all_written(edge, "s")


async def test_after_a_restart_who_speaks_now_comes_before_what_was_left(
    tmp_path: Path, speech: list[bytes]
) -> None:
    async with nodes_in(tmp_path)(transcriber=Stenographer()) as edge:
        await speak(edge, "yesterday", speech * 2)
        await told(edge, "yesterday", "speech_ended")
    pen = Stenographer()
    whispered = [quieter(pcm) for pcm in speech]
    async with nodes_in(tmp_path)(transcriber=pen, transcription_concurrency=1) as edge:
        await speak(edge, "today", whispered)
        await told(edge, "today", "speech_ended")
        pen.go_on.set()
        await all_written(edge, "today")
        await all_written(edge, "yesterday")
        from_today = [pcm in b"".join(whispered) for pcm in pen.asked]
        assert from_today.index(True) <= 1
        assert from_today[1:] == sorted(from_today[1:], reverse=True)


async def test_the_browser_s_socket_is_told_why(open_node: OpenNode, speech: list[bytes]) -> None:
    pen = ready()
    pen.answers.extend(TranscriptionFailed(Failure.REFUSED, "401") for _ in range(10_000))
    async with (
        open_node(transcriber=pen, transcription_late_after=0.01, retry_max=0.01) as edge,
        recording(edge) as client,
    ):
        await client.start("s")
        for pcm in speech:
            await client.audio(pcm)
        await told(edge, "s", "transcription_late")
        pen.answers.clear()
        said = [frame for frame in await client.end() if frame["type"] == "transcription_error"]
        assert said[0]["details"] == "refused"
        assert "utterance_id" not in said[0]
        assert "audio is stored" in said[0]["error"]


async def test_the_audio_socket_is_told(open_node: OpenNode, speech: list[bytes]) -> None:
    policy = {"transcription_late_after": 0.01, "transcription_defer_after": 0.01}
    async with open_node(transcriber=Stenographer(), **policy) as edge, connect(edge, "s") as client:
        assert (await client.hello(events=True))["type"] == "ready"
        for seq, pcm in enumerate(speech, 1):
            await client.send_chunk(seq, pcm)
        while (frame := await client.answer())["type"] != "event" or (
            frame["event"]["type"] != "transcription_deferred"
        ):
            pass
        assert frame["event"]["waiting"] >= 1
        assert frame["event"]["failure"] is None
