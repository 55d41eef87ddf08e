"""The node's memory, watched: what core/memory_pressure.py says, done to the sessions of one registry.

Only windows are given up, and of them only what the journal or the store holds: a reader that needs a second
finds it there (sessions/recent_audio.py).
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
import trio

from interview_edge.core.memory_pressure import Pressure, choose_windows, excess_bytes, pressure_of
from interview_edge.sessions.node_memory import memory_budget, resident_bytes
from interview_edge.sessions.registry import Registry

log = structlog.get_logger(__name__)


class MemoryWatch:
    """One a node. `used` and `budget` answer bytes; tests give their own."""

    def __init__(
        self,
        registry: Registry,
        *,
        used: Callable[[], int] = resident_bytes,
        budget: Callable[[], int] | None = None,
    ) -> None:
        self._registry = registry
        self._used = used
        setting = registry.parts.settings.memory_budget_mb
        self._budget = budget or (lambda: memory_budget(setting))
        self._pressure = Pressure.NONE

    async def run(self, interval: float) -> None:
        """Look every `interval` seconds, until cancelled."""
        while True:
            self.look()
            await trio.sleep(interval)

    def look(self) -> None:
        """Measure once, and do what follows from it."""
        used, budget = self._used(), self._budget()
        pressure = pressure_of(used, budget)
        self._registry.short_of_memory = pressure is Pressure.REFUSE
        freed = self._evict(excess_bytes(used, budget)) if pressure is not Pressure.NONE else 0
        if pressure is not self._pressure:
            self._tell(pressure, used, budget, freed)
            self._pressure = pressure

    def _evict(self, excess: int) -> int:
        windows = [
            (stream.ledger.updated_at or 0, stream.window.held_bytes, stream)
            for session in self._registry
            if not session.audio.holds_only_copy
            for stream in session.streams.values()
            if not stream.closed
        ]
        chosen = choose_windows(windows, excess)
        freed = sum(stream.window.held_bytes for stream in chosen)
        for stream in chosen:
            stream.window.evict()
        self._registry.evicted_windows += len(chosen)
        return freed

    def _tell(self, pressure: Pressure, used: int, budget: int, freed: int) -> None:
        """Once for each change: at its edge a node changes its mind often enough."""
        if pressure is Pressure.NONE:
            log.info("memory is below its limit again", used_bytes=used, budget_bytes=budget)
        else:
            log.warning(
                "memory is short: "
                + ("new sessions are refused" if pressure is Pressure.REFUSE else "windows are given back"),
                used_bytes=used,
                budget_bytes=budget,
                freed_bytes=freed,
            )
