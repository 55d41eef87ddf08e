"""The thresholds of /health."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from interview_edge.archive.daily_sweep import SweepFigures
from interview_edge.archive.health import ArchiveHealth
from interview_edge.archive.retention import RemovalCounts
from interview_edge.core.models import AckLevel, Layout
from interview_edge.journal.journal import JournalStats
from interview_edge.sessions.node_memory import memory_budget, resident_bytes
from interview_edge.settings import Settings
from interview_edge.web.health import Check, Figures, Level, judge, overall, show

SOUND = Figures(
    sessions=1,
    sockets=1,
    window_bytes=0,
    evicted_windows=0,
    unjournalled=0,
    vad="webrtc",
    vad_failures=0,
    vad_behind_seconds=0,
    rss_bytes=1,
    budget_bytes=1_000,
    journal=JournalStats(rows=0, bytes=0, used_bytes=0, queued_entries=0, queued_bytes=0, stalled=None),
    uploads=ArchiveHealth(
        streams=0,
        chunks_waiting=0,
        oldest_unstored_ms=None,
        uploads_ok=0,
        uploads_failed=0,
        retrying=0,
        refused=False,
        mean_upload_ms=None,
        p99_upload_ms=None,
        last_error=None,
    ),
    retention=SweepFigures(max_age_days=None, counts=RemovalCounts(), last_at=None, last_error=None),
    catalog_ok=True,
    speakers=None,
    speakers_trouble=None,
)
CHUNKS = Settings(max_sessions=100, journal_max_bytes=10**6)
SEGMENTS = attrs.evolve(CHUNKS, layout=Layout.SEGMENTS)


def uploads(**changes: object) -> Figures:
    return attrs.evolve(SOUND, uploads=attrs.evolve(SOUND.uploads, **changes))


def journal(**changes: object) -> Figures:
    return attrs.evolve(SOUND, journal=attrs.evolve(SOUND.journal, **changes))


@pytest.mark.parametrize(
    ("name", "figures", "expected"),
    [
        ("memory", attrs.evolve(SOUND, rss_bytes=799), "ok"),
        ("memory", attrs.evolve(SOUND, rss_bytes=800), "warn"),
        ("memory", attrs.evolve(SOUND, rss_bytes=950), "error"),
        ("upload_success", SOUND, "ok"),
        ("upload_success", uploads(uploads_ok=999, uploads_failed=1), "ok"),
        ("upload_success", uploads(uploads_ok=998, uploads_failed=2), "warn"),
        ("upload_success", uploads(refused=True), "error"),
        ("upload_latency", uploads(p99_upload_ms=4_999.0), "ok"),
        ("upload_latency", uploads(p99_upload_ms=5_000.0), "warn"),
        ("upload_latency", uploads(p99_upload_ms=10_000.0), "error"),
        ("backlog_age", uploads(oldest_unstored_ms=120_000), "ok"),
        ("backlog_age", uploads(oldest_unstored_ms=120_001), "warn"),
        ("sessions", attrs.evolve(SOUND, sessions=79), "ok"),
        ("sessions", attrs.evolve(SOUND, sessions=80), "warn"),
        ("sessions", attrs.evolve(SOUND, sessions=100), "error"),
        ("journal", journal(used_bytes=799_999), "ok"),
        ("journal", journal(used_bytes=800_000), "warn"),
        ("journal", journal(used_bytes=950_000), "error"),
        ("journal", journal(stalled="disk full"), "error"),
        ("journal", attrs.evolve(SOUND, unjournalled=1), "warn"),
        ("vad", attrs.evolve(SOUND, vad_failures=1), "warn"),
        ("catalog", attrs.evolve(SOUND, catalog_ok=False), "error"),
        (
            "retention",
            attrs.evolve(SOUND, retention=attrs.evolve(SOUND.retention, last_error="outage")),
            "warn",
        ),
    ],
)
def test_each_check_at_its_threshold(name: str, figures: Figures, expected: str) -> None:
    checks = judge(figures, CHUNKS)
    assert checks[name].status.value == expected
    assert {other: check for other, check in checks.items() if check.status is not Level.OK} == (
        {} if expected == "ok" else {name: checks[name]}
    )
    assert overall(checks) == {"ok": "ok", "warn": "degraded", "error": "error"}[expected]


def test_a_segment_may_wait_longer_before_it_is_late() -> None:
    assert judge(uploads(oldest_unstored_ms=130_000), SEGMENTS)["backlog_age"].status is Level.OK
    assert judge(uploads(oldest_unstored_ms=180_001), SEGMENTS)["backlog_age"].status is Level.WARN


def test_details_are_shown_where_something_is_wrong_only() -> None:
    assert Check(Level.OK, 1, "all is well").to_wire() == {"status": "ok", "value": 1}
    stalled = judge(journal(stalled="disk full"), CHUNKS)["journal"].to_wire()
    assert stalled == {"status": "error", "detail": "commits fail; acks wait: disk full"}
    unsafe = judge(attrs.evolve(SOUND, unjournalled=2), CHUNKS)["journal"].to_wire()  # `value` is a share
    assert unsafe == {"status": "warn", "detail": "2 chunks of live sessions are in no journal"}
    at_memory = attrs.evolve(CHUNKS, ack=AckLevel.MEMORY)
    assert judge(journal(stalled="disk full"), at_memory)["journal"].detail == "commits fail: disk full"


def test_urls_are_not_shown() -> None:
    settings = Settings(
        storage="s3://key:hunter2@bucket?endpoint=http://x", catalog="postgresql://u:hunter2@db/x"
    )
    assert "hunter2" not in str(show(SOUND, settings, "1", {}))


def test_the_budget_is_the_setting_or_four_fifths_of_what_there_is(tmp_path: Path) -> None:
    assert memory_budget(7) == 7_000_000
    limit, none = tmp_path / "max", tmp_path / "none"
    limit.write_text("1000\n")
    none.write_text("max\n")
    assert memory_budget(None, (tmp_path / "absent", none, limit)) == 800
    assert memory_budget(None, (none,)) > resident_bytes() > 1_000_000
