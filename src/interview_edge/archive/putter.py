"""Puts: so many at once, each with a deadline, none over other bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ParamSpec

import attrs
import structlog
import trio

from interview_edge.archive.objects import CONTENT_TYPES, Codec, NewObject
from interview_edge.archive.store_calls import asking
from interview_edge.backends.protocol import (
    BackendError,
    BackendRefused,
    BackendUnavailable,
    GroupPutter,
    ObjectNotFound,
    ObjectPut,
    StorageBackend,
)

_log = structlog.get_logger(__name__)


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


P = ParamSpec("P")
Outcome = Placed | BackendError


class Putter:
    """One a node. `record` hears how each put went. `concurrency` bounds the calls that put."""

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
        self._groups = backend if isinstance(backend, GroupPutter) else None
        self._concurrency = concurrency
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
            if await self._put(new.key, data, new):
                return Placed(new.key, len(data))
            return await self._where_taken(new, data)

    async def place_all(self, new: Sequence[NewObject]) -> list[Outcome | None]:
        """`place` each: in one call of a backend that puts groups, else so many at once, of which none is
        begun after the first failure.

        Answers where each lies, what failed, or None for one that wasn't begun.
        """
        if self._groups is not None:
            return await self._place_group(self._groups, new)
        outcomes: list[Outcome | None] = [None] * len(new)
        places = iter(enumerate(new))
        failed = False

        async def place() -> None:
            nonlocal failed
            for position, one in places:  # the next one that no other task has taken
                outcomes[position] = outcome = await _outcome(self.place, one)
                failed = failed or isinstance(outcome, BackendError)
                if failed:
                    return

        async with trio.open_nursery() as nursery:
            for _ in range(min(self._concurrency, len(new))):
                nursery.start_soon(place)
        return outcomes

    async def _place_group(self, backend: GroupPutter, new: Sequence[NewObject]) -> list[Outcome | None]:
        async with self._limiter:
            data = [await self._codec.encode(one.pcm, one.format) for one in new]
            wrote = await self._put_group(backend, new, data)
            outcomes: list[Outcome | None] = []
            for one, encoded, outcome in zip(new, data, wrote, strict=True):
                if isinstance(outcome, BackendError):
                    outcomes.append(outcome.with_traceback(None))  # for the reason in _outcome
                elif outcome:
                    outcomes.append(Placed(one.key, len(encoded)))
                else:
                    outcomes.append(await _outcome(self._where_taken, one, encoded))
            return outcomes

    async def _where_taken(self, new: NewObject, data: bytes) -> Placed:
        """Where an object lies whose key was taken: there, if it is the same PCM, or at its distinct key."""
        size = await self._size_if_same(new.key, data, new)
        if size is not None:
            return Placed(new.key, size)
        key = new.distinct_key
        if await self._put(key, data, new):
            return Placed(key, len(data))
        size = await self._size_if_same(key, data, new)
        if size is not None:
            return Placed(key, size)
        raise BackendRefused(f"{new.key!r} and {key!r} both hold other bytes")

    async def _put_group(
        self, backend: GroupPutter, new: Sequence[NewObject], data: Sequence[bytes]
    ) -> Sequence[bool | BackendError]:
        """One call for all, with one deadline; what it raises is everyone's outcome."""
        puts = [
            ObjectPut(
                key=one.key,
                data=encoded,
                content_type=CONTENT_TYPES[one.format],
                metadata=one.metadata,
                if_absent=True,
            )
            for one, encoded in zip(new, data, strict=True)
        ]
        started = trio.current_time()
        outcomes: Sequence[bool | BackendError]
        try:
            with asking(self._timeout):
                outcomes = await backend.put_group(puts)
                if len(outcomes) != len(puts):
                    raise ValueError("not an outcome a put")
        except BackendError as error:
            outcomes = [error.with_traceback(None)] * len(puts)
        ms = _ms_since(started)
        for outcome in outcomes:
            self._record(PutOutcome(ok=not isinstance(outcome, BackendError), ms=ms))
        failed = sum(isinstance(outcome, BackendError) for outcome in outcomes)
        _log.debug("put a group", first=puts[0].key, objects=len(puts), failed=failed, ms=round(ms, 1))
        return outcomes

    async def _put(self, key: str, data: bytes, new: NewObject) -> bool:
        started = trio.current_time()
        try:
            with asking(self._timeout):
                wrote = await self._backend.put(
                    key,
                    data,
                    content_type=CONTENT_TYPES[new.format],
                    metadata=new.metadata,
                    if_absent=True,
                )
        except BackendError as error:
            ms = _ms_since(started)
            self._record(PutOutcome(ok=False, ms=ms))
            _log.debug("a put failed", key=key, error=f"{type(error).__name__}: {error}", ms=round(ms, 1))
            raise
        ms = _ms_since(started)
        self._record(PutOutcome(ok=True, ms=ms))
        _log.debug("put", key=key, size=len(data), wrote=wrote, ms=round(ms, 1))
        return wrote

    async def _size_if_same(self, key: str, data: bytes, new: NewObject) -> int | None:
        """The size of the object at `key` where it holds the same PCM; None where it holds anything else."""
        try:
            with asking(self._timeout):
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


async def _outcome(place: Callable[P, Awaitable[Placed]], *args: P.args, **kwargs: P.kwargs) -> Outcome:
    """Where `place` put it, or the error that it raised.

    Without its traceback, which would hold a step's audio in a reference cycle until a collection: in an
    outage, megabytes for each stream and retry.
    """
    try:
        return await place(*args, **kwargs)
    except BackendError as error:
        return error.with_traceback(None)


def _ms_since(started: float) -> float:
    return (trio.current_time() - started) * 1000
