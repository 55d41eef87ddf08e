"""Puts: so many at once, each with a deadline, none over other bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs
import trio

from interview_edge.archive.objects import CONTENT_TYPES, Codec, NewObject
from interview_edge.backends.protocol import (
    BackendError,
    BackendRefused,
    BackendUnavailable,
    ObjectNotFound,
    StorageBackend,
)


@attrs.frozen
class PutOutcome:
    """How one put went. `ms` is from its start to the backend's confirmation or its failure."""

    ok: bool
    ms: float


@attrs.frozen
class Placed:
    """Where an object lies now, confirmed, and its size in bytes."""

    key: str
    size: int


class Putter:
    """One a node. `record` hears how each put went."""

    def __init__(
        self,
        backend: StorageBackend,
        codec: Codec,
        *,
        concurrency: int,
        timeout: float,
        record: Callable[[PutOutcome], None],
    ) -> None:
        self._backend = backend
        self._codec = codec
        self._limiter = trio.CapacityLimiter(concurrency)
        self._timeout = timeout
        self._record = record

    async def place(self, new: NewObject) -> Placed:
        """Put an object; where its key is taken, find that it holds the same PCM or use the object's distinct
        key.

        Idempotent: the same object ends at the same key. Raises `BackendUnavailable` (a put or get over its
        deadline included) and `BackendRefused`. Cancelled, the object is there whole or not at all.
        """
        async with self._limiter:
            data = await self._codec.encode(new.pcm, new.format)
            for key in new.places():
                if await self._put(key, data, new):
                    return Placed(key, len(data))
                size = await self._size_if_same(key, data, new)
                if size is not None:
                    return Placed(key, size)
        raise BackendRefused(f"{new.key!r} and {new.distinct_key!r} both hold other bytes")

    async def _put(self, key: str, data: bytes, new: NewObject) -> bool:
        started = trio.current_time()
        try:
            with self._asking():
                wrote = await self._backend.put(
                    key,
                    data,
                    content_type=CONTENT_TYPES[new.format],
                    metadata=new.metadata,
                    if_absent=True,
                )
        except BackendError:
            self._record(PutOutcome(ok=False, ms=_ms_since(started)))
            raise
        self._record(PutOutcome(ok=True, ms=_ms_since(started)))
        return wrote

    async def _size_if_same(self, key: str, data: bytes, new: NewObject) -> int | None:
        """The size of the object at `key` where it holds the same PCM; None where it holds anything else."""
        try:
            with self._asking():
                there = await self._backend.get(key)
        except ObjectNotFound:
            raise BackendUnavailable(f"{key!r} was there and is gone: put it again") from None
        if there == data:
            return len(there)
        # Another version of the encoder makes other bytes of the same audio.
        try:
            same = await self._codec.decode(there, new.format) == new.pcm
        except ValueError:
            return None
        return len(there) if same else None

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """One call of the backend: with a deadline, and whatever goes wrong is a `BackendError`."""
        try:
            with trio.move_on_after(self._timeout) as scope:
                yield
        except BackendError:
            raise
        except Exception as error:  # a plugin may raise anything, and its text may hold a secret
            raise BackendUnavailable(f"the backend raised {type(error).__name__}") from error
        if scope.cancelled_caught:
            raise BackendUnavailable(f"the store took over {self._timeout:g} s")


def _ms_since(started: float) -> float:
    return (trio.current_time() - started) * 1000
