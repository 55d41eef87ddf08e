"""The composition root: the only place that builds the parts of a node from settings and starts its
nursery.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

import attrs
import structlog
import trio

from interview_edge.access.opening import Access, open_access
from interview_edge.archive.archive import Archive
from interview_edge.archive.daily_sweep import DailySweep
from interview_edge.archive.deletion import resume_deletions
from interview_edge.archive.policy import ArchivePolicy
from interview_edge.archive.reader import AudioReader
from interview_edge.archive.retention import FileRemover
from interview_edge.backends import open_backend
from interview_edge.backends.protocol import StorageBackend
from interview_edge.catalog import open_catalog
from interview_edge.catalog.protocol import Catalog, CatalogUnavailable
from interview_edge.core.models import AckLevel
from interview_edge.journal import Journal, open_journal
from interview_edge.services.realtime import open_realtime
from interview_edge.sessions.after_transcription import AfterTranscription
from interview_edge.sessions.handle import SessionHandle
from interview_edge.sessions.memory_watch import MemoryWatch
from interview_edge.sessions.node_parts import NodeParts
from interview_edge.sessions.partial_transcripts import PartialTranscripts
from interview_edge.sessions.registry import Registry
from interview_edge.sessions.transcription_desk import DeskPolicy, TranscriptionDesk
from interview_edge.settings import Settings, SettingsError
from interview_edge.speech.inference import SpeakerInference
from interview_edge.speech.speaker_providers import WatchedSpeakers, open_speakers
from interview_edge.speech.transcriber import Transcriber
from interview_edge.speech.transcribers import chosen, open_transcriber
from interview_edge.speech.vad import VadProvider
from interview_edge.speech.vads import NodeVad, open_vad
from interview_edge.tracing import Tracing, open_tracing
from interview_edge.web.asgi import build_asgi_app
from interview_edge.web.context import OpenSockets, WebContext

log = structlog.get_logger(__name__)

HOUSEKEEPING_SECONDS = 3600.0
WATCHES = 8  # looks at every socket in a storage_timeout: how exact that deadline is
# Of drain_timeout: for the sockets' last answers, again for the server to see them closed, and for sessions
# and uploads. Together they are all of it, so that nothing that hangs can hold up the exit beyond it.
SOCKETS_SHARE = 0.25
CLOSING_SHARE = 0.5


@attrs.frozen
class Edge:
    """One running node without a server: sessions to feed, and the ASGI app for whoever serves it."""

    settings: Settings
    parts: NodeParts
    registry: Registry
    sockets: OpenSockets
    access: Access
    asgi_app: Callable[..., Any]

    @asynccontextmanager
    async def session(self, session_id: str) -> AsyncIterator[SessionHandle]:
        """Open (or join) a session for the block. Raises EdgeError as `Registry.use` does."""
        async with self.registry.use(session_id) as session:
            yield SessionHandle(session, self.parts)

    async def drain(self, time_left: float) -> None:
        """Take nothing new, tell every socket to go, and wait for those that still have answers to send.

        Returns after `time_left` seconds at the latest. Idempotent.
        """
        self.registry.drain()
        self.sockets.leave_all(time_left)
        with trio.move_on_after(time_left):
            await self.sockets.all_gone()


@asynccontextmanager
async def open_edge(
    settings: Settings,
    *,
    backend: StorageBackend | None = None,
    inference: SpeakerInference | None = None,
    transcriber: Transcriber | None = None,
    vad: VadProvider | None = None,
    tracing: Tracing | None = None,
) -> AsyncIterator[Edge]:
    """A node inside your own trio program: opened, replayed, and closed in order at the end of the block.

    `backend`, `inference`, `transcriber` and `vad` take the place of what the settings name, `tracing` of
    what the OTEL_* variables do; a backend passed in stays yours to close. Leaving the block, also by
    cancellation, closes the sessions within `drain_timeout` and leaves what isn't uploaded in the journal,
    for the next start. Raises SettingsError, JournalDamaged, BackendError, CatalogUnavailable.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(bare_errors())
        stack.enter_context(sole_owner(settings.data_dir))
        if tracing is None:
            tracing = await stack.enter_async_context(open_tracing(version("interview-edge")))
        journal = await stack.enter_async_context(open_node_journal(settings))
        catalog = await stack.enter_async_context(open_catalog(settings.catalog_url))
        if backend is None:
            backend = await stack.enter_async_context(open_backend(settings.storage_url))
        if inference is None:
            inference = await stack.enter_async_context(open_speakers(settings, tracing))
        if transcriber is None:
            transcriber = await stack.enter_async_context(open_transcriber(settings, tracing))
        node_vad = await stack.enter_async_context(open_vad(settings)) if vad is None else NodeVad(vad)
        registry, after = _assemble(settings, journal, catalog, backend, inference, transcriber, node_vad)
        sockets = OpenSockets()
        access = await stack.enter_async_context(open_access(catalog.access, settings, wall_ms))
        realtime = await stack.enter_async_context(open_realtime(settings, catalog.access, wall_ms, tracing))
        parts = registry.parts
        app = build_asgi_app(
            WebContext(parts, registry, sockets, access, realtime, version("interview-edge"), tracing)
        )
        edge = Edge(settings, parts, registry, sockets, access, app)
        async with _tasks(edge, after):
            yield edge


def _assemble(
    settings: Settings,
    journal: Journal,
    catalog: Catalog,
    backend: StorageBackend,
    inference: SpeakerInference | None,
    transcriber: Transcriber | None,
    vad: NodeVad,
) -> tuple[Registry, AfterTranscription]:
    """Archive and registry around what was opened, each told what the other has to say."""
    archive = Archive(
        journal,
        catalog,
        backend,
        _archive_policy(settings),
        now_ms=wall_ms,
        random=Random(),  # noqa: S311 - spreads retries; nothing secret
        on_stored=lambda key, ranges: registry.stored(key, ranges),
        on_conflict=lambda key, seqs: registry.conflicted(key, seqs),
    )
    remover = FileRemover(
        catalog.files, backend, concurrency=settings.upload_concurrency, timeout=settings.upload_timeout
    )
    reader = AudioReader(journal, catalog, backend)
    desk = None
    if transcriber is not None:
        desk = TranscriptionDesk(
            transcriber,
            catalog,
            reader,
            _desk_policy(settings),
            live=lambda session_id: registry.live(session_id),
            wall_ms=wall_ms,
            random=Random(),  # noqa: S311 - spreads retries; nothing secret
            on_done=lambda session_id, written: after.done(session_id, written),
        )
    parts = NodeParts(
        settings=settings,
        journal=journal,
        catalog=catalog,
        backend=backend,
        archive=archive,
        reader=reader,
        remover=remover,
        daily_sweep=_daily_sweep(settings, remover),
        inference=None if inference is None else WatchedSpeakers(inference),
        desk=desk,
        vad=vad,
        wall_ms=wall_ms,
    )
    registry = Registry(parts)
    after = AfterTranscription(registry, parts)
    journal.listen(
        on_stall=lambda error: log.error("the journal can't commit; acks wait", error=str(error)),
        on_recover=lambda: log.info("the journal commits again"),
    )
    return registry, after


def _desk_policy(settings: Settings) -> DeskPolicy:
    local = chosen(settings) == "local"
    return DeskPolicy(
        workers=settings.local_workers if local else settings.transcription_concurrency,
        language=settings.transcription_language,
        late_after=settings.transcription_late_after,
        defer_after=settings.transcription_defer_after,
        watch_interval=min(1.0, settings.transcription_late_after / 4),
        retry_initial=settings.retry_initial,
        retry_max=settings.retry_max,
        storage_timeout=settings.storage_timeout,
    )


def _daily_sweep(settings: Settings, remover: FileRemover) -> DailySweep:
    return DailySweep(
        remover,
        max_age_days=settings.max_age_days if settings.auto_cleanup else None,
        delay=settings.sweep_delay,
        interval=settings.sweep_interval,
        now_ms=wall_ms,
        random=Random(),  # noqa: S311 - spreads the nodes' sweeps; nothing secret
    )


def open_node_journal(settings: Settings) -> AbstractAsyncContextManager[Journal]:
    """The node's journal, as `open_journal` opens it. Its folder must be the caller's alone: `sole_owner`."""
    return open_journal(
        settings.journal_path,
        max_bytes=settings.journal_max_bytes,
        min_free_bytes=settings.journal_min_free_bytes,
        queue_bytes=settings.journal_queue_bytes,
        retry_interval=settings.journal_retry_interval,
        salvage=settings.accept_damaged_journal,
    )


@asynccontextmanager
async def _tasks(edge: Edge, after: AfterTranscription) -> AsyncIterator[None]:
    """The node's nursery: archive, sessions, housekeeping. Ends with the sessions closed, whatever ended
    the block.
    """
    async with trio.open_nursery() as nursery:
        await nursery.start(edge.parts.archive.run)
        await nursery.start(edge.registry.run)
        nursery.start_soon(edge.sockets.watch, edge.settings.storage_timeout / WATCHES)
        nursery.start_soon(MemoryWatch(edge.registry).run, edge.settings.memory_check_interval)
        nursery.start_soon(edge.access.ring.run)
        nursery.start_soon(after.run)
        if edge.parts.desk is not None:
            nursery.start_soon(edge.parts.desk.run)
            if edge.settings.transcription_partials:
                interval = edge.settings.transcription_partials
                partials = PartialTranscripts(edge.parts.desk, lambda: edge.registry, interval)
                nursery.start_soon(partials.run)
        nursery.start_soon(_housekeeping, edge.parts)
        nursery.start_soon(_finish_deletions, edge.parts)
        nursery.start_soon(edge.parts.daily_sweep.run, edge.registry.unless_live)
        try:
            yield
        finally:
            time_left = edge.settings.drain_timeout * CLOSING_SHARE
            with trio.CancelScope(shield=True, deadline=trio.current_time() + time_left):
                await edge.registry.close_all()
                await edge.parts.archive.flush_all()
            nursery.cancel_scope.cancel()


async def _finish_deletions(parts: NodeParts) -> None:
    await resume_deletions(
        journal=parts.journal,
        catalog=parts.catalog,
        backend=parts.backend,
        archive=parts.archive,
        now_ms=parts.wall_ms,
        retry_interval=parts.settings.retry_max,
    )


async def _housekeeping(parts: NodeParts) -> None:
    """Idempotency keys expire."""
    while True:
        oldest = parts.wall_ms() - int(parts.settings.idempotency_hours * 3_600_000)
        try:
            await parts.catalog.forget_idempotent_answers(oldest)
        except CatalogUnavailable as error:
            log.warning("idempotency keys can't be expired now", error=str(error))
        await trio.sleep(HOUSEKEEPING_SECONDS)


def wall_ms() -> int:
    """The node's clock: epoch milliseconds."""
    return time.time_ns() // 1_000_000


def _archive_policy(settings: Settings) -> ArchivePolicy:
    return ArchivePolicy(
        layout=settings.layout,
        segment_format=settings.segment_format,
        upload_interval_ms=settings.upload_interval_ms,
        concurrency=settings.upload_concurrency,
        upload_timeout=settings.upload_timeout,
        retry_initial=settings.retry_initial,
        retry_max=settings.retry_max,
        put_at_once=settings.ack is AckLevel.BACKEND,
    )


@contextmanager
def bare_errors() -> Iterator[None]:
    """The one error inside nested exception groups: a caller need not know how many nurseries there are."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None  # noqa: ASYNC123 - the groups around it say nothing more


@contextmanager
def sole_owner(data_dir: Path) -> Iterator[None]:
    """The folder, made where it is missing, for this process alone. Raises SettingsError where another has
    it: two nodes on one would trim each other's journal.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"data_dir (EDGE_DATA_DIR) {data_dir} is in use by another interview-edge process"
            ) from None
        yield


__all__ = ["Edge", "SessionHandle", "open_edge", "wall_ms"]
