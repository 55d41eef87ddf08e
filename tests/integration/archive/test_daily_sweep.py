"""The sweep as a task of a node: when it runs, what it says, and that nothing ends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import structlog
import trio
import trio.testing

from asgi_calls import call
from interview_edge.app import Edge, wall_ms
from interview_edge.archive.daily_sweep import DAY_MS, DailySweep
from interview_edge.archive.retention import FileRemover, SweepReport
from interview_edge.backends.memory import MemoryBackend
from interview_edge.catalog import CatalogUnavailable
from interview_edge.core.models import StreamKey
from interview_edge.testing import FaultyBackend
from nodes import nodes_in, second

from .conftest import until

AUTO = {"auto_cleanup": True, "max_age_days": 30, "sweep_delay": 0.001, "sweep_interval": 0.001}


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Nodes that are opened from here on live so many days ahead."""

    def ahead(days: int) -> None:
        monkeypatch.setattr("interview_edge.app.wall_ms", lambda: wall_ms() + days * DAY_MS)

    return ahead


async def record(edge: Edge, session_id: str = "s") -> None:
    async with edge.session(session_id) as session:
        for seq in (1, 2):
            await session.feed(second(seq), seq=seq)
        await edge.parts.archive.flush(session_id)


async def expired(edge: Edge, session_id: str = "s") -> bool:
    extents = await edge.parts.catalog.extents(StreamKey(session_id))
    return all(extent.expired for extent in extents)


async def sweeps(edge: Edge, count: int = 2) -> None:
    """Wait for so many sweeps that began after this call."""
    for _ in range(count):
        last = edge.parts.daily_sweep.figures().last_at
        await until(lambda last=last: edge.parts.daily_sweep.figures().last_at not in (None, last))


async def test_old_audio_goes_and_what_is_live_stays(
    tmp_path: Path, set_clock: Callable[[int], None]
) -> None:
    open_node = nodes_in(tmp_path)
    async with open_node() as edge:
        await record(edge)
        await record(edge, "live")
    set_clock(29)
    async with open_node(**AUTO) as edge:
        await sweeps(edge)
        assert not await expired(edge)
    set_clock(31)
    async with open_node(sweep_delay=0.001, sweep_interval=0.001) as edge:
        await sweeps(edge)
        assert not await expired(edge), "auto_cleanup is off"
    async with open_node(**(AUTO | {"sweep_delay": 0.05})) as edge, edge.session("live") as session:
        await sweeps(edge)
        assert await expired(edge)
        assert not await expired(edge, "live")
        assert await session.chunk(1) == second(1)
        answer = await call(edge.asgi_app, "GET", "/v1/sessions/s/chunks/1")
        assert (answer.status, answer.json()["code"]) == (410, "chunk_expired")
        shown = (await call(edge.asgi_app, "GET", "/health")).json()["retention"]
        assert shown.pop("last_sweep_at").endswith("Z")
        assert shown == {
            "max_age_days": 30,
            "deleted_files": 2,
            "freed_bytes": 64_000,
            "failed": 0,
            "last_error": None,
        }
        metrics = (await call(edge.asgi_app, "GET", "/metrics")).body.decode()
        assert "interview_edge_deleted_files_total 2.0" in metrics


async def test_what_an_administrator_gave_up_is_finished_without_auto_cleanup(tmp_path: Path) -> None:
    backend = FaultyBackend(MemoryBackend())
    async with nodes_in(tmp_path)(backend=backend, sweep_delay=0.001, sweep_interval=0.001) as edge:
        await record(edge)
        backend.outage = True
        removal = await edge.parts.remover.remove(await edge.parts.catalog.files.listing(limit=10))
        assert len(removal.failed) == 2
        await sweeps(edge)
        health = (await call(edge.asgi_app, "GET", "/health")).json()
        assert health["checks"]["retention"]["status"] == "warn"
        assert "outage" in health["retention"]["last_error"]
        backend.outage = False
        await until(lambda: edge.parts.remover.counts.files == 2)
        await sweeps(edge)
        assert edge.parts.daily_sweep.figures().last_error is None
        assert [info.key async for info in backend.list("sessions/")] == []


class Scripted(FileRemover):
    """Sweeps that end as told."""

    def __init__(self, *outcomes: SweepReport | Exception) -> None:
        self.outcomes = list(outcomes)
        self.swept_at: list[float] = []

    async def sweep(self, before_ms: int, **_: Any) -> SweepReport:
        self.swept_at.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def test_it_is_daily_and_nothing_ends_it(autojump_clock: trio.testing.MockClock) -> None:
    left = SweepReport(files=1, failed=2, error="BackendRefused: locked")
    remover = Scripted(CatalogUnavailable("busy"), ValueError("secret"), left, SweepReport(files=3))
    started = trio.current_time()
    daily = DailySweep(
        remover, max_age_days=3, delay=60, interval=86_400, now_ms=lambda: 9 * DAY_MS, random=Random(1)
    )
    with structlog.testing.capture_logs() as logs, trio.move_on_after(60 + 3 * 86_400 + 1):
        await daily.run(lambda _: pytest.fail("not asked here"))
    gaps = [b - a for a, b in zip([started, *remover.swept_at], remover.swept_at, strict=False)]
    assert 54 <= gaps[0] <= 60
    assert all(77_760 <= gap <= 86_400 for gap in gaps[1:])
    assert len(set(gaps[1:])) > 1, "two nodes don't keep meeting"
    assert [(line["log_level"], line["event"], line.get("error")) for line in logs] == [
        ("info", "audio older than max_age_days is deleted daily", None),
        ("warning", "the sweep can't go on now", "CatalogUnavailable: busy"),
        ("error", "the sweep failed", "ValueError"),
        ("warning", "some objects could not be deleted", "BackendRefused: locked"),
        ("info", "old audio was deleted", None),
    ]
