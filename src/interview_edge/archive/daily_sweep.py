"""The daily sweep: audio that is too old is given up where the settings say so; what earlier removals left is
finished in any case.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import attrs
import structlog
import trio

from interview_edge.archive.retention import FileRemover, RemovalCounts, SweepReport, UnlessLive
from interview_edge.catalog.protocol import CatalogUnavailable

_log = structlog.get_logger(__name__)

DAY_MS = 86_400_000
# Nodes that started together don't sweep together.
JITTER = 0.1


@attrs.frozen
class SweepFigures:
    """What retention shows of itself. `counts` are of all removals since the start, by hand, too.

    `last_at` (epoch ms) and `last_error` are of the last sweep that ended; `last_error` holds no secret.
    """

    max_age_days: int | None
    counts: RemovalCounts
    last_at: int | None
    last_error: str | None


class DailySweep:
    """One a node. `max_age_days` None: nothing is given up by age.

    The first sweep comes `delay` seconds after `run` began, the next ones every `interval` seconds, each a
    little earlier by chance.
    """

    def __init__(
        self,
        remover: FileRemover,
        *,
        max_age_days: int | None,
        delay: float,
        interval: float,
        now_ms: Callable[[], int],
        random: Random,
    ) -> None:
        self._remover = remover
        self._max_age_days = max_age_days
        self._delay = delay
        self._interval = interval
        self._now_ms = now_ms
        self._random = random
        self._last_at: int | None = None
        self._last_error: str | None = None

    def figures(self) -> SweepFigures:
        """Retention at this moment."""
        return SweepFigures(self._max_age_days, self._remover.counts, self._last_at, self._last_error)

    async def run(self, unless_live: UnlessLive) -> None:
        """Say which it is, then sweep until cancelled. A sweep that fails is noted and left to the next."""
        if self._max_age_days is None:
            _log.info("nothing is deleted by age: AUDIO_STORAGE_AUTO_CLEANUP is off")
        else:
            _log.info("audio older than max_age_days is deleted daily", max_age_days=self._max_age_days)
        await trio.sleep(self._soon(self._delay))
        while True:
            await self._sweep(unless_live)
            await trio.sleep(self._soon(self._interval))

    def _soon(self, seconds: float) -> float:
        return seconds * self._random.uniform(1 - JITTER, 1)

    async def _sweep(self, unless_live: UnlessLive) -> None:
        try:
            if self._max_age_days is None:
                report = await self._remover.finish()
            else:
                before = self._now_ms() - self._max_age_days * DAY_MS
                report = await self._remover.sweep(before, unless_live=unless_live)
        except CatalogUnavailable as error:
            self._last_error = f"CatalogUnavailable: {error}"
            _log.warning("the sweep can't go on now", error=self._last_error)
        except Exception as error:  # a defect here must not end the node; the text may hold a secret
            self._last_error = type(error).__name__
            _log.error("the sweep failed", error=self._last_error)
        else:
            self._last_error = report.error
            _say(report)
        self._last_at = self._now_ms()


def _say(report: SweepReport) -> None:
    figures = attrs.asdict(report)
    if report.error is not None:
        _log.warning("some objects could not be deleted", **figures)
    elif report.files or report.live:
        _log.info("old audio was deleted", **figures)
