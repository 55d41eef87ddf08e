"""A store that puts in groups: one call for what is read at once, each put on its own where it matters."""

from __future__ import annotations

import trio

from interview_edge.backends.protocol import BackendError, BackendUnavailable, ObjectPut
from interview_edge.core.models import StreamKey

from .conftest import KEY, GroupingBackend, OpenNode, assert_exact, chunk_of, until

CHUNKS = [chunk_of(seq) for seq in range(1, 21)]


async def test_what_is_read_at_once_is_one_call_and_no_put_is_beside_it(open_node: OpenNode) -> None:
    backend = GroupingBackend()
    async with open_node(backend) as node:
        await node.journal_chunks(CHUNKS)
        await node.flush()
        await assert_exact(node, CHUNKS)
        assert node.archive.health().uploads_ok == len(CHUNKS)
    assert max(len(group) for group in backend.groups) == 16
    assert sum(len(group) for group in backend.groups) == len(CHUNKS)


async def test_one_that_fails_is_tried_again_and_the_others_count(open_node: OpenNode) -> None:
    class FailsOnce(GroupingBackend):
        async def put_group(self, puts: list[ObjectPut]) -> list[bool | BackendError]:  # type: ignore[override]
            if getattr(self, "groups", []):
                return await super().put_group(puts)
            outcomes = await super().put_group(puts[:1] + puts[2:])
            return [*outcomes[:1], BackendUnavailable("not this one"), *outcomes[1:]]

    backend = FailsOnce()
    async with open_node(backend) as node:
        await node.journal_chunks(CHUNKS[:3])
        await node.flush()
        await assert_exact(node, CHUNKS[:3])
        health = node.archive.health()
    assert (health.uploads_ok, health.uploads_failed) == (3, 1)
    assert health.last_error == "BackendUnavailable: not this one"
    keys = [key.rpartition("/")[2] for group in backend.groups for key in group]
    assert len(keys) == len(set(keys)), "what was confirmed is not put again"


async def test_a_group_over_its_deadline_is_given_up_and_tried_again(open_node: OpenNode) -> None:
    backend = GroupingBackend()
    backend.cut_off = 2
    async with open_node(backend, upload_timeout=0.05) as node:
        await node.journal_chunks(CHUNKS[:5])
        node.archive.hurry(KEY.session_id)
        await until(lambda: node.archive.health().retrying == 1)
        assert len(await node.keys()) == 2
        assert await node.catalog.extents(KEY) == [], "nobody was told of those two"
        backend.cut_off = None
        await node.flush()
        await assert_exact(node, CHUNKS[:5])
        assert node.archive.health().last_error == "BackendUnavailable: the store took over 0.05 s"


async def test_other_bytes_at_one_key_of_a_group_stand_and_ours_go_beside_them(open_node: OpenNode) -> None:
    backend = GroupingBackend()
    async with open_node(backend) as node:
        await node.journal_chunks(CHUNKS[:1], StreamKey("template"))
        await node.flush("template")
        theirs = (await node.keys())[0].replace("template", KEY.session_id)
        await backend.put(theirs, b"theirs")
        await node.journal_chunks(CHUNKS[:3])
        await node.flush()
        extents = await node.catalog.extents(KEY)
        assert ["~" in extent.key for extent in extents] == [True, False, False]
        assert await backend.get(theirs) == b"theirs"
        for chunk in CHUNKS[:3]:
            assert await node.reader.chunk(KEY, chunk.seq) == chunk.pcm


async def test_whatever_a_plugin_answers_for_a_group_is_a_failed_try_at_most(open_node: OpenNode) -> None:
    class Odd(GroupingBackend):
        async def put_group(self, puts: list[ObjectPut]) -> list[bool | BackendError]:  # type: ignore[override]
            await trio.lowlevel.checkpoint()
            self.groups = [*getattr(self, "groups", []), []]
            match len(self.groups):
                case 1:
                    raise OSError("password=hunter2")
                case 2:
                    return [True]
                case _:
                    return await super().put_group(puts)

    async with open_node(Odd()) as node:
        await node.journal_chunks(CHUNKS[:2])
        await node.flush()
        await assert_exact(node, CHUNKS[:2])
        assert node.archive.health().last_error == "BackendUnavailable: the backend raised ValueError"
