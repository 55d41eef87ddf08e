"""FaultyBackend: transparent without a plan (a verified fake), exact with one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from interview_edge.backends import BackendRefused, BackendUnavailable, ObjectNotFound
from interview_edge.backends.memory import MemoryBackend
from interview_edge.testing import Effect, FaultyBackend, PlannedFault, check_backend


@asynccontextmanager
async def open_faulty() -> AsyncIterator[FaultyBackend]:
    yield FaultyBackend(MemoryBackend())


async def test_without_a_plan_it_keeps_the_contract() -> None:
    await check_backend(open_faulty, persistent=False)


@pytest.mark.parametrize(
    ("effect", "expected", "stored"),
    [
        (Effect.UNAVAILABLE, BackendUnavailable, None),
        (Effect.REFUSED, BackendRefused, None),
        (Effect.NO_SPACE, BackendRefused, None),
        (Effect.TIMES_OUT, BackendUnavailable, b"whole"),
        (Effect.TORN, BackendUnavailable, b"wh"),
    ],
)
async def test_only_the_nth_put_fails(
    effect: Effect, expected: type[Exception], stored: bytes | None
) -> None:
    inner = MemoryBackend()
    backend = FaultyBackend(inner, [PlannedFault("put", 2, effect)])
    await backend.put("first", b"whole")
    with pytest.raises(expected):
        await backend.put("second", b"whole")
    await backend.put("third", b"whole")
    assert await inner.get("first") == await inner.get("third") == b"whole"
    if stored is None:
        with pytest.raises(ObjectNotFound):
            await inner.get("second")
    else:
        assert await inner.get("second") == stored
    assert backend.calls == {"put": 3}


async def test_every_operation_can_fail_before_and_after_its_work() -> None:
    inner = MemoryBackend()
    await inner.put("k", b"x")
    operations = ("get", "get_range", "head", "delete", "list")
    plan = [PlannedFault(operation, 1, Effect.UNAVAILABLE) for operation in operations]
    plan += [PlannedFault(operation, 2, Effect.TIMES_OUT) for operation in operations]
    backend = FaultyBackend(inner, plan)

    async def list_all() -> None:
        async for _ in backend.list(""):
            pass

    calls = {
        "get": lambda: backend.get("k"),
        "get_range": lambda: backend.get_range("k", 0, 1),
        "head": lambda: backend.head("k"),
        "list": list_all,
        "delete": lambda: backend.delete("k"),
    }
    for operation, call in calls.items():
        with pytest.raises(BackendUnavailable, match=f"{operation} call 1"):
            await call()
        assert await inner.get("k") == b"x"
        with pytest.raises(BackendUnavailable, match="answer"):
            await call()
    with pytest.raises(ObjectNotFound):
        await inner.get("k")


async def test_a_hanging_call_waits_until_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    inner = MemoryBackend()
    backend = FaultyBackend(inner, [PlannedFault("put", 1, Effect.HANGS)])
    with trio.move_on_after(3600) as scope:
        await backend.put("k", b"x")
    assert scope.cancelled_caught
    assert trio.current_time() >= 3600
    with pytest.raises(ObjectNotFound):
        await inner.get("k")


async def test_an_outage_fails_everything_until_it_ends() -> None:
    backend = FaultyBackend(MemoryBackend())
    backend.outage = True
    for call in (backend.put("k", b""), backend.get("k"), backend.delete("k"), anext(backend.list(""))):
        with pytest.raises(BackendUnavailable, match="outage"):
            await call
    backend.outage = False
    assert await backend.put("k", b"")
    assert backend.calls == {"put": 2, "get": 1, "delete": 1, "list": 1}


@pytest.mark.parametrize(
    "plan",
    [
        lambda: [PlannedFault("move", 1, Effect.HANGS)],  # type: ignore[arg-type]  # the point of the test
        lambda: [PlannedFault("put", 0, Effect.HANGS)],
        lambda: [PlannedFault("get", 1, Effect.TORN)],
        lambda: [PlannedFault("put", 1, Effect.TORN), PlannedFault("put", 1, Effect.HANGS)],
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(plan) -> None:  # type: ignore[no-untyped-def]  # lambdas of lists
    with pytest.raises(ValueError):
        FaultyBackend(MemoryBackend(), plan())
