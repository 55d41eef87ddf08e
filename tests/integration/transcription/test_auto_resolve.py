"""Who spoke, found out by itself: each utterance that is long enough, and names in the lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import trio
import trio.testing

from asgi_calls import call
from browser_clients import recording
from interview_edge.app import Edge
from interview_edge.core.declared_utterances import VadState
from named_voice import NamedVoice
from nodes import Gate, OpenNode, connect, second
from stenographer import Stenographer, ready

AUDIO = b"".join(second(seq) for seq in range(1, 4))


async def speak(edge: Edge, speech: list[bytes], **hello: Any) -> None:
    async with connect(edge, "s") as client:
        assert (await client.hello(**hello))["type"] == "ready"
        for seq, pcm in enumerate(speech, 1):
            await client.send_chunk(seq, pcm)
        await client.answers(len(speech))
        async with edge.session("s") as session:
            await session.finalize()


async def resolved(edge: Edge, count: int) -> list[dict[str, Any]]:
    with trio.fail_after(20):
        while True:
            found = await edge.parts.catalog.events("s", limit=1_000, types=["resolve"])
            if len(found) >= count:
                return [event.to_wire() for event in found]
            await trio.sleep(0.002)


async def lines(edge: Edge) -> list[dict[str, Any]]:
    answer = await call(edge.asgi_app, "GET", "/v1/sessions/s/transcript")
    found: list[dict[str, Any]] = answer.json()["lines"]
    return found


@pytest.mark.parametrize("asked_by", ["hello", "setting"])
async def test_lines_take_the_name_that_is_found_later(
    open_node: OpenNode, speech: list[bytes], asked_by: str
) -> None:
    voices = NamedVoice()
    by_setting = {"auto_resolve": True} if asked_by == "setting" else {}
    async with open_node(transcriber=ready(), inference=voices, **by_setting) as edge:
        await speak(edge, speech * 2, resolve=asked_by == "hello")
        written = await lines(edge)
        long_enough = [line for line in written if line["end_ms"] - line["start_ms"] >= 1_500]
        assert len(long_enough) > 1
        events = await resolved(edge, len(long_enough))
        assert [(event["stream"], event["utterance"]) for event in events] == [
            ("mixed", line["utterance"]) for line in long_enough
        ]
        assert events[0]["speaker_name"] is None
        assert {line["speaker"] for line in await lines(edge) if line in long_enough or line["speaker"]} == {
            "Ann"
        }
        assert [request["asr_text"] for request in voices.asked] == [line["text"] for line in long_enough]
        assert voices.asked[0]["audio"]["format"] == "wav"
        async with edge.session("s") as session:
            await session.finalize()
        result = (await call(edge.asgi_app, "GET", "/v1/sessions/s/result")).json()
        assert result["transcript"] == await lines(edge)


async def test_nobody_is_asked_who_speaks_unless_somebody_wants_it(
    open_node: OpenNode, speech: list[bytes]
) -> None:
    voices = NamedVoice()
    async with open_node(transcriber=ready(), inference=voices) as edge:
        await speak(edge, speech)
        assert await lines(edge)
        assert voices.asked == []


async def test_a_model_that_fails_costs_a_name_and_no_line(open_node: OpenNode, speech: list[bytes]) -> None:
    voices = NamedVoice(failures=1)
    async with open_node(transcriber=ready(), inference=voices) as edge:
        await speak(edge, speech * 2, resolve=True)
        written = await lines(edge)
        long_enough = [line for line in written if line["end_ms"] - line["start_ms"] >= 1_500]
        events = await resolved(edge, len(long_enough) - 1)
        assert events[0]["utterance"] == long_enough[1]["utterance"]
        assert len(await lines(edge)) == len(written)


async def test_a_model_that_raises_anything_ends_no_session(open_node: OpenNode, speech: list[bytes]) -> None:
    class Defective(NamedVoice):
        async def resolve(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
            self.asked.append(request)
            raise RuntimeError("a defect of the plugin")

    voices = Defective()
    async with open_node(transcriber=ready(), inference=voices) as edge, connect(edge, "s") as client:
        await client.hello(resolve=True)
        for seq, pcm in enumerate(speech, 1):
            await client.send_chunk(seq, pcm)
        await client.answers(len(speech))
        session = edge.registry.live("s")
        with trio.fail_after(20):
            while not voices.asked:
                await trio.sleep(0.002)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert edge.registry.live("s") is session
        await client.send_chunk(len(speech) + 1)
        assert (await client.answer())["status"] == "stored"


async def test_a_client_s_own_utterances_are_resolved_too(open_node: OpenNode) -> None:
    """Each recording numbers them from 1: a name is that of one of them, and not of all with its number."""
    voices = NamedVoice()
    async with (
        open_node(transcriber=ready(), inference=voices, auto_resolve=True) as edge,
        recording(edge) as client,
    ):
        for ends_at in (2_000, 1_200):
            await client.start("s")
            await client.audio(AUDIO[:32_000], VadState.START)
            await client.audio(AUDIO[32_000 : ends_at * 32], VadState.END)
            await client.end()
        (event,) = await resolved(edge, 1)
        long, short = await lines(edge)
        assert (long["utterance"], short["utterance"]) == (1, 1)
        written = await edge.parts.catalog.events("s", limit=1_000, types=["transcript"])
        assert event["utterance_id"] == written[0].body["utterance_id"]
        async with edge.session("s") as session:
            await session.finalize()
        assert len(voices.asked) == 1
        assert voices.asked[0]["asr_text"] == f"{2_000 * 32} bytes"


async def test_a_name_is_that_of_one_recording_s_utterance(open_node: OpenNode) -> None:
    class NamesTheSecond(NamedVoice):
        async def resolve(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
            answer = dict(await super().resolve(request))
            answer["cluster_id"] = f"c{len(self.asked)}"
            answer["updated_state"]["bindings"] = {"c2": "Ann"}
            return answer

    async with (
        open_node(transcriber=ready(), inference=NamesTheSecond(), auto_resolve=True) as edge,
        recording(edge) as client,
    ):
        for _ in range(2):
            await client.start("s")
            await client.audio(AUDIO[:32_000], VadState.START)
            await client.audio(AUDIO[32_000:64_000], VadState.END)
            await client.end()
        await resolved(edge, 2)
        assert [line["speaker"] for line in await lines(edge)] == [None, "Ann"]


async def test_a_finalize_waits_for_one_resolve_at_most(open_node: OpenNode, speech: list[bytes]) -> None:
    """Others of the session wait behind it, and hang for good."""
    go_on = trio.Event()

    class Hanging(NamedVoice):
        async def resolve(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
            if self.asked:
                self.asked.append(request)
                await trio.sleep_forever()
            answer = await super().resolve(request)
            await go_on.wait()
            return answer

    settings = {"auto_resolve": True, "transcription_wait": 0.01}
    async with (
        open_node(transcriber=ready(), inference=Hanging(), **settings) as edge,
        edge.session("s") as session,
    ):
        for seq, pcm in enumerate(speech * 2, 1):
            await session.feed(pcm, seq=seq)
        live = edge.registry.live("s")
        assert live is not None
        with trio.fail_after(20):
            await live.settle()
            while live.names.count < 2:
                await trio.sleep(0.002)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.finalize)
                await trio.testing.wait_all_tasks_blocked(0.05)
                go_on.set()


async def test_an_utterance_that_another_wrote_is_not_resolved_again(
    open_node: OpenNode, speech: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of the catalog is in hand while its utterances are written."""
    pen = Stenographer()
    async with open_node(transcriber=pen, inference=NamedVoice(), auto_resolve=True) as edge:
        desk = edge.parts.desk
        assert desk is not None
        async with edge.session("s") as session:
            for seq, pcm in enumerate(speech, 1):
                await session.feed(pcm, seq=seq)
            live = edge.registry.live("s")
            assert live is not None
            await live.settle()
            page = Gate(edge.parts.catalog, "untranscribed", monkeypatch)
            desk.look_again()
            await page.reached.wait()
            pen.go_on.set()
            with trio.fail_after(20):
                await desk.written("s")
                await live.names.wait()
                page.go_on.set()
                await trio.testing.wait_all_tasks_blocked(0.02)
                await desk.written("s")
                await live.names.wait()
        found = [event["utterance"] for event in await resolved(edge, 1)]
        assert len(found) == len(set(found))
