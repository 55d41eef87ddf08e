"""The archive: one a node, it brings what is journalled into the backend and the catalog, for ever.

It serves live, closed and crashed sessions alike: it knows streams, not sessions. One owner runs `run`;
everything else is synchronous or a wait.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import count
from random import Random

import structlog
import trio

from interview_edge.archive.backlog import StreamBacklog
from interview_edge.archive.health import ArchiveHealth, UploadHistory
from interview_edge.archive.objects import Codec, delete_objects
from interview_edge.archive.planning import completes_segment, due_after_ms
from interview_edge.archive.policy import ArchivePolicy
from interview_edge.archive.putter import Putter
from interview_edge.archive.uploader import StepResult, Uploader
from interview_edge.backends.protocol import BackendError, BackendRefused, StorageBackend
from interview_edge.catalog.protocol import Catalog, CatalogUnavailable, SessionIsDeleted
from interview_edge.core.models import Layout, StreamKey
from interview_edge.core.ranges import Ranges
from interview_edge.journal import Journal, JournalError

_log = structlog.get_logger(__name__)

# Whose texts hold no secrets: ours, and those that the protocols promise it of.
EXPECTED = (BackendError, CatalogUnavailable, JournalError)
STALE_ENTRIES = 64
REPLAY_ROWS = 1_000


def _nobody(_: StreamKey, __: Sequence[object]) -> None:
    """For an owner that doesn't listen."""


class Archive:
    """See the module's text. Used on the trio thread only; memory is bounded by streams and gaps, not by
    chunks.

    `now_ms` is epoch milliseconds (ages of chunks are measured by it), `random` spreads the retries.
    `on_stored(key, ranges)` is called after the catalog's commit and may be called again for the same seqs;
    `on_conflict(key, seqs)` when another node had stored other bytes first. Both are synchronous and must not
    raise.
    """

    def __init__(
        self,
        journal: Journal,
        catalog: Catalog,
        backend: StorageBackend,
        policy: ArchivePolicy,
        *,
        now_ms: Callable[[], int],
        random: Random,
        on_stored: Callable[[StreamKey, Sequence[tuple[int, int]]], None] = _nobody,
        on_conflict: Callable[[StreamKey, Sequence[int]], None] = _nobody,
    ) -> None:
        self._journal = journal
        self._backend = backend
        self._policy = policy
        self._now_ms = now_ms
        self._random = random
        self._history = UploadHistory()
        putter = Putter(
            backend,
            Codec(),
            concurrency=policy.concurrency,
            timeout=policy.upload_timeout,
            record=self._history.record,
        )
        self._uploader = Uploader(
            journal, catalog, putter, policy, now_ms=now_ms, on_stored=on_stored, on_conflict=on_conflict
        )
        self._wait_ms = due_after_ms(policy.layout, policy.upload_interval_ms)
        self._segments = policy.layout is Layout.SEGMENTS
        self._streams: dict[StreamKey, StreamBacklog] = {}
        self._queue: list[
            tuple[float, int, StreamBacklog]
        ] = []  # a heap by due time; stale entries are skipped
        self._order = count()
        self._active = 0
        self._wake = trio.Event()
        self._last_error: str | None = None
        self._refused = False

    # -- what comes in

    def journalled(self, key: StreamKey, seq: int, at: int) -> None:
        """A chunk was committed to the journal, accepted at `at` (epoch ms). Called for every chunk, so
        quick.
        """
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = StreamBacklog(key)
        stream.journalled.add(seq)
        if stream.oldest_at is None:
            stream.oldest_at = at
        completes = self._segments and completes_segment(seq)
        if stream.active:
            stream.look_again |= completes
        elif stream.due is None:
            self._schedule(stream, self._due(stream))
        elif completes and stream.failures == 0:
            self._schedule(stream, trio.current_time())

    def hurry(self, session_id: str) -> None:
        """Everything of the session that is journalled now is due at once, also while the store fails."""
        for stream in self._of_session(session_id):
            self._hurry(stream)

    async def flush(self, session_id: str) -> None:
        """Hurry the session and wait until all that is journalled as of this call is stored.

        The caller sets the deadline, by cancellation; the session stays hurried then.
        """
        await self._flush(self._of_session(session_id))

    async def flush_all(self) -> None:
        """`flush` for every session of the node."""
        await self._flush(list(self._streams.values()))

    async def forget(self, session_id: str) -> None:
        """Take no further step for a session with a tombstone, and wait for the one under way.

        Cancelled, it may be called again. A chunk that is journalled later makes a step that finds the
        tombstone.
        """
        for stream in self._of_session(session_id):
            stream.forgotten = True
            stream.due = None
            stream.note_progress()  # a flush of it has nothing to wait for
            while stream.active:
                await stream.progress.wait()
            self._drop(stream)

    def health(self) -> ArchiveHealth:
        """The archive at this moment. O(streams with a backlog)."""
        streams = [stream for stream in self._streams.values() if stream.waiting]
        oldest = min((s.oldest_at for s in streams if s.oldest_at is not None), default=None)
        ok, failed = self._history.counts()
        mean, p99 = self._history.durations()
        return ArchiveHealth(
            streams=len(streams),
            chunks_waiting=sum(stream.waiting for stream in streams),
            oldest_unstored_ms=None if oldest is None else max(0, self._now_ms() - oldest),
            uploads_ok=ok,
            uploads_failed=failed,
            retrying=sum(stream.failures > 0 for stream in streams),
            refused=self._refused,
            mean_upload_ms=mean,
            p99_upload_ms=p99,
            last_error=self._last_error,
        )

    def _of_session(self, session_id: str) -> list[StreamBacklog]:
        return [stream for key, stream in self._streams.items() if key.session_id == session_id]

    def _hurry(self, stream: StreamBacklog) -> None:
        stream.hurry()
        if not stream.active:
            self._schedule(stream, trio.current_time())

    async def _flush(self, streams: Sequence[StreamBacklog]) -> None:
        wanted = [(stream, tuple(stream.journalled)) for stream in streams]
        for stream in streams:
            self._hurry(stream)
        for stream, ranges in wanted:
            while not (stream.forgotten or stream.has_settled(ranges)):
                await stream.progress.wait()
        await trio.lowlevel.checkpoint()

    # -- the loop

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take up what the journal holds, then bring in what becomes due, until cancelled.

        Started once the journal is read; the uploads of a crash's leftovers go on from there, hurried.
        Cancelling at any moment is safe: the next start's replay finishes what is under way. Raises
        `JournalError` only while it reads the journal at the start.
        """
        await self._replay()
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                self._start_due(nursery)
                with trio.move_on_at(self._next_start()):
                    await self._wake.wait()
                self._wake = trio.Event()

    async def _replay(self) -> None:
        for found in await self._journal.streams():
            if found.rows == 0:
                continue  # only counted repeats, which wait for the stream's next chunk
            stream = self._streams.setdefault(found.key, StreamBacklog(found.key))
            first = 1
            while rows := await self._journal.rows(found.key, first, limit=REPLAY_ROWS):
                for row in rows:
                    stream.journalled.add(row.seq)
                first = rows[-1].seq + 1
            stream.oldest_at = found.oldest_at
            self._hurry(stream)

    def _start_due(self, nursery: trio.Nursery) -> None:
        now = trio.current_time()
        while self._queue and self._active < self._policy.concurrency:
            due, _, stream = self._queue[0]
            if stream.due == due and due > now:
                return
            heapq.heappop(self._queue)
            if stream.due == due:
                stream.due = None
                stream.active = True
                self._active += 1
                nursery.start_soon(self._advance, stream)

    def _next_start(self) -> float:
        """When `_start_due` should look again unless it is woken before."""
        if not self._queue or self._active >= self._policy.concurrency:
            return float("inf")
        return self._queue[0][0]

    async def _advance(self, stream: StreamBacklog) -> None:
        """One step of one stream, and what follows from how it went."""
        oldest_at, stream.oldest_at = stream.oldest_at, None  # from here on `journalled` notes the next ones
        try:
            result = await self._step(stream, oldest_at)
        finally:
            self._active -= 1
            stream.active = False
            self._wake.set()
        self._conclude(stream, result)
        stream.note_progress()

    async def _step(self, stream: StreamBacklog, oldest_at: int | None) -> StepResult:
        key = stream.key
        try:
            try:
                return await self._uploader.step(key, stream.journalled, hurry=bool(stream.hurried))
            except SessionIsDeleted:
                # The tombstone was set after these puts were planned, maybe on another node: they mustn't
                # stay.
                await delete_objects(self._backend, key.session_id, timeout=self._policy.upload_timeout)
                await self._journal.drop_session(key.session_id)
                return StepResult(settled=Ranges(stream.journalled))
        except Exception as error:  # one stream's fault must not end the node; its audio stays journalled
            return StepResult(settled=Ranges(), error=error, oldest_at=oldest_at)

    def _conclude(self, stream: StreamBacklog, result: StepResult) -> None:
        stream.settle(result.settled)
        times = [at for at in (result.oldest_at, stream.oldest_at) if at is not None]
        stream.oldest_at = min(times, default=None)
        if result.error is not None:
            self._back_off(stream, result.error)
        else:
            if stream.failures:
                _log.info("uploads work again", session_id=stream.key.session_id, stream=stream.key.stream)
            stream.failures = 0
            self._refused = False
        if stream.forgotten:
            return
        if not stream.waiting:
            self._drop(stream)
        elif stream.failures == 0 and (result.more or stream.look_again):
            self._schedule(stream, trio.current_time())
        else:
            self._schedule(stream, self._due(stream))
        stream.look_again = False

    def _back_off(self, stream: StreamBacklog, error: Exception) -> None:
        """Note the failure and when to try again."""
        refused = isinstance(error, BackendRefused)
        stream.failures += 1
        delay = self._policy.retry_delay(stream.failures, self._random, refused=refused)
        stream.not_before = trio.current_time() + delay
        self._refused = self._refused or refused
        expected = isinstance(error, EXPECTED)
        self._last_error = f"{type(error).__name__}: {error}" if expected else type(error).__name__
        if stream.failures == 1:  # the retries that follow say nothing new
            _log.warning(
                "upload failed",
                session_id=stream.key.session_id,
                stream=stream.key.stream,
                error=self._last_error,
                exc_info=None if expected else error,
            )
        else:
            _log.debug(
                "upload failed again",
                session_id=stream.key.session_id,
                stream=stream.key.stream,
                error=self._last_error,
                failures=stream.failures,
                again_in=round(delay, 2),
            )

    def _due(self, stream: StreamBacklog) -> float:
        """When the stream's next step should start, going by its oldest chunk and its last failure."""
        due = trio.current_time()
        if not (stream.hurried or self._policy.put_at_once or stream.oldest_at is None):
            # Never longer than the interval: where the clock was set back, the oldest lies in the future.
            wait = stream.oldest_at + self._wait_ms - self._now_ms()
            due += min(max(0, wait), self._wait_ms) / 1000
        return max(due, stream.not_before)

    def _schedule(self, stream: StreamBacklog, due: float) -> None:
        stream.due = due
        entry = (due, next(self._order), stream)
        heapq.heappush(self._queue, entry)
        if len(self._queue) > 2 * len(self._streams) + STALE_ENTRIES:
            self._queue = [(at, order, s) for at, order, s in self._queue if s.due == at]
            heapq.heapify(self._queue)
        if self._queue[0] is entry:
            self._wake.set()

    def _drop(self, stream: StreamBacklog) -> None:
        stream.due = None
        if self._streams.get(stream.key) is stream:
            del self._streams[stream.key]
