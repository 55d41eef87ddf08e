"""Live transcripts: one for each utterance, in order, once; whatever the provider does, the audio goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio
import trio.testing

from asgi_calls import Answer, call
from interview_edge.backends.protocol import BackendUnavailable
from interview_edge.catalog import CatalogUnavailable
from interview_edge.core.models import NewEvent, Utterance
from interview_edge.core.pcm import CHUNK_BYTES, SAMPLE_BYTES
from interview_edge.sessions import transcription_desk
from interview_edge.sessions.transcription_desk import MAX_BROKEN
from interview_edge.speech.transcriber import Failure, Transcript, TranscriptionFailed
from nodes import OpenNode, connect, nodes_in
from speaking import events_of, quieter, speak, until, written_of
from stenographer import Stenographer, ready


async def test_each_utterance_is_written_once_in_order_from_its_own_audio(
    open_node: OpenNode, speech: list[bytes]
) -> None:
    pen = ready()
    async with open_node(transcriber=pen) as edge:
        await speak(edge, "s", speech)

        async def all_written() -> bool:
            ended = await events_of(edge, "s", "speech_ended")
            return bool(ended) and len(await events_of(edge, "s", "transcript")) == len(ended)

        await until(all_written)
        ended = await events_of(edge, "s", "speech_ended")
        written = await events_of(edge, "s", "transcript")
        whole = b"".join(speech)
        for heard, text, pcm in zip(ended, written, pen.asked, strict=True):
            assert (text["utterance"], text["stream"]) == (heard["utterance"], "mixed")
            assert (text["start_ms"], text["end_ms"]) == (heard["start_ms"], heard["end_ms"])
            assert pcm == whole[heard["start_sample"] * SAMPLE_BYTES : heard["end_sample"] * SAMPLE_BYTES]
            assert text["text"] == f"{len(pcm)} bytes"
            assert (text["language"], text["provider"]) == ("en", "stenographer")
        assert await edge.parts.catalog.untranscribed(limit=10) == []


async def test_a_socket_that_asked_is_told(open_node: OpenNode, speech: list[bytes]) -> None:
    async with open_node(transcriber=ready()) as edge, connect(edge, "s") as client:
        assert (await client.hello(events=True))["type"] == "ready"
        for seq, pcm in enumerate(speech, 1):
            await client.send_chunk(seq, pcm)
        types: list[str] = []
        while "transcript" not in types:
            frame = await client.answer()
            if frame["type"] == "event":
                types.append(frame["event"]["type"])
        assert types.index("speech_ended") < types.index("transcript")


async def test_what_a_crash_left_is_written_after_the_restart(tmp_path: Path, speech: list[bytes]) -> None:
    """Also from the store, once window and journal have let go of it."""
    stuck = Stenographer()
    async with nodes_in(tmp_path)(transcriber=stuck) as edge:
        await speak(edge, "s", speech)

        async def heard() -> bool:
            return len(stuck.asked) == 1 and edge.parts.desk is not None and edge.parts.desk.waiting("s") > 1

        await until(heard)
        await edge.parts.archive.flush("s")
    pen = ready()
    async with nodes_in(tmp_path)(transcriber=pen) as edge:

        async def nothing_waits() -> bool:
            return not await edge.parts.catalog.untranscribed(limit=1)

        await until(nothing_waits)
        ended = await events_of(edge, "s", "speech_ended")
        written = await events_of(edge, "s", "transcript")
        assert [w["utterance"] for w in written] == [e["utterance"] for e in ended]
        assert pen.asked[0] == stuck.asked[0]


@pytest.mark.parametrize("failure", [Failure.UNREACHABLE, Failure.TIMEOUT, Failure.BUSY, Failure.REFUSED])
async def test_a_provider_that_fails_is_asked_again_and_nothing_is_lost(
    open_node: OpenNode, speech: list[bytes], failure: Failure
) -> None:
    pen = ready()
    pen.answers.extend(TranscriptionFailed(failure, "no") for _ in range(3))
    async with open_node(transcriber=pen, retry_initial=0.001, retry_max=0.002) as edge:
        await speak(edge, "s", speech)
        await written_of(edge, "s")
        written = await events_of(edge, "s", "transcript", "transcript_failed")
        assert {w["type"] for w in written} == {"transcript"}
        assert pen.asked[0] == pen.asked[3]
        assert edge.parts.desk is not None
        assert edge.parts.desk.figures().failure is None


async def test_an_utterance_that_a_provider_breaks_on_holds_up_no_other(
    open_node: OpenNode, speech: list[bytes]
) -> None:
    pen = ready()
    pen.breaks = TranscriptionFailed(Failure.BROKEN, "garbage")
    async with open_node(transcriber=pen, retry_initial=0.001, retry_max=0.002) as edge:
        await speak(edge, "s", speech)
        await written_of(edge, "s", at_least=2)
        written = await events_of(edge, "s", "transcript", "transcript_failed")
        assert [w["type"] for w in written[:2]] == ["transcript_failed", "transcript"]
        assert (written[0]["failure"], written[0]["detail"]) == ("broken", "garbage")


async def test_a_catalog_that_is_away_asks_the_provider_nothing_twice(
    open_node: OpenNode, speech: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    pen = ready()
    async with open_node(transcriber=pen, retry_initial=0.001) as edge:
        append, refused = edge.parts.catalog.append_events, []

        async def away(*args: Any, **more: Any) -> Any:
            if more.get("written") and len(refused) < 3:
                refused.append(more["written"])
                raise CatalogUnavailable("away")
            return await append(*args, **more)

        monkeypatch.setattr(edge.parts.catalog, "append_events", away)
        await speak(edge, "s", speech)
        await written_of(edge, "s")
        assert len(refused) == 3
        assert len(pen.asked) == len(await events_of(edge, "s", "transcript"))


async def test_what_is_said_twice_is_written_once(open_node: OpenNode, speech: list[bytes]) -> None:
    """A look at the catalog finds what was said already."""
    pen = Stenographer()
    async with open_node(transcriber=pen) as edge:
        await speak(edge, "s", speech)

        async def heard() -> bool:
            return edge.parts.desk is not None and edge.parts.desk.waiting("s") > 1

        await until(heard)
        assert edge.parts.desk is not None
        waiting = edge.parts.desk.waiting("s")
        edge.parts.desk.look_again()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert edge.parts.desk.waiting("s") == waiting


async def test_a_talker_does_not_starve_the_others(open_node: OpenNode, speech: list[bytes]) -> None:
    """Ten utterances of one session wait; another's first is the next but one."""
    pen = Stenographer()
    whispered = [quieter(pcm) for pcm in speech]  # so that the two are told apart by what is asked
    async with open_node(transcriber=pen, transcription_concurrency=1) as edge:
        await speak(edge, "talker", speech * 3)

        async def many() -> bool:
            return edge.parts.desk is not None and edge.parts.desk.waiting("talker") >= 5

        await until(many)
        await speak(edge, "guest", whispered)

        async def came() -> bool:
            return edge.parts.desk is not None and edge.parts.desk.waiting("guest") >= 1

        await until(came)
        pen.go_on.set()

        async def written() -> bool:
            return bool(await events_of(edge, "guest", "transcript"))

        await until(written)
        assert [pcm in b"".join(whispered) for pcm in pen.asked].index(True) <= 2


async def test_a_deleted_session_is_written_no_more(open_node: OpenNode, speech: list[bytes]) -> None:
    pen = Stenographer()
    async with open_node(transcriber=pen) as edge:
        await speak(edge, "s", speech)

        async def asked() -> bool:
            return bool(pen.asked)

        await until(asked)
        await edge.parts.catalog.mark_deleted("s", edge.parts.wall_ms())
        pen.go_on.set()

        async def forgotten() -> bool:
            return edge.parts.desk is not None and edge.parts.desk.waiting("s") == 0

        await until(forgotten)


@pytest.mark.parametrize(
    ("form", "begins", "media"),
    [
        ("txt", "[00:00:0", "text/plain; charset=utf-8"),
        ("srt", "1\n00:00:0", "application/x-subrip; charset=utf-8"),
        ("vtt", "WEBVTT\n\n00:00:0", "text/vtt; charset=utf-8"),
    ],
)
async def test_the_transcript_over_http_and_in_the_result(
    open_node: OpenNode, speech: list[bytes], form: str, begins: str, media: str
) -> None:
    async with open_node(transcriber=ready()) as edge:
        await speak(edge, "s", speech)
        async with edge.session("s") as session:
            await session.finalize()  # waits for what was heard
        shown = (await call(edge.asgi_app, "GET", "/v1/sessions/s/transcript")).json()
        assert shown["lines"]
        assert (shown["session_id"], shown["waiting"]) == ("s", 0)
        assert all(line["text"].endswith(" bytes") for line in shown["lines"])
        result = (await call(edge.asgi_app, "GET", "/v1/sessions/s/result")).json()
        assert (result["transcript"], result["transcript_waiting"]) == (shown["lines"], 0)
        answer = await call(edge.asgi_app, "GET", f"/v1/sessions/s/transcript?format={form}")
        assert answer.body.decode().startswith(begins)
        assert answer.headers["content-type"] == media
        for line in shown["lines"]:
            assert line["text"] in answer.body.decode()


async def test_a_finalize_waits_only_so_long_and_the_next_one_has_the_rest(
    open_node: OpenNode, speech: list[bytes]
) -> None:
    pen = Stenographer()
    async with open_node(transcriber=pen, transcription_wait=0.01) as edge:
        await speak(edge, "s", speech)
        async with edge.session("s") as session:
            await session.finalize()
            early = (await call(edge.asgi_app, "GET", "/v1/sessions/s/result")).json()
            assert early["transcript"] == []
            assert early["transcript_waiting"] > 0
            for form in ("json", "txt", "srt", "vtt"):
                shown = await call(edge.asgi_app, "GET", f"/v1/sessions/s/transcript?format={form}")
                assert shown.headers["x-transcript-waiting"] == str(early["transcript_waiting"])
            pen.go_on.set()
            assert edge.parts.desk is not None
            with trio.fail_after(20):
                await edge.parts.desk.written("s")
            await session.finalize()
        late = (await call(edge.asgi_app, "GET", "/v1/sessions/s/result")).json()
        assert len(late["transcript"]) == early["transcript_waiting"]
        assert late["transcript_waiting"] == 0


async def test_a_transcript_of_one_stream(open_node: OpenNode) -> None:
    async with open_node() as edge:
        for name in ("teacher", "students"):
            async with connect(edge, "s", name) as client:
                await client.send_chunk(1)
                await client.answer()
        said = {"utterance": 1, "start_ms": 0, "end_ms": 9}
        events = [NewEvent(1, "transcript", said | {"text": name}, name) for name in ("teacher", "students")]
        waiting = [Utterance("students", number, 0, 9) for number in (2, 3)]
        await edge.parts.catalog.append_events("s", events, at=1, heard=waiting)

        async def read(query: str) -> Answer:
            return await call(edge.asgi_app, "GET", f"/v1/sessions/s/transcript{query}")

        both, teacher, students = [
            (await read(query)).json() for query in ("", "?stream=teacher", "?stream=students")
        ]
        shown = [
            ([line["text"] for line in each["lines"]], each["waiting"]) for each in (both, teacher, students)
        ]
        assert shown == [(["students", "teacher"], 2), (["teacher"], 0), (["students"], 2)]
        # There is only one stream to read of, so none is named.
        assert (await read("?stream=teacher&format=txt")).body == b"[00:00:00] teacher\n"
        absent = await read("?stream=teachr")
        assert (absent.status, absent.json()["code"]) == (404, "stream_not_found")
        assert absent.json()["streams"] == ["students", "teacher"]
        assert (await read("?stream=Teacher")).json()["code"] == "invalid_stream"


async def test_a_wrong_format_and_an_unknown_session(open_node: OpenNode) -> None:
    async with open_node() as edge:
        wrong = await call(edge.asgi_app, "GET", "/v1/sessions/s/transcript?format=docx")
        assert (wrong.status, wrong.json()["field"]) == (400, "format")
        unknown = await call(edge.asgi_app, "GET", "/v1/sessions/s/transcript")
        assert (unknown.status, unknown.json()["code"]) == (404, "session_not_found")


async def test_a_plugin_that_raises_anything_costs_a_line_and_no_node(
    open_node: OpenNode, speech: list[bytes]
) -> None:
    pen = ready()
    pen.breaks = RuntimeError("a defect of the plugin")
    async with open_node(transcriber=pen, retry_initial=0.001, retry_max=0.002) as edge:
        await speak(edge, "s", speech)
        await written_of(edge, "s", at_least=2)
        written = await events_of(edge, "s", "transcript", "transcript_failed")
        assert [w["type"] for w in written[:2]] == ["transcript_failed", "transcript"]
        assert (written[0]["failure"], written[0]["detail"]) == ("broken", "RuntimeError")
        await speak(edge, "another", speech[:1])


async def test_audio_that_can_t_be_read_costs_its_line(
    open_node: OpenNode, speech: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged object is told by its decoder, which raises what it likes."""
    async with open_node(transcriber=ready(), retry_initial=0.001, retry_max=0.002) as edge:
        assert edge.parts.desk is not None

        async def damaged(*_: Any) -> bytes:
            raise ValueError("not a FLAC")

        monkeypatch.setattr(edge.parts.desk, "read", damaged)
        await speak(edge, "s", speech)
        await written_of(edge, "s", at_least=2)
        written = await events_of(edge, "s", "transcript", "transcript_failed")
        assert {w["detail"] for w in written} == {"the audio: ValueError"}


async def test_a_full_queue_is_not_filled_up_again_and_again(
    open_node: OpenNode, speech: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has no room waits in the catalog, and idle workers let it."""
    monkeypatch.setattr(transcription_desk, "MAX_WAITING", 2)
    pen = Stenographer()
    async with open_node(transcriber=pen, transcription_concurrency=2) as edge:
        looks = 0
        look = edge.parts.catalog.untranscribed

        async def counted(**more: Any) -> Any:
            nonlocal looks
            looks += 1
            return await look(**more)

        monkeypatch.setattr(edge.parts.catalog, "untranscribed", counted)
        await speak(edge, "s", speech * 3)

        async def all_heard() -> bool:
            return len(await edge.parts.catalog.untranscribed(limit=100)) > 4

        await until(all_heard)
        looks = 0
        await trio.sleep(0.05)  # workers that look again do it hundreds of times
        assert looks <= 1
        pen.go_on.set()

        async def nothing_waits() -> bool:
            return not await look(limit=1)

        await until(nothing_waits)
        ended = await events_of(edge, "s", "speech_ended")
        assert len(await events_of(edge, "s", "transcript")) == len(ended)


class Answering(Stenographer):
    """Its answers may be anything."""

    def __init__(self, *found: Any) -> None:
        super().__init__()
        self.found = list(found)

    async def transcribe(self, pcm: bytes, **_: Any) -> Any:
        self.asked.append(pcm)
        await trio.lowlevel.checkpoint()
        answer = self.found.pop(0) if self.found else Transcript("well")
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    "found",
    [
        "a text",
        None,
        Transcript(7),  # type: ignore[arg-type]
        Transcript(None),  # type: ignore[arg-type]
        Transcript("half a character \udc80"),
        Transcript("text", "\udc80"),
        Transcript("text", "en", float("nan")),
        Transcript("text", "en", "quick"),  # type: ignore[arg-type]
    ],
)
async def test_an_answer_that_is_no_transcript_is_a_failure_and_ends_nothing(
    open_node: OpenNode, speech: list[bytes], found: Any
) -> None:
    pen = Answering(found)
    async with open_node(transcriber=pen, retry_initial=0.001) as edge:
        await speak(edge, "s", speech)
        await written_of(edge, "s")
        (first, *_) = await events_of(edge, "s", "transcript")
        assert first["text"] == "well"
        assert pen.asked[0] == pen.asked[1]


async def test_an_odd_figure_of_a_transcript_is_kept_as_a_number(
    open_node: OpenNode, speech: list[bytes]
) -> None:
    pen = Answering(Transcript("text", "en", np.float32(2.5)))  # type: ignore[arg-type]
    async with open_node(transcriber=pen) as edge:
        await speak(edge, "s", speech)
        await written_of(edge, "s")
        assert (await events_of(edge, "s", "transcript"))[0]["fetch_ms"] == 2.5


@pytest.mark.parametrize("asked", [float("nan"), -1.0])
async def test_a_pause_that_is_none_is_not_made(
    open_node: OpenNode, speech: list[bytes], asked: float
) -> None:
    pen = Answering(TranscriptionFailed(Failure.BUSY, "no", retry_after=asked))
    async with open_node(transcriber=pen, retry_initial=0.001) as edge:
        await speak(edge, "s", speech)
        await written_of(edge, "s")


async def test_a_provider_that_breaks_for_everybody_costs_no_line(
    open_node: OpenNode, speech: list[bytes]
) -> None:
    """An outage of 5xx, say: a second of silence breaks it as well, so that no utterance is at fault."""
    pen = Answering(*[TranscriptionFailed(Failure.BROKEN, "502")] * (4 * MAX_BROKEN))
    async with open_node(transcriber=pen, retry_initial=0.001, retry_max=0.002) as edge:
        await speak(edge, "s", speech)
        await written_of(edge, "s")
        assert await events_of(edge, "s", "transcript_failed") == []
        assert bytes(CHUNK_BYTES) in pen.asked


async def test_a_provider_that_is_left_alone_says_nothing_of_the_utterance_that_waits(
    open_node: OpenNode, speech: list[bytes]
) -> None:
    """A breaker that opens after the probe, by another's call: this utterance wasn't tried again."""
    broken = TranscriptionFailed(Failure.BROKEN, "502")
    untried = TranscriptionFailed(Failure.BROKEN, "502", tried=False)
    pen = Answering(*[broken] * MAX_BROKEN, Transcript(""), *[untried] * 3)
    async with open_node(transcriber=pen, retry_initial=0.001, retry_max=0.002) as edge:
        await speak(edge, "s", speech)
        await written_of(edge, "s")
        assert await events_of(edge, "s", "transcript_failed") == []


async def test_a_store_that_goes_away_after_a_break_is_waited_for_and_nobody_probed(
    open_node: OpenNode, speech: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    pen = ready()
    pen.breaks = TranscriptionFailed(Failure.BROKEN, "garbage")
    async with open_node(transcriber=pen, retry_initial=0.001, retry_max=0.002) as edge:
        desk = edge.parts.desk
        assert desk is not None
        read, reads = desk.read, 0

        async def away(*which: Any) -> bytes:
            nonlocal reads
            reads += 1
            if reads > MAX_BROKEN:
                raise BackendUnavailable("away")
            return await read(*which)

        monkeypatch.setattr(desk, "read", away)
        await speak(edge, "s", speech)

        async def tried_on() -> bool:
            return reads > 3 * MAX_BROKEN

        await until(tried_on)
        assert pen.asked.count(bytes(CHUNK_BYTES)) == 1


async def test_what_didn_t_fit_into_memory_keeps_its_order(
    open_node: OpenNode, speech: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcription_desk, "MAX_WAITING", 4)
    turns = trio.Semaphore(0)

    class InTurns(Stenographer):
        async def transcribe(self, pcm: bytes, **_: Any) -> Transcript:
            await turns.acquire()
            return Transcript("text")

    async with open_node(transcriber=InTurns(), transcription_concurrency=1) as edge:
        await speak(edge, "s", speech[:1])
        catalog, desk = edge.parts.catalog, edge.parts.desk
        assert desk is not None

        async def hear(number: int) -> None:
            utterance = Utterance("mixed", number, 0, 16_000)
            await catalog.append_events("s", [], at=1, heard=[utterance])
            desk.heard("s", [utterance])

        for number in range(1, 7):
            await hear(number)
        assert desk.waiting("s") == 4  # the others stay in the catalog
        turns.release()

        async def room() -> bool:
            return desk.waiting("s") < 4

        await until(room)
        await hear(7)
        for _ in range(7):
            turns.release()

        async def nothing_waits() -> bool:
            return not await catalog.untranscribed(limit=1)

        await until(nothing_waits)
        order = [event["utterance"] for event in await events_of(edge, "s", "transcript")]
        assert order == list(range(1, 8))
