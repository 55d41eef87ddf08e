"""The count of repeats is exact, wherever it lies at the moment: journal, on its way, catalog."""

from __future__ import annotations

import json

import pytest
import trio

from nodes import OpenNode, second


async def test_a_session_opened_between_the_catalog_s_commit_and_the_trim_counts_each_repeat_once(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(session_idle_timeout=0.02, drain_timeout=0.1) as edge:
        trimming = trio.Event()

        async def never_ends(*_: object) -> None:
            trimming.set()
            await trio.sleep_forever()

        monkeypatch.setattr(edge.parts.journal, "trim", never_ends)
        async with edge.session("s") as session:
            for seq in (1, 1, 2, 2):
                await session.feed(second(seq), seq=seq)
        with trio.fail_after(5):
            await trimming.wait()
            while edge.registry.live("s") is not None:
                await trio.sleep(0.005)
        async with edge.session("s") as session:
            assert session.status().duplicate_chunks == 2
    async with open_node() as edge:  # the trim was cut off, as a crash would
        async with edge.session("s") as session:
            assert session.status().duplicate_chunks == 2
        await edge.parts.archive.flush("s")
    async with open_node() as edge, edge.session("s") as session:
        assert session.status().duplicate_chunks == 2


async def test_the_result_counts_repeats_that_only_the_journal_knows(open_node: OpenNode) -> None:
    async with open_node() as edge, edge.session("s") as session:
        await session.feed(second(1), seq=1)
        await session.finalize()
        for _ in range(3):
            await session.feed(second(1), seq=1)
        await session.feed(second(2), seq=2)
        await edge.parts.archive.flush("s")
        await session.feed(second(2), seq=2)
        await session.finalize()
        written = json.loads(await edge.parts.backend.get("sessions/s/result.json"))
        assert written["ingest"]["duplicate_chunks"] == session.status().duplicate_chunks == 4
