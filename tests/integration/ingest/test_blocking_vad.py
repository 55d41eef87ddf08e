"""A VAD that blocks runs in the node's threads: the same events, in order; cancelled, broken or hung it loses
and doubles none, and delays no ack.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
import trio
import trio.testing

from asgi_calls import call
from interview_edge.app import Edge
from interview_edge.core.pcm import CHUNK_BYTES, CHUNK_SAMPLES
from interview_edge.core.utterances import SpeechEnded
from interview_edge.sessions.session import Session
from interview_edge.speech.pipeline import StreamVad
from interview_edge.speech.vad import VadProvider
from interview_edge.testing.vads import demo_speech
from loudness import HeldVads, LoudnessVad, LoudnessVads
from nodes import PATIENCE, OpenNode, connect, nodes_in

SILENCE = bytes(CHUNK_BYTES)


@pytest.fixture
def open_node(tmp_path: Path) -> OpenNode:
    return nodes_in(tmp_path)


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """What was logged, not rendered: a traceback takes structlog's default a second."""
    with structlog.testing.capture_logs() as logs:
        yield logs


@pytest.fixture(scope="module")
def speech() -> list[bytes]:
    """Eleven seconds: the demo's recording, the last one silent."""
    pcm = demo_speech()
    return [pcm[at : at + CHUNK_BYTES] for at in range(0, 10 * CHUNK_BYTES, CHUNK_BYTES)] + [SILENCE]


def expected(seconds: list[bytes]) -> list[tuple[str, int, int]]:
    """Kind, utterance, sample of each event, of these seconds heard in one go."""
    ear = StreamVad(LoudnessVad())
    found = [event for pcm in seconds for event in ear.hear(pcm)] + ear.flush()
    return [
        ("speech_ended", event.utterance_no, event.end_sample)
        if isinstance(event, SpeechEnded)
        else ("speech_started", event.utterance_no, event.start_sample)
        for event in found
    ]


async def told(edge: Edge, session_id: str = "s") -> list[tuple[str, int, int]]:
    events = [event.to_wire() for event in await edge.parts.catalog.events(session_id, limit=1000)]
    return [
        (e["type"], e["utterance"], e["end_sample" if e["type"] == "speech_ended" else "start_sample"])
        for e in events
        if e["type"].startswith("speech_")
    ]


async def until(reached: Callable[[], Any]) -> None:
    with trio.fail_after(PATIENCE):
        while not reached():
            await trio.sleep(0.001)


def live(edge: Edge, session_id: str = "s") -> Session:
    found = edge.registry.live(session_id)
    assert found is not None
    return found


def admit(session: Session, seconds: list[bytes]) -> None:
    """Let the session hold these seconds without a wake: only a settle hears them."""
    stream = session.stream("mixed")
    for seq, pcm in enumerate(seconds, 1):
        stream.show(seq, pcm)
        stream.ledger.admit(seq, at=1)


@asynccontextmanager
async def spoken(
    open_node: OpenNode, vad: VadProvider, seconds: list[bytes], **more: Any
) -> AsyncIterator[Edge]:
    """A node whose session `s` was sent these seconds; each was acked."""
    async with open_node(vad=vad, retry_initial=0.001, **more) as edge, connect(edge, "s") as client:
        for seq, pcm in enumerate(seconds, 1):
            await client.send_chunk(seq, pcm)
        assert {answer["status"] for answer in await client.answers(len(seconds))} == {"stored"}
        yield edge


@pytest.mark.parametrize("workers", [0, 1, 3])
async def test_events_are_the_same_inline_and_in_threads(
    open_node: OpenNode, speech: list[bytes], workers: int
) -> None:
    assert len(expected(speech)) >= 6
    async with spoken(open_node, LoudnessVads(workers), speech) as edge:
        await live(edge).settle()
        assert await told(edge) == expected(speech)


async def test_many_streams_share_the_threads_and_each_is_heard_in_order(
    open_node: OpenNode, speech: list[bytes]
) -> None:
    async with open_node(vad=LoudnessVads(2)) as edge, trio.open_nursery() as nursery:

        async def speak(session_id: str) -> None:
            async with connect(edge, session_id) as client:
                for seq, pcm in enumerate(speech, 1):
                    await client.send_chunk(seq, pcm)
                await client.answers(len(speech))
                await live(edge, session_id).settle()
            assert await told(edge, session_id) == expected(speech)

        for n in range(6):
            nursery.start_soon(speak, str(n))


async def test_a_gap_is_silence(open_node: OpenNode, speech: list[bytes]) -> None:
    heard = [*speech[:3], SILENCE, SILENCE, *speech[5:]]
    async with open_node(vad=LoudnessVads(), vad_gap_wait=0.0) as edge, connect(edge, "s") as client:
        for seq, pcm in enumerate(heard, 1):
            if seq not in (4, 5):
                await client.send_chunk(seq, pcm)
                await client.answer()
        await live(edge).settle()
        assert await told(edge) == expected(heard)


@pytest.mark.parametrize("hold_at", [1, 2, 7])
async def test_a_settle_that_is_cut_off_inside_a_second_loses_and_doubles_nothing(
    open_node: OpenNode, speech: list[bytes], hold_at: int
) -> None:
    async with open_node(vad=(vads := HeldVads(hold_at))) as edge, edge.session("s"):
        session = live(edge)
        await trio.testing.wait_all_tasks_blocked()
        admit(session, speech)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.settle)
            await until(vads.reached.is_set)
            nursery.cancel_scope.cancel()
        assert not vads.go_on.is_set()  # it didn't wait for the thread
        vads.go_on.set()
        await session.settle()
        assert await told(edge) == expected(speech)
        assert len(vads.opened) == 2


async def test_a_vad_that_breaks_is_replaced_and_shows(open_node: OpenNode, speech: list[bytes]) -> None:
    vads = HeldVads(4, fails=True)
    vads.go_on.set()
    async with spoken(open_node, vads, speech) as edge:
        await until(lambda: live(edge).vad_failures == 1)
        await live(edge).settle()
        assert await told(edge) == expected(speech)
        health = (await call(edge.asgi_app, "GET", "/health")).json()
        assert health["checks"]["vad"]["status"] == "warn"
        assert health["vad"] == {"provider": "loudness", "behind_seconds": 0}


@pytest.mark.parametrize("workers", [0, 1])
async def test_a_vad_that_breaks_fails_no_finalize_and_the_next_has_what_it_missed(
    open_node: OpenNode, speech: list[bytes], workers: int
) -> None:
    vads = HeldVads(9, fails=True, workers=workers)
    vads.go_on.set()
    async with open_node(vad=vads, retry_initial=0.001) as edge, edge.session("s") as session:
        await trio.testing.wait_all_tasks_blocked()
        admit(live(edge), speech)
        await session.finalize()
        assert live(edge).vad_failures == 1
        await until(lambda: live(edge).vad_positions()["mixed"].sample > 10 * CHUNK_SAMPLES)
        await session.finalize()
        assert await told(edge) == expected(speech)


async def test_a_vad_that_hangs_delays_no_ack_and_no_end(
    open_node: OpenNode, speech: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interview_edge.speech.vads.JUDGE_TIMEOUT", 0.01)
    vads = HeldVads(2)
    try:
        async with spoken(open_node, vads, speech, close_timeout=0.05) as edge:
            await until(lambda: live(edge).vad_failures > 1)  # its thread's place stays taken
            assert live(edge).vad_behind_seconds >= len(speech) - 2
        with trio.fail_after(PATIENCE):
            async with open_node(vad=LoudnessVads()) as edge, edge.session("s"):
                await live(edge).settle()
                assert await told(edge) == expected(speech)
    finally:
        vads.go_on.set()


async def test_events_of_a_backlog_are_committed_on_the_way(open_node: OpenNode, speech: list[bytes]) -> None:
    """Some events are there while the VAD is still in the middle of what came."""
    vads = HeldVads(len(speech) - 1)
    async with open_node(vad=vads) as edge, edge.session("s"):
        session = live(edge)
        await trio.testing.wait_all_tasks_blocked()
        admit(session, speech)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.settle)
            await until(vads.reached.is_set)
            assert await told(edge) == expected(speech)[: len(await told(edge))] != []
            vads.go_on.set()


VADS: dict[str, Callable[[], VadProvider | None]] = {
    "threads": LoudnessVads,
    "inline": lambda: LoudnessVads(0),
    "webrtc": lambda: None,
}


@pytest.mark.parametrize("stop", [1, 4, 8])
@pytest.mark.parametrize(
    ("before", "after"),
    [("threads", "threads"), ("inline", "threads"), ("webrtc", "threads"), ("threads", "webrtc")],
)
async def test_a_restart_with_the_same_or_another_vad_goes_on(
    tmp_path: Path, speech: list[bytes], stop: int, before: str, after: str
) -> None:
    async with nodes_in(tmp_path / "before")(vad=VADS[before]()) as edge, connect(edge, "s") as client:
        for seq in range(1, stop + 1):
            await client.send_chunk(seq, speech[seq - 1])
            await client.answer()
        shutil.copytree(tmp_path / "before", tmp_path / "after")
    async with nodes_in(tmp_path / "after")(vad=VADS[after]()) as edge, connect(edge, "s") as client:
        for seq in range(stop + 1, len(speech) + 1):
            await client.send_chunk(seq, speech[seq - 1])
            await client.answer()
        await live(edge).settle()
        events = await told(edge)
        assert live(edge).vad_failures == 0
    if "webrtc" not in (before, after):
        assert events == expected(speech)
    assert [kind for kind, _, _ in events] == ["speech_started", "speech_ended"] * (len(events) // 2)
    assert [no for _, no, _ in events] == [n for n in range(1, len(events) // 2 + 1) for _ in range(2)]
    samples = [sample for _, _, sample in events]
    assert samples == sorted(samples)
    assert 8 * CHUNK_SAMPLES < samples[-1] <= len(speech) * CHUNK_SAMPLES


async def test_a_settle_ends_though_more_comes_than_is_heard(
    open_node: OpenNode, speech: list[bytes]
) -> None:
    """With each second that is heard another one arrives."""

    class Outrun(LoudnessVad):
        def judge(self, pcm: bytes) -> bytes:
            stream = live(edge).stream("mixed")
            seq = stream.ledger.last_seq + 1
            stream.show(seq, SILENCE)
            stream.ledger.admit(seq, at=1)
            return super().judge(pcm)

    class OutrunVads(LoudnessVads):
        def open(self) -> Outrun:
            return Outrun()

    async with open_node(vad=OutrunVads(workers=0)) as edge, edge.session("s"):
        admit(live(edge), speech)
        with trio.fail_after(PATIENCE):
            await live(edge).settle()
        assert await told(edge) == expected(speech)
