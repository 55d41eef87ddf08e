"""The speaker model at work: loaded once, in so many threads and no more, with a bounded queue before it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import attrs
import trio

from interview_edge.core.speaker_rules import SpeakerThresholds
from interview_edge.errors import SPEAKER_MODEL_FAILED, SPEAKERS_BUSY, EdgeError
from interview_edge.speech.background import let_threads_end
from interview_edge.speech.model_files import ModelError
from interview_edge.speech.speaker_operations import SpeakerEmbedder, SpeakerOperations

Answer = TypeVar("Answer")

CLOSING = 3.0  # seconds: a resolve takes a tenth of one, loading the model up to three


@attrs.frozen(kw_only=True)
class SpeakerWorkOptions:
    """`workers` requests at once, each on one core; at most `waiting` more before the next is refused."""

    thresholds: SpeakerThresholds = attrs.field(factory=SpeakerThresholds)
    workers: int = 1
    waiting: int = 16


class SpeakerWork:
    """Runs work on the model, in threads. `load` blocks; it is called with the first work, or by `load`."""

    def __init__(self, load: Callable[[], SpeakerEmbedder], options: SpeakerWorkOptions) -> None:
        self._load = load
        self._options = options
        self._loading = threading.Lock()  # held in worker threads only
        self._limiter = trio.CapacityLimiter(options.workers)
        self._under_way = 0
        self._operations: SpeakerOperations | None = None

    async def load(self) -> SpeakerOperations:
        """The model, loaded now if it wasn't. Raises ModelError; the next call tries again."""
        return await self._in_thread(lambda operations: operations)

    async def run(self, work: Callable[[SpeakerOperations], Answer]) -> Answer:
        """What `work` answers, which blocks, in a thread.

        Raises EdgeError: speakers_busy, speaker_model_failed, and what `work` does. Cancelled, the caller
        goes on at once; the thread ends what it is at (half a second, three where it loads the model) and
        keeps its place until then, so that dropped work never piles up.
        """
        if self._under_way >= self._options.workers + self._options.waiting:
            raise EdgeError(SPEAKERS_BUSY, retry_after=1.0)
        self._under_way += 1
        try:
            return await self._in_thread(work)
        except ModelError as error:
            raise EdgeError(SPEAKER_MODEL_FAILED, f"{SPEAKER_MODEL_FAILED.detail}: {error}") from error
        finally:
            self._under_way -= 1

    async def aclose(self) -> None:
        """Wait for what is under way, `CLOSING` seconds at most. No work after that."""
        await let_threads_end(self._limiter, CLOSING)
        self._operations = None

    async def _in_thread(self, work: Callable[[SpeakerOperations], Answer]) -> Answer:
        return await trio.to_thread.run_sync(
            lambda: work(self._loaded()), limiter=self._limiter, abandon_on_cancel=True
        )

    def _loaded(self) -> SpeakerOperations:
        with self._loading:
            if self._operations is None:
                self._operations = SpeakerOperations(self._load(), self._options.thresholds)
            return self._operations
