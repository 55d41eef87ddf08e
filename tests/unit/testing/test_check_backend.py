"""check_backend finds what is wrong: each broken store here fails on the sentence that it breaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from interview_edge.backends import ObjectInfo, ObjectNotFound
from interview_edge.backends.memory import MemoryBackend
from interview_edge.testing import check_backend


class ForgetsIfAbsent(MemoryBackend):
    async def put(self, key: str, data: bytes, **options: Any) -> bool:
        return await super().put(key, data, **options | {"if_absent": False})


class RacesIfAbsent(MemoryBackend):
    async def put(self, key: str, data: bytes, *, if_absent: bool = False, **options: Any) -> bool:
        if if_absent and key in self._objects:
            return False
        await trio.lowlevel.checkpoint()
        return await super().put(key, data, **options)


class WritesInParts(MemoryBackend):
    async def put(self, key: str, data: bytes, **options: Any) -> bool:
        if not options.get("if_absent"):
            await super().put(key, data[: len(data) // 2], **options)
        return await super().put(key, data, **options)


class KeepsOldMetadata(MemoryBackend):
    async def put(self, key: str, data: bytes, **options: Any) -> bool:
        if key in self._objects and not options.get("if_absent"):
            options["metadata"] = self._objects[key][0].metadata
        return await super().put(key, data, **options)


class OverRange(MemoryBackend):
    async def get_range(self, key: str, start: int, length: int) -> bytes:
        return await super().get_range(key, start, length + 1)


class RangeOfNothing(MemoryBackend):
    async def get_range(self, key: str, start: int, length: int) -> bytes:
        return await super().get_range(key, start, length) if length else b""


class NaiveTimes(MemoryBackend):
    async def head(self, key: str) -> ObjectInfo:
        info = await super().head(key)
        return attrs.evolve(info, modified=info.modified.replace(tzinfo=None))


class MixesCases(MemoryBackend):
    async def put(self, key: str, data: bytes, **options: Any) -> bool:
        return await super().put(key.lower(), data, **options)

    async def get(self, key: str) -> bytes:
        return await super().get(key.lower())


class DeletesStrictly(MemoryBackend):
    async def delete(self, key: str) -> None:
        await self.head(key)
        await super().delete(key)


class DeletesFolders(MemoryBackend):
    async def delete(self, key: str) -> None:
        await trio.lowlevel.checkpoint()
        for other in [other for other in self._objects if other.startswith(key)]:
            await super().delete(other)


class ListsUnsorted(MemoryBackend):
    async def list(self, prefix: str, *, after: str | None = None, limit: int | None = None) -> Any:
        infos = [info async for info in super().list(prefix, after=after)]
        for info in sorted(infos, key=lambda info: info.key.split("/"))[:limit]:
            yield info


class ListsInclusively(MemoryBackend):
    async def list(self, prefix: str, *, after: str | None = None, limit: int | None = None) -> Any:
        infos = [info async for info in super().list(prefix)]
        for info in [info for info in infos if after is None or info.key >= after][:limit]:
            yield info


class TakesAnyKey(MemoryBackend):
    async def _enter(self, key: str | None = None) -> None:
        await trio.lowlevel.checkpoint()


class IsNoCheckpoint(MemoryBackend):
    async def get(self, key: str) -> bytes:
        if key in self._objects:
            return self._objects[key][1]
        await super()._enter(key)
        raise ObjectNotFound(key)


class ClosesOnce(MemoryBackend):
    async def aclose(self) -> None:
        if self._closed:
            raise RuntimeError("closed twice")
        await super().aclose()


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (ForgetsIfAbsent, "answers False where an object was"),
        (RacesIfAbsent, "exactly one of 8 puts"),
        (WritesInParts, "never a part|old object or the whole new one"),
        (KeepsOldMetadata, "replaces the metadata"),
        (OverRange, "gives the bytes of that range"),
        (RangeOfNothing, "raises ObjectNotFound for a key that isn't there"),
        (NaiveTimes, "timezone-aware UTC"),
        (MixesCases, "names its own object"),
        (DeletesStrictly, "delete"),
        (DeletesFolders, "delete leaves other objects alone"),
        (ListsUnsorted, "order of their UTF-8 bytes"),
        (ListsInclusively, "gives the keys after it"),
        (TakesAnyKey, "raises BackendRefused for a key"),
        (IsNoCheckpoint, "get is a checkpoint"),
        (ClosesOnce, "aclose is idempotent"),
    ],
)
async def test_a_broken_store_fails_on_the_sentence_it_breaks(
    broken: type[MemoryBackend], sentence: str
) -> None:
    @asynccontextmanager
    async def open_broken() -> AsyncIterator[MemoryBackend]:
        yield broken()

    expected = ObjectNotFound if broken is DeletesStrictly else AssertionError
    with pytest.RaisesGroup(
        pytest.RaisesExc(expected), allow_unwrapped=True, flatten_subgroups=True
    ) as caught:
        await check_backend(open_broken, persistent=False)
    said = [str(caught.value), *getattr(caught.value, "__notes__", [])]
    said += [str(error) for error in getattr(caught.value, "exceptions", [])]
    assert any(part in text for part in sentence.split("|") for text in said), said


async def test_a_store_that_forgets_fails_when_it_should_persist() -> None:
    @asynccontextmanager
    async def open_forgetful() -> AsyncIterator[MemoryBackend]:
        yield MemoryBackend()

    with pytest.raises(ObjectNotFound):
        await check_backend(open_forgetful)
