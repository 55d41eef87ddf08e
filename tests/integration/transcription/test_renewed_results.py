"""result.json of a session whose lines came late: written anew by itself once they are there, with names."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from asgi_calls import call
from browser_clients import recording
from interview_edge.app import Edge
from interview_edge.backends.memory import MemoryBackend
from interview_edge.core.declared_utterances import VadState
from interview_edge.core.models import NewEvent
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.sessions import transcription_desk
from interview_edge.sessions.session import Session
from interview_edge.speech.transcriber import Failure, Transcript, TranscriptionFailed
from interview_edge.testing import FaultyBackend
from named_voice import NamedVoice
from nodes import ChannelPeer, Gate, OpenNode, connect, nodes_in, second
from speaking import events_of, speak, until, written_of
from stenographer import Stenographer, ready

SILENCE = bytes(CHUNK_BYTES)
HASTY = {"transcription_wait": 0.02, "retry_max": 0.01}


async def result_of(edge: Edge) -> dict[str, Any]:
    answer = await call(edge.asgi_app, "GET", "/v1/sessions/s/result")
    found: dict[str, Any] = answer.json()
    return found


async def finalize(edge: Edge, **body: Any) -> None:
    answer = await call(edge.asgi_app, "POST", "/v1/sessions/s/finalize", body=body)
    assert answer.status == 200


async def renewed(edge: Edge) -> dict[str, Any]:
    async def whole() -> bool:
        return (await result_of(edge))["transcript_waiting"] == 0

    await until(whole)
    return await result_of(edge)


async def test_lines_that_came_after_the_finalize_are_in_the_result(
    open_node: OpenNode, speech: list[bytes]
) -> None:
    pen = Stenographer()
    async with open_node(transcriber=pen, **HASTY) as edge:
        await speak(edge, "s", speech)
        await finalize(edge, metadata={"title": "kept"})
        early = await result_of(edge)
        assert early["transcript"] == []
        assert early["transcript_waiting"] > 1
        pen.go_on.set()
        late = await renewed(edge)
        assert len(late["transcript"]) == early["transcript_waiting"]
        assert late["metadata"] == {"title": "kept"}

        async def noted() -> bool:
            return not await edge.parts.catalog.results_to_renew(limit=10)

        await until(noted)


async def test_after_a_restart_too_and_with_who_spoke(tmp_path: Path, speech: list[bytes]) -> None:
    """The session isn't open any more, and only its utterances know that it wanted names."""
    async with nodes_in(tmp_path)(transcriber=Stenographer(), inference=NamedVoice(), **HASTY) as edge:
        async with connect(edge, "s") as client:
            await client.hello(resolve=True)
            for seq, pcm in enumerate(speech, 1):
                await client.send_chunk(seq, pcm)
            await client.answers(len(speech))
        await finalize(edge)
    async with nodes_in(tmp_path)(transcriber=ready(), inference=NamedVoice(), **HASTY) as edge:
        late = await renewed(edge)
        long_enough = [line for line in late["transcript"] if line["end_ms"] - line["start_ms"] >= 1_500]
        assert len(long_enough) > 1

        async def named() -> bool:
            lines = (await result_of(edge))["transcript"]
            return all(line["speaker"] == "Ann" for line in lines if line["utterance"] in numbers)

        numbers = {line["utterance"] for line in long_enough}
        await until(named)


async def test_what_a_crash_left_undone_is_done_at_the_start(tmp_path: Path, speech: list[bytes]) -> None:
    """The last line was committed, and the result wasn't written anew."""
    async with nodes_in(tmp_path)(transcriber=Stenographer(), **HASTY) as edge:
        await speak(edge, "s", speech)
        await finalize(edge)
        waiting = await edge.parts.catalog.untranscribed(limit=100)
        for _, utterance in waiting:
            body = {"utterance": utterance.number, "start_ms": 0, "end_ms": 1, "text": "found"}
            line = NewEvent(1, "transcript", body, utterance.stream)
            await edge.parts.catalog.append_events("s", [line], at=1, written=[utterance])
        assert await edge.parts.catalog.results_to_renew(limit=10) == ["s"]
    async with nodes_in(tmp_path)(transcriber=ready(), **HASTY) as edge:
        late = await renewed(edge)
        assert [line["text"] for line in late["transcript"]] == ["found"] * len(waiting)


async def test_a_store_that_is_away_is_tried_again(open_node: OpenNode, speech: list[bytes]) -> None:
    pen, store = Stenographer(), FaultyBackend(MemoryBackend())
    async with open_node(transcriber=pen, backend=store, **HASTY) as edge:
        await speak(edge, "s", speech)
        await finalize(edge)
        puts = store.calls["put"]
        store.outage = True
        pen.go_on.set()

        async def tried_twice() -> bool:
            return store.calls["put"] >= puts + 2

        await until(tried_twice)
        store.outage = False
        assert (await renewed(edge))["transcript"]


@pytest.mark.parametrize("delay", [0.0, 0.05])
async def test_a_finalize_waits_for_names_as_for_lines(
    open_node: OpenNode, speech: list[bytes], delay: float
) -> None:
    class Slow(NamedVoice):
        async def resolve(self, request: Any) -> Any:
            await trio.sleep(delay)
            return await super().resolve(request)

    async with (
        open_node(transcriber=ready(), inference=Slow(), auto_resolve=True) as edge,
        edge.session("s") as session,
    ):
        for seq, pcm in enumerate(speech * 2, 1):
            await session.feed(pcm, seq=seq)
        await session.finalize()
        lines = (await result_of(edge))["transcript"]
        names = {line["speaker"] for line in lines if line["end_ms"] - line["start_ms"] >= 1_500}
        assert names == {"Ann"}
        assert len(await events_of(edge, "s", "resolve")) > 1


async def test_the_last_line_may_be_given_up(open_node: OpenNode, speech: list[bytes]) -> None:
    class BreaksOnSpeech(Stenographer):
        async def transcribe(self, pcm: bytes, **hints: Any) -> Transcript:
            if any(pcm):
                await self.go_on.wait()
                raise TranscriptionFailed(Failure.BROKEN, "no")
            return Transcript("")

    pen = BreaksOnSpeech()
    async with open_node(transcriber=pen, retry_initial=0.001, **HASTY) as edge:
        await speak(edge, "s", speech)
        await finalize(edge)
        assert (await result_of(edge))["transcript_waiting"] > 1
        pen.go_on.set()
        failed = [each for each in (await renewed(edge))["events"] if each["type"] == "transcript_failed"]
        assert len(failed) > 1


async def test_lines_that_come_while_the_result_is_put(
    open_node: OpenNode, speech: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    pen, store = Stenographer(), MemoryBackend()
    async with open_node(transcriber=pen, backend=store, **HASTY) as edge:
        await speak(edge, "s", speech)
        await edge.parts.archive.flush("s")
        put = Gate(store, "put", monkeypatch)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(finalize, edge)
            await put.reached.wait()
            pen.go_on.set()
            await written_of(edge, "s")
            put.go_on.set()
        assert (await renewed(edge))["transcript"]


async def test_lines_that_come_while_the_events_are_read(
    open_node: OpenNode, speech: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    pen = Stenographer()
    async with open_node(transcriber=pen, **HASTY) as edge:
        await speak(edge, "s", speech)
        look, reached, go_on = edge.parts.catalog.events, trio.Event(), trio.Event()

        async def held(*args: Any, **more: Any) -> Any:
            found = await look(*args, **more)
            if not found and not reached.is_set():
                reached.set()
                await go_on.wait()
            return found

        monkeypatch.setattr(edge.parts.catalog, "events", held)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(finalize, edge)
            await reached.wait()
            pen.go_on.set()
            await written_of(edge, "s")
            go_on.set()
        written_lines = len(await events_of(edge, "s", "transcript"))

        async def all_there() -> bool:
            return len((await result_of(edge))["transcript"]) == written_lines

        await until(all_there)


async def test_lines_that_no_memory_holds_are_counted(
    open_node: OpenNode, speech: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcription_desk, "MAX_WAITING", 1)
    pen = Stenographer()
    async with open_node(transcriber=pen, **HASTY) as edge:
        await speak(edge, "other", speech)
        await speak(edge, "s", speech)
        await finalize(edge)
        waiting = await edge.parts.catalog.count_untranscribed("s")
        assert (await result_of(edge))["transcript_waiting"] == waiting > 1
        shown = (await call(edge.asgi_app, "GET", "/v1/sessions/s/transcript")).json()
        assert shown["waiting"] == waiting
        pen.go_on.set()
        assert len((await renewed(edge))["transcript"]) == waiting


async def test_a_client_s_own_line_that_is_late(open_node: OpenNode) -> None:
    pen = Stenographer()
    async with open_node(transcriber=pen, **HASTY) as edge, recording(edge) as client:
        await client.start("s")
        await client.audio(second(1), VadState.START)
        await client.audio(second(2), VadState.END)
        await client.end()
        await finalize(edge)
        assert (await result_of(edge))["transcript_waiting"] == 1
        pen.go_on.set()
        assert len((await renewed(edge))["transcript"]) == 1


async def test_a_renewal_cuts_nobody_who_speaks(
    open_node: OpenNode, speech: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    pen = Stenographer()
    async with open_node(transcriber=pen, **HASTY) as edge, connect(edge, "s") as client:
        await record_on(edge, client, speech)
        looks = count_looks(edge, monkeypatch)
        pen.go_on.set()

        async def looked_twice() -> bool:
            return looks() >= 2

        await until(looked_twice)
        assert await cut_short(edge) == 1  # by the finalize


@pytest.mark.parametrize("inference", [None, NamedVoice()], ids=["lines", "lines and names"])
async def test_nor_does_one_after_a_crash(
    tmp_path: Path, speech: list[bytes], monkeypatch: pytest.MonkeyPatch, inference: NamedVoice | None
) -> None:
    """The node opens the session for it, and closes it: who spoke comes back and goes on."""
    parts = {"inference": inference, "auto_resolve": inference is not None}
    await crash_in_speech(tmp_path, speech, **parts)
    pen = Stenographer()
    async with nodes_in(tmp_path / "after")(transcriber=pen, **parts, **HASTY) as edge:
        looks = count_looks(edge, monkeypatch)
        pen.go_on.set()

        async def looked_twice() -> bool:
            return looks() >= 2 and edge.registry.ended >= 2 and not len(edge.registry)

        await until(looked_twice)
        assert await cut_short(edge) == 1
        async with connect(edge, "s") as client:
            next_seq = (await client.hello())["next_seq"]
            for seq in range(next_seq, next_seq + 2):
                await client.send_chunk(seq, SILENCE)
            await client.answers(2)
            assert (await renewed(edge))["transcript"]
        assert await cut_short(edge) == 1


async def test_who_is_gone_for_good_has_the_whole_record_in_the_end(
    tmp_path: Path, speech: list[bytes]
) -> None:
    await crash_in_speech(tmp_path, speech)
    settings = {"session_idle_timeout": 0.01, **HASTY}
    async with nodes_in(tmp_path / "after")(transcriber=ready(), **settings) as edge:
        result = await renewed(edge)
        assert await cut_short(edge) == 2
        ended = await events_of(edge, "s", "speech_ended")
        assert [line["end_ms"] for line in result["transcript"]] == [each["end_ms"] for each in ended]


async def test_silence_that_was_not_heard_at_the_crash_holds_up_no_result(
    tmp_path: Path, speech: list[bytes]
) -> None:
    """The ear's position is kept once a minute where nothing happens."""
    async with nodes_in(tmp_path / "before")(transcriber=Stenographer(), **HASTY) as edge:
        async with connect(edge, "s") as client:
            await record(edge, client, speech)
            await finalize(edge)
            await record(edge, client, [SILENCE] * 3)
        shutil.copytree(tmp_path / "before", tmp_path / "after")
    async with nodes_in(tmp_path / "after")(transcriber=ready(), **HASTY) as edge:
        assert (await renewed(edge))["transcript"]


async def record(edge: Edge, client: ChannelPeer, seconds: list[bytes]) -> Session:
    """Have these heard, behind what is held."""
    await client.status()  # the session is open then
    session = edge.registry.live("s")
    assert session is not None
    first = session.stream("mixed").ledger.last_seq + 1
    for seq, pcm in enumerate(seconds, first):
        await client.send_chunk(seq, pcm)
    await client.answers(len(seconds))

    async def heard() -> bool:
        return bool(session.vad_positions()) and session.vad_behind_seconds == 0

    await until(heard)
    return session


async def record_on(edge: Edge, client: ChannelPeer, speech: list[bytes]) -> None:
    """A recording with a result whose lines are missing, that goes on in the middle of an utterance."""
    await record(edge, client, speech[:-3])
    await finalize(edge)
    assert await cut_short(edge) == 1
    for pcm in speech:
        session = await record(edge, client, [pcm])
        if session.open_utterances():
            return
    raise AssertionError("nobody speaks")


async def crash_in_speech(folder: Path, speech: list[bytes], **parts: Any) -> None:
    """`after` is the disk of a node that crashed in the middle of an utterance."""
    async with (
        nodes_in(folder / "before")(transcriber=Stenographer(), **parts, **HASTY) as edge,
        connect(edge, "s") as client,
    ):
        await record_on(edge, client, speech)
        shutil.copytree(folder / "before", folder / "after")


async def cut_short(edge: Edge) -> int:
    """How many utterances were ended in the middle."""
    return [each["reason"] for each in await events_of(edge, "s", "speech_ended")].count("stream_end")


async def test_renewals_leave_room_for_those_who_come(tmp_path: Path, speech: list[bytes]) -> None:
    async with nodes_in(tmp_path)(transcriber=Stenographer(), **HASTY) as edge:
        for number in range(4):
            await speak(edge, f"s{number}", speech)
            answer = await call(edge.asgi_app, "POST", f"/v1/sessions/s{number}/finalize", body={})
            assert answer.status == 200
    async with nodes_in(tmp_path)(transcriber=ready(), max_sessions=3, **HASTY) as edge:

        async def all_renewed() -> bool:
            waiting = await edge.parts.catalog.untranscribed(limit=1)
            return not waiting and not await edge.parts.catalog.results_to_renew(limit=1)

        await until(all_renewed)

        async def closed_again() -> bool:
            return len(edge.registry) == 0

        await until(closed_again)


async def test_no_session_is_opened_for_it_where_there_is_no_room_to_spare(
    tmp_path: Path, speech: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with nodes_in(tmp_path)(transcriber=Stenographer(), **HASTY) as edge:
        await speak(edge, "s", speech)
        await finalize(edge)
    pen = Stenographer()
    full = {"max_sessions": 5, "session_idle_timeout": 0.02}
    async with nodes_in(tmp_path)(transcriber=pen, **full, **HASTY) as edge:
        async with AsyncExitStack() as held:
            for session_id in "abcd":
                await held.enter_async_context(edge.session(session_id))
            looks = count_looks(edge, monkeypatch)
            pen.go_on.set()
            await written_of(edge, "s")

            async def looked_twice() -> bool:
                return looks() >= 2

            await until(looked_twice)
            assert {session.session_id for session in edge.registry} == set("abcd")
        await renewed(edge)


async def test_a_name_that_is_found_after_the_finalize_is_in_the_result(
    open_node: OpenNode, speech: list[bytes]
) -> None:
    gates = [trio.Event(), trio.Event()]

    class Gated(NamedVoice):
        async def resolve(self, request: Any) -> Any:
            await gates[min(len(self.asked), 1)].wait()
            return await super().resolve(request)

    settings = {"auto_resolve": True, "transcription_wait": 0.01}
    async with (
        open_node(transcriber=ready(), inference=Gated(), **settings) as edge,
        edge.session("s") as session,
    ):
        for seq, pcm in enumerate(speech * 2, 1):
            await session.feed(pcm, seq=seq)
        live = edge.registry.live("s")
        assert live is not None
        await live.settle()

        async def several_wait() -> bool:
            return live.names.count > 1

        await until(several_wait)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.finalize)
            await trio.testing.wait_all_tasks_blocked(0.05)
            gates[0].set()

        def names(result: dict[str, Any]) -> set[str | None]:
            lines = result["transcript"]
            return {line["speaker"] for line in lines if line["end_ms"] - line["start_ms"] >= 1_500}

        assert names(await result_of(edge)) == {None}
        gates[1].set()

        async def named() -> bool:
            return names(await result_of(edge)) == {"Ann"}

        await until(named)


def count_looks(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often results to renew were looked for and there were some."""
    look, found = edge.parts.catalog.results_to_renew, []

    async def counted(**more: Any) -> Any:
        page = await look(**more)
        if page:
            found.append(page)
        return page

    monkeypatch.setattr(edge.parts.catalog, "results_to_renew", counted)
    return lambda: len(found)
