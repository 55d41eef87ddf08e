"""Who spoke, found out by itself: each utterance that is long enough, and names in the lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from asgi_calls import call
from inference_api import answer_of
from interview_edge.app import Edge
from interview_edge.errors import INFERENCE_FAILED, EdgeError
from nodes import OpenNode, connect
from stenographer import ready


@attrs.define(eq=False)
class Voices:
    """A speaker model: every utterance is of cluster c1, whose name is known from the second one on."""

    provider: str = "voices"
    asked: list[Mapping[str, Any]] = attrs.field(factory=list)
    failures: int = 0

    async def resolve(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(request)
        await trio.lowlevel.checkpoint()
        if len(self.asked) <= self.failures:
            raise EdgeError(INFERENCE_FAILED)
        name = "Ann" if len(self.asked) > 1 else None
        answer = answer_of("c1", speaker_name=name, decision="auto" if name else "unknown")
        answer["updated_state"]["bindings"] = {"c1": name} if name else {}
        return answer


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
    voices = Voices()
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
    voices = Voices()
    async with open_node(transcriber=ready(), inference=voices) as edge:
        await speak(edge, speech)
        assert await lines(edge)
        assert voices.asked == []


async def test_a_model_that_fails_costs_a_name_and_no_line(open_node: OpenNode, speech: list[bytes]) -> None:
    voices = Voices(failures=1)
    async with open_node(transcriber=ready(), inference=voices) as edge:
        await speak(edge, speech * 2, resolve=True)
        written = await lines(edge)
        long_enough = [line for line in written if line["end_ms"] - line["start_ms"] >= 1_500]
        events = await resolved(edge, len(long_enough) - 1)
        assert events[0]["utterance"] == long_enough[1]["utterance"]
        assert len(await lines(edge)) == len(written)


async def test_a_model_that_raises_anything_ends_no_session(open_node: OpenNode, speech: list[bytes]) -> None:
    class Defective(Voices):
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
