"""`FaultyBackend`: a backend that fails as planned, for testing what stands on one."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Literal, get_args

import attrs
import trio

from interview_edge.backends.protocol import BackendRefused, BackendUnavailable, ObjectInfo, StorageBackend

Operation = Literal["put", "get", "get_range", "head", "delete", "list"]


class Effect(enum.Enum):
    """What happens to a call."""

    UNAVAILABLE = "raises BackendUnavailable; nothing was done"
    REFUSED = "raises BackendRefused; nothing was done"
    NO_SPACE = "raises BackendRefused as a full store does; nothing was done"
    TIMES_OUT = "is done, but raises BackendUnavailable as if the answer was lost"
    HANGS = "waits until it is cancelled; nothing was done"
    TORN = "puts the first half of the object, then raises BackendUnavailable: a store that isn't atomic"


@attrs.frozen
class PlannedFault:
    """The `nth` call (from 1) of `operation` since the backend was made has `effect`."""

    operation: Operation = attrs.field(validator=attrs.validators.in_(get_args(Operation)))
    nth: int = attrs.field(validator=attrs.validators.ge(1))
    effect: Effect

    def __attrs_post_init__(self) -> None:
        if self.effect is Effect.TORN and self.operation != "put":
            raise ValueError(f"only a put can be torn, not a {self.operation}")


class FaultyBackend:
    """A `StorageBackend` that passes calls on to `inner`, except for those that `plan` names.

    Calls are counted when they start, so a plan is deterministic as far as the order of calls is. While
    `outage` is True every call raises `BackendUnavailable`; those calls count too, and use up what was
    planned for them. `calls` says how many there were of each operation. With no plan it keeps the whole
    contract of `inner`.
    """

    def __init__(self, inner: StorageBackend, plan: Iterable[PlannedFault] = ()) -> None:
        """Raises ValueError where two faults are planned for the same call."""
        self.inner = inner
        self.outage = False
        self.calls: Counter[Operation] = Counter()
        self._plan: dict[tuple[Operation, int], Effect] = {}
        for fault in plan:
            if self._plan.setdefault((fault.operation, fault.nth), fault.effect) is not fault.effect:
                raise ValueError(f"two faults are planned for {fault.operation} call {fault.nth}")

    async def put(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
        if_absent: bool = False,
    ) -> bool:
        """See `StorageBackend.put`."""
        effect = await self._begin("put")
        stored = data[: len(data) // 2] if effect is Effect.TORN else data
        wrote = await self.inner.put(
            key, stored, content_type=content_type, metadata=metadata, if_absent=if_absent
        )
        self._end("put", effect)
        return wrote

    async def get(self, key: str) -> bytes:
        """See `StorageBackend.get`."""
        effect = await self._begin("get")
        data = await self.inner.get(key)
        self._end("get", effect)
        return data

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """See `StorageBackend.get_range`."""
        effect = await self._begin("get_range")
        data = await self.inner.get_range(key, start, length)
        self._end("get_range", effect)
        return data

    async def head(self, key: str) -> ObjectInfo:
        """See `StorageBackend.head`."""
        effect = await self._begin("head")
        info = await self.inner.head(key)
        self._end("head", effect)
        return info

    async def delete(self, key: str) -> None:
        """See `StorageBackend.delete`."""
        effect = await self._begin("delete")
        await self.inner.delete(key)
        self._end("delete", effect)

    async def list(
        self, prefix: str, *, after: str | None = None, limit: int | None = None
    ) -> AsyncIterator[ObjectInfo]:
        """See `StorageBackend.list`. It counts, and fails, when the first object is asked for; or, for an
        effect that comes after the work, when the last was given."""
        effect = await self._begin("list")
        inner = self.inner.list(prefix, after=after, limit=limit)
        async for info in inner:
            yield info
        self._end("list", effect)

    async def aclose(self) -> None:
        """Close `inner`. Never fails by plan."""
        await self.inner.aclose()

    async def _begin(self, operation: Operation) -> Effect | None:
        """Count the call and apply what comes before the work; answers what is planned."""
        self.calls[operation] += 1
        nth = self.calls[operation]
        effect = self._plan.pop((operation, nth), None)
        if self.outage or effect in (Effect.UNAVAILABLE, Effect.REFUSED, Effect.NO_SPACE):
            await trio.lowlevel.checkpoint()
        if self.outage:
            raise BackendUnavailable(f"outage: {operation} call {nth}")
        match effect:
            case Effect.UNAVAILABLE:
                raise BackendUnavailable(f"planned: {operation} call {nth} is unavailable")
            case Effect.REFUSED:
                raise BackendRefused(f"planned: {operation} call {nth} is refused")
            case Effect.NO_SPACE:
                raise BackendRefused(f"planned: no space left for {operation} call {nth}")
            case Effect.HANGS:
                await trio.sleep_forever()
        return effect

    def _end(self, operation: Operation, effect: Effect | None) -> None:
        if effect is Effect.TIMES_OUT:
            raise BackendUnavailable(f"planned: the answer to a {operation} was lost")
        if effect is Effect.TORN:
            raise BackendUnavailable(f"planned: a {operation} broke off half-way")
