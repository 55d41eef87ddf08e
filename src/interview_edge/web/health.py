"""What `/health` says, from the parts' own figures (contract storage.md, Health)."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs
import trio

from interview_edge.archive.daily_sweep import SweepFigures
from interview_edge.archive.health import ArchiveHealth
from interview_edge.archive.planning import due_after_ms
from interview_edge.catalog.protocol import CatalogUnavailable
from interview_edge.core.memory_pressure import EVICT_SHARE, REFUSE_SHARE
from interview_edge.core.models import AckLevel
from interview_edge.core.times import iso_from_ms
from interview_edge.journal.journal import JournalStats
from interview_edge.sessions.node_memory import memory_budget, resident_bytes
from interview_edge.sessions.transcription_desk import DeskFigures
from interview_edge.settings import Settings
from interview_edge.web.context import WebContext

APP = "interview-edge"
CATALOG_TIMEOUT = 1.0  # seconds: an orchestrator's probe waits about as long

WARN_SHARE, ERROR_SHARE = EVICT_SHARE, REFUSE_SHARE  # of a limit: memory by contract, the others alike
MIN_UPLOAD_SUCCESS = 0.999
VAD_LATE_SECONDS = 30  # a burst is heard within a few; beyond it the VAD takes more than the machine has
WARN_LATENCY_MS, ERROR_LATENCY_MS = 5_000, 10_000


class Level(enum.Enum):
    OK = "ok"
    WARN = "warn"
    ERROR = "error"


_SERVICE_WORDS = {Level.WARN: "degraded", Level.ERROR: "error"}


@attrs.frozen
class Check:
    """One line of `checks`: how it stands, the value it was judged by, and in words what is wrong."""

    status: Level
    value: float | int | None = None
    detail: str | None = None

    def to_wire(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"status": self.status.value}
        if self.value is not None:
            shown["value"] = self.value
        if self.detail is not None and self.status is not Level.OK:
            shown["detail"] = self.detail
        return shown


def by_thresholds(value: float, warn: float, error: float, detail: str | None = None) -> Check:
    """ok < warn ≤ warn < error ≤ error."""
    level = Level.ERROR if value >= error else Level.WARN if value >= warn else Level.OK
    return Check(level, round(value, 4), detail)


@attrs.frozen
class Figures:
    """The node at one moment. Sizes are bytes."""

    sessions: int
    sockets: int
    window_bytes: int
    evicted_windows: int
    unjournalled: int
    vad: str  # which it is
    vad_failures: int
    vad_behind_seconds: int
    rss_bytes: int
    budget_bytes: int
    journal: JournalStats
    uploads: ArchiveHealth
    retention: SweepFigures
    catalog_ok: bool
    transcription: DeskFigures | None = None
    speakers: str | None = None  # who tells them apart
    speakers_trouble: str | None = None


async def measure(context: WebContext) -> Figures:
    """Ask every part; the catalog for at most a second."""
    catalog_ok = False
    with trio.move_on_after(CATALOG_TIMEOUT):
        try:
            await context.parts.catalog.list_sessions(limit=1)
            catalog_ok = True
        except CatalogUnavailable:
            pass  # which is the answer
    return measure_now(context, catalog_ok=catalog_ok)


def measure_now(context: WebContext, *, catalog_ok: bool) -> Figures:
    """What needs no wait. O(live sessions)."""
    sessions = list(context.registry)
    parts = context.parts
    return Figures(
        sessions=len(context.registry),
        sockets=len(context.sockets),
        window_bytes=sum(stream.window.held_bytes for s in sessions for stream in s.streams.values()),
        evicted_windows=context.registry.evicted_windows,
        unjournalled=sum(s.audio.unjournalled for s in sessions),
        vad=parts.vad.provider,
        vad_failures=sum(s.vad_failures for s in sessions),
        vad_behind_seconds=max((s.vad_behind_seconds for s in sessions), default=0),
        rss_bytes=resident_bytes(),
        budget_bytes=memory_budget(parts.settings.memory_budget_mb),
        journal=parts.journal.stats,
        uploads=parts.archive.health(),
        retention=parts.daily_sweep.figures(),
        catalog_ok=catalog_ok,
        transcription=None if parts.desk is None else parts.desk.figures(),
        speakers=None if parts.inference is None else parts.inference.provider,
        speakers_trouble=None if parts.inference is None else parts.inference.trouble,
    )


def judge(figures: Figures, settings: Settings) -> dict[str, Check]:
    """Every check, by the contract's thresholds."""
    uploads = figures.uploads
    done = uploads.uploads_ok + uploads.uploads_failed
    success = uploads.uploads_ok / done if done else 1.0
    succeeds = Level.ERROR if uploads.refused else Level.OK if success >= MIN_UPLOAD_SUCCESS else Level.WARN
    # Two intervals where chunks become due after one; segments may rightly wait longer, so from when they are
    # due.
    patience = due_after_ms(settings.layout, settings.upload_interval_ms) + settings.upload_interval_ms
    backlog = uploads.oldest_unstored_ms or 0
    return {
        "memory": by_thresholds(figures.rss_bytes / figures.budget_bytes, WARN_SHARE, ERROR_SHARE),
        "upload_success": Check(succeeds, round(success, 4), uploads.last_error),
        "upload_latency": by_thresholds(uploads.p99_upload_ms or 0, WARN_LATENCY_MS, ERROR_LATENCY_MS),
        "backlog_age": Check(Level.WARN if backlog > patience else Level.OK, backlog, uploads.last_error),
        "sessions": by_thresholds(figures.sessions / settings.max_sessions, WARN_SHARE, 1.0),
        "journal": _judge_journal(figures, settings),
        "catalog": Check(Level.OK) if figures.catalog_ok else Check(Level.ERROR, detail="it doesn't answer"),
        "vad": _judge_vad(figures),
        "transcription": _judge_transcription(figures.transcription, settings),
        "retention": Check(
            Level.OK if figures.retention.last_error is None else Level.WARN,
            detail=f"the last sweep: {figures.retention.last_error}",
        ),
        "speakers": Check(
            Level.OK if figures.speakers_trouble is None else Level.WARN,
            detail=f"the last resolve failed: {figures.speakers_trouble}",
        ),
    }


def _judge_journal(figures: Figures, settings: Settings) -> Check:
    # Level `memory` doesn't wait for the journal, so acks go on; yet nothing is safe.
    acks = "" if settings.ack is AckLevel.MEMORY else "; acks wait"
    if figures.journal.stalled is not None:
        return Check(Level.ERROR, detail=f"commits fail{acks}: {figures.journal.stalled}")
    if figures.journal.full is not None:
        return Check(Level.ERROR, detail=f"nothing more is taken{acks}: {figures.journal.full}")
    if figures.unjournalled:
        return Check(Level.WARN, detail=f"{figures.unjournalled} chunks of live sessions are in no journal")
    return by_thresholds(
        figures.journal.used_bytes / settings.journal_max_bytes, WARN_SHARE, ERROR_SHARE, "it is filling up"
    )


def _judge_vad(figures: Figures) -> Check:
    if figures.vad_failures:
        detail = "voice detection failed in live sessions; their audio is kept"
        return Check(Level.WARN, figures.vad_failures, detail)
    late = figures.vad_behind_seconds > VAD_LATE_SECONDS
    detail = f"voice detection ({figures.vad}) is {figures.vad_behind_seconds} s behind; the audio is kept"
    return Check(Level.WARN if late else Level.OK, 0, detail)


def _judge_transcription(desk: DeskFigures | None, settings: Settings) -> Check:
    """It warns at most: audio doesn't depend on it, and what is late is written later."""
    if desk is None:
        return Check(Level.OK)
    if desk.failure is not None:
        return Check(Level.WARN, desk.waiting, f"{desk.provider} fails: {desk.failure}: {desk.detail}")
    late = desk.late_sessions > 0 or desk.oldest_seconds > settings.transcription_late_after
    detail = f"late by {desk.oldest_seconds:.0f} s"
    if desk.deferred_sessions:
        detail += f"; the lines of {desk.deferred_sessions} sessions are put off"
    return Check(Level.WARN if late else Level.OK, desk.waiting, detail)


def judge_services(figures: Figures, settings: Settings, realtime: str) -> dict[str, str]:
    """How each service stands: `ok`, `degraded`, `error`; `unset` without a provider; `off` where it doesn't
    run here. `realtime` is what that service says of itself.
    """
    states = {
        "ingest": overall(judge(figures, settings)),
        "auth": "ok" if figures.catalog_ok else "error",
        "realtime": realtime,
    }
    return {name: state if name in settings.services else "off" for name, state in states.items()}


def overall(checks: Mapping[str, Check], services: Collection[str] = ()) -> str:
    """`ok`, `degraded` where a check warns or a service is degraded, `error` where one of them fails."""
    worst = {check.status for check in checks.values()}
    worst |= {level for level, word in _SERVICE_WORDS.items() if word in services}
    return "error" if Level.ERROR in worst else "degraded" if Level.WARN in worst else "ok"


def show(figures: Figures, settings: Settings, version: str, services: Mapping[str, str]) -> dict[str, Any]:
    """The body of `/health`. URLs may hold secrets, so only their schemes are shown."""
    checks = judge(figures, settings)
    uploads, journal = figures.uploads, figures.journal
    return {
        "status": overall(checks, services.values()),
        "app": APP,
        "version": version,
        "services": dict(services),
        "backend": {
            "scheme": urlsplit(settings.storage_url).scheme,
            "layout": settings.layout.value,
            "ack": settings.ack.value,
        },
        "catalog": {"scheme": urlsplit(settings.catalog_url).scheme, "ok": figures.catalog_ok},
        "journal": attrs.asdict(journal) | {"max_bytes": settings.journal_max_bytes},
        "sessions": {"live": figures.sessions, "sockets": figures.sockets, "max": settings.max_sessions},
        "memory": {
            "rss_bytes": figures.rss_bytes,
            "budget_bytes": figures.budget_bytes,
            "ratio": round(figures.rss_bytes / figures.budget_bytes, 4),
            "window_bytes": figures.window_bytes,
            "evicted_windows": figures.evicted_windows,
        },
        "uploads": {
            "ok": uploads.uploads_ok,
            "failed": uploads.uploads_failed,
            "retrying": uploads.retrying,
            "mean_ms": uploads.mean_upload_ms,
            "p99_ms": uploads.p99_upload_ms,
            "backlog_chunks": uploads.chunks_waiting,
            "backlog_streams": uploads.streams,
            "oldest_unstored_ms": uploads.oldest_unstored_ms,
            "last_error": uploads.last_error,
        },
        "vad": {"provider": figures.vad, "behind_seconds": figures.vad_behind_seconds},
        "transcription": _show_transcription(figures.transcription),
        "retention": {
            "max_age_days": figures.retention.max_age_days,
            "deleted_files": figures.retention.counts.files,
            "freed_bytes": figures.retention.counts.freed_bytes,
            "failed": figures.retention.counts.failed,
            "last_sweep_at": _time(figures.retention.last_at),
            "last_error": figures.retention.last_error,
        },
        "speakers": {"provider": figures.speakers},
        "checks": {name: check.to_wire() for name, check in checks.items()},
    }


def _show_transcription(desk: DeskFigures | None) -> dict[str, Any]:
    return {"provider": None} if desk is None else attrs.asdict(desk)


def _time(at: int | None) -> str | None:
    return None if at is None else iso_from_ms(at)
