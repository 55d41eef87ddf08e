"""Speech events: sample-exact, committed once, told to who asked; a crash loses and doubles none."""

from __future__ import annotations

import shutil
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import soundfile
import trio
import trio.testing

from interview_edge.app import Edge
from interview_edge.catalog.protocol import CatalogUnavailable
from interview_edge.core.models import NewEvent
from interview_edge.core.pcm import CHUNK_BYTES, SAMPLE_RATE
from interview_edge.core.utterances import SpeechEvent
from interview_edge.sessions.handle import SessionHandle
from interview_edge.sessions.hearing_turns import SECONDS_A_ROUND
from interview_edge.speech.pipeline import StreamVad
from interview_edge.speech.vad import WebRtcVad
from nodes import PATIENCE, Gate, OpenNode, connect, nodes_in, second

SILENCE = bytes(CHUNK_BYTES)


@pytest.fixture(scope="module")
def speech() -> list[bytes]:
    """Whole seconds of the recording that the package ships."""
    path = next((Path(__file__).parents[3] / "src/interview_edge/cli/demo_audio").glob("*.flac"))
    samples, rate = soundfile.read(path, dtype="int16")
    assert rate == SAMPLE_RATE
    pcm = samples.astype("<i2").tobytes()
    return [pcm[i : i + CHUNK_BYTES] for i in range(0, len(pcm) - CHUNK_BYTES + 1, CHUNK_BYTES)]


def expected(seconds: list[bytes], *, is_over: bool = True) -> list[tuple[str, int]]:
    """What the VAD says of these seconds, heard in one go; with `is_over`, that nothing follows them."""
    vad = StreamVad(WebRtcVad(2, 30))
    found = [event for pcm in seconds for event in vad.hear(pcm)] + (vad.flush() if is_over else [])
    return [
        ("speech_ended", event.end_sample)
        if hasattr(event, "end_sample")
        else ("speech_started", event.start_sample)
        for event in found
    ]


def told(events: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [
        (e["type"], e["end_sample"] if e["type"] == "speech_ended" else e["start_sample"])
        for e in events
        if e["type"].startswith("speech_")
    ]


async def all_events(edge: Edge, session_id: str) -> list[dict[str, Any]]:
    return [e.to_wire() for e in await edge.parts.catalog.events(session_id, limit=1000)]


async def test_events_are_those_of_the_vad_whatever_the_order_of_arrival(
    open_node: OpenNode, speech: list[bytes]
) -> None:
    async with open_node() as edge:
        async with connect(edge, "s") as client:
            for seq in [2, 1, 4, 3, *range(5, len(speech) + 1)]:
                await client.send_chunk(seq, speech[seq - 1])
                await client.answer()
            await client.send_json(type="finalize")
            assert (await client.answer())["type"] == "finalized"
        assert told(await all_events(edge, "s")) == expected(speech)


async def test_a_socket_that_asked_is_told_each_event_once(open_node: OpenNode, speech: list[bytes]) -> None:
    async with open_node() as edge, connect(edge, "s") as client, connect(edge, "s") as other:
        await client.hello(events=True)
        await other.hello()
        for seq, pcm in enumerate([*speech, SILENCE], 1):
            await client.send_chunk(seq, pcm)
        await client.send_json(type="finalize")
        frames = []
        while not frames or frames[-1]["type"] != "finalized":
            frames.append(await client.answer())
        events = [f["event"] for f in frames if f["type"] == "event"]
        assert events == await all_events(edge, "s")
        assert told(events) == expected([*speech, SILENCE])
        assert (await other.status())["type"] == "status"  # and no event before it


async def test_a_gap_is_silence_after_the_wait_and_a_late_chunk_is_not_judged_again(
    open_node: OpenNode, speech: list[bytes]
) -> None:
    async with open_node(vad_gap_wait=0.01) as edge, connect(edge, "s") as client:
        await client.hello(events=True)
        heard = [*speech[:3], SILENCE, *speech[4:8], SILENCE, SILENCE]
        for seq, pcm in enumerate(heard, 1):
            if seq != 4:
                await client.send_chunk(seq, pcm)
                await client.answer()
        session = edge.registry.live("s")
        with trio.fail_after(5):
            while session.vad_positions()["mixed"].sample < 9 * SAMPLE_RATE:
                await trio.sleep(0.001)
        await client.send_chunk(4, speech[3])
        await client.send_json(type="finalize")
        while (await client.answer())["type"] != "finalized":
            pass
        assert told(await all_events(edge, "s")) == expected(heard)


@pytest.mark.parametrize("crash_after", [3, 7, 10])
async def test_a_crash_loses_and_doubles_no_event(
    tmp_path: Path, speech: list[bytes], crash_after: int
) -> None:
    """The crash: the disk in the middle of a session is copied, and a node started on the copy."""
    async with nodes_in(tmp_path / "before")() as edge, connect(edge, "s") as client:
        for seq in range(1, crash_after + 1):
            await client.send_chunk(seq, speech[seq - 1])
            await client.answer()
        shutil.copytree(tmp_path / "before", tmp_path / "after")
        committed = await all_events(edge, "s")
    async with nodes_in(tmp_path / "after")() as edge, connect(edge, "s") as client:
        assert (await client.hello())["next_seq"] == crash_after + 1
        for seq in range(crash_after + 1, len(speech) + 1):
            await client.send_chunk(seq, speech[seq - 1])
            await client.answer()
        await client.send_json(type="finalize")
        while (await client.answer())["type"] != "finalized":
            pass
        events = await all_events(edge, "s")
    assert [e["seq_no"] for e in events] == list(range(1, len(events) + 1))
    spoken = [e for e in events if e["type"].startswith("speech_")]
    # Started and ended take turns, utterances count up without a hole, and none overlaps the one before.
    assert [e["type"] for e in spoken] == ["speech_started", "speech_ended"] * (len(spoken) // 2)
    assert [e["utterance"] for e in spoken[::2]] == list(range(1, len(spoken) // 2 + 1))
    edges = [s for e in spoken[1::2] for s in (e["start_sample"], e["end_sample"])]
    assert edges == sorted(edges)
    # webrtcvad's adaptation isn't saved, so an edge may move a little; the utterances are the same.
    whole = expected(speech)
    assert len(spoken) == len(whole)
    assert all(abs(a - b) < SAMPLE_RATE // 2 for (_, a), (_, b) in zip(told(spoken), whole, strict=True))
    assert len(committed) <= len(events)


async def test_a_vad_that_fails_delays_no_ack(open_node: OpenNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: StreamVad, pcm: bytes) -> list[object]:
        raise RuntimeError("the VAD broke")

    monkeypatch.setattr(StreamVad, "hear", broken)
    async with open_node(close_timeout=0.05, retry_initial=0.001) as edge, connect(edge, "s") as client:
        for seq in range(1, 6):
            await client.send_chunk(seq, second(seq))
        assert {a["status"] for a in await client.answers(5)} == {"stored"}
        assert edge.registry.live("s").vad_failures > 0


async def test_a_pipeline_that_fell_behind_its_window_hears_everything(
    open_node: OpenNode, speech: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bursts of more than the window, and of more events than are kept uncommitted."""
    monkeypatch.setattr("interview_edge.sessions.listening.MAX_UNCOMMITTED", 2)
    seconds = speech * 3
    async with open_node(window_ms=2_000, upload_interval_ms=1_000) as edge, connect(edge, "s") as client:
        for seq, pcm in enumerate(seconds, 1):
            await client.send_chunk(seq, pcm)
        await client.answers(len(seconds))
        with trio.fail_after(10):
            while edge.registry.live("s").vad_positions()["mixed"].sample < (len(seconds) - 1) * SAMPLE_RATE:
                await trio.sleep(0.001)
        await client.send_json(type="finalize")
        assert (await client.answer())["type"] == "finalized"
        assert told(await all_events(edge, "s")) == expected(seconds)


async def test_hearing_goes_on_while_events_wait_for_their_commit(
    open_node: OpenNode, speech: list[bytes]
) -> None:
    """Else a burst of two minutes leaves the window before it is heard, and is read back from the disk."""
    async with open_node(event_flush_interval=60.0) as edge, connect(edge, "s") as client:
        for seq, pcm in enumerate(speech, start=1):
            await client.send_chunk(seq, pcm)
            await client.answer()
        session = edge.registry.live("s")
        assert session is not None
        with trio.fail_after(PATIENCE):
            while session.vad_positions()["mixed"].sample < (len(speech) - 1) * SAMPLE_RATE:
                await trio.lowlevel.checkpoint()
        assert await all_events(edge, "s") == []
        await client.send_json(type="finalize")
        assert (await client.answer())["type"] == "finalized"
        assert told(await all_events(edge, "s")) == expected(speech)


async def test_a_finalize_that_is_cut_off_at_its_commit_doubles_no_event(
    open_node: OpenNode, speech: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    # So many that the last utterance is still open: the finalize has an event of its own to commit.
    count = open_after(speech)
    async with open_node() as edge, connect(edge, "s") as client:
        await client.hello(events=True)
        async with edge.session("s") as session:
            await feed(edge, session, speech[:count])
            async with trio.open_nursery() as nursery:
                with monkeypatch.context() as patched:
                    commit = Gate(edge.parts.catalog, "append_events", patched)
                    nursery.start_soon(session.finalize)
                    await commit.reached.wait()
                nursery.cancel_scope.cancel()
            await session.finalize()
        events = await all_events(edge, "s")
        assert told(events) == expected(speech[:count])
        assert [(await client.answer())["event"] for _ in events] == events


async def test_events_of_others_hide_none_of_a_commit_that_was_cut_off(
    open_node: OpenNode, speech: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those before and after it were told meanwhile: what lies between is told too, and each of them once."""
    async with open_node() as edge, connect(edge, "s") as client:
        await client.hello(events=True)
        live = edge.registry.live("s")
        assert live is not None
        append = edge.parts.catalog.append_events

        async def write_line() -> None:
            live.published(await append("s", [NewEvent(1, "transcript", {"utterance": 1})], at=1))

        async with edge.session("s") as session:
            await feed(edge, session, speech[: open_after(speech)])
            async with trio.open_nursery() as nursery:
                with monkeypatch.context() as patched:
                    commit = Gate(edge.parts.catalog, "append_events", patched)
                    nursery.start_soon(session.finalize)
                    await commit.reached.wait()
                await write_line()
                nursery.cancel_scope.cancel()
            await session.finalize()
        await write_line()
        events = await all_events(edge, "s")
        frames = await client.answers(len(events))
        *others, late, last = [frame["event"] for frame in frames]
        assert [*others[:-1], late, others[-1], last] == events
        assert (await client.status())["type"] == "status"  # and no event before it


def open_after(seconds: list[bytes]) -> int:
    """After how many of them an utterance goes on."""
    return next(n for n in range(2, len(seconds)) if len(heard_events(seconds[:n])) % 2)


async def feed(edge: Edge, session: SessionHandle, seconds: list[bytes]) -> None:
    """Have these heard, and what they decide told."""
    for seq, pcm in enumerate(seconds, 1):
        await session.feed(pcm, seq=seq)
    live = edge.registry.live("s")
    assert live is not None
    with trio.fail_after(PATIENCE):
        while live.event_count < len(heard_events(seconds)):
            await trio.sleep(0.001)


def heard_events(seconds: list[bytes]) -> list[object]:
    """The VAD's events without the one that an end makes."""
    vad = StreamVad(WebRtcVad(2, 20))
    return [event for pcm in seconds for event in vad.hear(pcm)]


async def test_events_that_waited_for_the_catalog_need_no_further_second_to_be_told(
    open_node: OpenNode, speech: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(retry_initial=0.001) as edge, connect(edge, "s") as client:
        await client.hello(events=True)
        failed = trio.Event()

        async def down(*_: object, **__: object) -> None:
            failed.set()
            raise CatalogUnavailable("down")

        with monkeypatch.context() as outage:
            outage.setattr(edge.parts.catalog, "append_events", down)
            for seq, pcm in enumerate(speech, 1):
                await client.send_chunk(seq, pcm)
            assert {a["type"] for a in await client.answers(len(speech))} == {"ack"}
            await failed.wait()
        assert (await client.answer())["type"] == "event"


async def test_a_burst_of_wakes_loses_none(open_node: OpenNode, speech: list[bytes]) -> None:
    """Four streams at once, woken while others are heard: each is heard to its end, without a finalize."""
    names = ("mixed", "teacher", "students", "room")
    async with open_node() as edge, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(edge, "s", name)) for name in names]
        for turn in range(3):
            for seq, pcm in enumerate(speech, turn * len(speech) + 1):
                for client in clients:
                    await client.send_chunk(seq, pcm)
        for client in clients:
            await client.answers(3 * len(speech))
        live = edge.registry.live("s")
        end = (3 * len(speech) - 1) * SAMPLE_RATE
        with trio.fail_after(30):
            while not all(
                name in live.vad_positions() and live.vad_positions()[name].sample > end for name in names
            ):
                await trio.sleep(0.001)
        await live.settle()
        events = await all_events(edge, "s")
        for name in names:
            assert told([e for e in events if e["stream"] == name]) == expected(speech * 3)


async def test_hearing_is_cancelled_within_a_few_seconds_of_audio_and_goes_on_where_it_was(
    open_node: OpenNode, speech: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds, heard = speech * 5, 0
    hear = StreamVad.hear

    def counted(self: StreamVad, pcm: bytes) -> list[SpeechEvent]:
        nonlocal heard
        heard += 1
        if heard == 3:
            scope.cancel()
        return hear(self, pcm)

    async with open_node() as edge, edge.session("s"):
        live = edge.registry.live("s")
        assert live is not None
        stream = live.stream("mixed")
        await trio.testing.wait_all_tasks_blocked()
        for seq, pcm in enumerate(seconds, 1):
            stream.show(seq, pcm)
            stream.ledger.admit(seq, at=1)
        monkeypatch.setattr(StreamVad, "hear", counted)
        with trio.CancelScope() as scope:
            await live.settle()
        assert scope.cancelled_caught
        assert 3 <= heard <= 3 + SECONDS_A_ROUND
        await live.settle()
        assert heard == len(seconds)
        assert told(await all_events(edge, "s")) == expected(seconds)


async def test_the_final_second_ends_who_speaks_in_it(open_node: OpenNode, speech: list[bytes]) -> None:
    """Without a finalize: nothing more will come."""
    cut = next(n for n in range(1, 9) if expected(speech[:n]) != expected(speech[:n], is_over=False))
    async with open_node(event_flush_interval=0) as edge, edge.session("s") as session:
        for seq, pcm in enumerate(speech[:cut], 1):
            await session.feed(pcm, seq=seq, final=seq == cut)
        with trio.fail_after(PATIENCE):
            while told(await all_events(edge, "s")) != expected(speech[:cut]):
                await trio.sleep(0.002)
        ended = [e for e in await all_events(edge, "s") if e["type"] == "speech_ended"]
        assert ended[-1]["reason"] == "stream_end"


async def test_a_finalize_that_cannot_write_the_last_events_says_so_and_they_are_written_after(
    open_node: OpenNode, speech: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(retry_initial=0.001) as edge, edge.session("s") as session:
        for seq, pcm in enumerate(speech, 1):
            await session.feed(pcm, seq=seq)
        with monkeypatch.context() as patched:

            async def busy(*_: Any, **__: Any) -> Any:
                raise CatalogUnavailable("database is locked")

            patched.setattr(edge.parts.catalog, "append_events", busy)
            with pytest.raises(CatalogUnavailable):
                await session.finalize()
        with trio.fail_after(PATIENCE):
            while told(await all_events(edge, "s")) != expected(speech):
                await trio.sleep(0.001)
        assert (await session.finalize())["complete"] is True
