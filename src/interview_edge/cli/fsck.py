"""`interview-edge fsck`: the store of a stopped node checked against its catalog and journal.

It takes the data folder's lock, so never runs beside a node: half of what it would see then is under way.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any, TextIO

import trio

from interview_edge.app import bare_errors, open_node_journal, sole_owner, wall_ms
from interview_edge.archive.fsck import Finding, Fsck, FsckOptions, Progress, State, Summary
from interview_edge.backends import open_backend
from interview_edge.backends.local import local_folder
from interview_edge.backends.protocol import BackendError
from interview_edge.catalog import catalog_file, open_catalog
from interview_edge.catalog.protocol import CatalogUnavailable
from interview_edge.cli.seqs import seqs_in_words
from interview_edge.journal import JournalDamaged, JournalError
from interview_edge.settings import Settings

Say = Callable[[str], None]

CLEAN, PROBLEMS, NO_VERDICT = 0, 1, 2
_PROGRESS_INTERVAL = 0.2  # seconds

_ADVICE = {
    State.REPAIRABLE: "interview-edge fsck --repair mends it",
    State.LOST: "neither the journal nor the store has these bytes: reads of them fail",
    State.FAILED: "the store refused",
    State.DELETABLE: "harmless; interview-edge fsck --delete-orphans deletes it",
    State.KEPT: "harmless, and kept",
    State.REPAIRED: "repaired",
    State.DELETED: "deleted",
}


async def fsck(settings: Settings, options: FsckOptions, as_json: bool, say: Say, complain: Say) -> int:
    """Check, say each finding and a summary. Answers the exit status: 0 nothing is wrong or all of it is
    repaired, 1 problems are left, 2 it can't be said.

    Raises SettingsError where the data folder is in use.
    """
    if not settings.data_dir.is_dir():
        complain(f"there is no data folder {settings.data_dir} (EDGE_DATA_DIR)")
        return NO_VERDICT
    file = catalog_file(settings.catalog_url)
    if not file.exists():
        complain(f"there is no catalog {file} (EDGE_DATA_DIR, EDGE_CATALOG)")
        return NO_VERDICT
    if settings.storage_url.startswith("memory:"):
        complain("a store in memory ends with its node: there is nothing to check")
        return NO_VERDICT
    store = settings.storage_url
    try:
        folder = local_folder(store)
        if folder is not None and not folder.is_dir():
            complain(f"there is no store folder {folder} (EDGE_STORAGE): it is checked as an empty one")
            if options.repair or options.delete_orphans:
                complain("nothing is mended against it: make the folder, if it is the right one")
                return NO_VERDICT
            store = "memory://"
        summary = await _check(settings, store, options, _in_json(say) if as_json else _in_words(say))
    except trio.TooSlowError:
        complain("the store doesn't answer")
    except (BackendError, CatalogUnavailable, JournalError, JournalDamaged) as error:
        complain(f"can't go on: {type(error).__name__}: {error}")
    else:
        say(json.dumps({"summary": _summary_to_json(summary)}) if as_json else _summary_in_words(summary))
        return PROBLEMS if summary.problems else CLEAN
    return NO_VERDICT


async def _check(
    settings: Settings, store: str, options: FsckOptions, on_finding: Callable[[Finding], None]
) -> Summary:
    """Against the store of this URL; `memory://` stands for an empty one, so that no folder is made."""
    async with AsyncExitStack() as stack:
        stack.enter_context(bare_errors())
        stack.enter_context(sole_owner(settings.data_dir))
        check = Fsck(
            journal=await stack.enter_async_context(open_node_journal(settings)),
            catalog=await stack.enter_async_context(open_catalog(settings.catalog_url)),
            backend=await stack.enter_async_context(open_backend(store)),
            options=options,
            concurrency=settings.upload_concurrency,
            timeout=settings.upload_timeout,
            now_ms=wall_ms,
        )
        with _progress_line(sys.stderr) as (show, clear):

            def found(finding: Finding) -> None:
                clear()
                on_finding(finding)

            return await check.run(found, show)


@contextmanager
def _progress_line(out: TextIO) -> Iterator[tuple[Callable[[Progress], None], Callable[[], None]]]:
    """How to show a line that is written over and over, and how to clear it; nothing where nobody watches."""
    shown_at = 0.0

    def clear() -> None:
        if shown_at:
            out.write("\r\x1b[K")
            out.flush()

    def show(progress: Progress) -> None:
        nonlocal shown_at
        if out.isatty() and time.monotonic() - shown_at >= _PROGRESS_INTERVAL:
            shown_at = time.monotonic()
            out.write(f"\r\x1b[K{progress.objects:,} objects, {progress.sessions:,} sessions")
            out.flush()

    try:
        yield show, clear
    finally:
        clear()


# -- for people


def _in_words(say: Say) -> Callable[[Finding], None]:
    return lambda finding: say(_finding_in_words(finding))


def _finding_in_words(finding: Finding) -> str:
    # Quoted as JSON does, so that an id can't move the cursor.
    place = f"session {json.dumps(finding.session_id, ensure_ascii=False)}"
    if finding.keys and all(
        key.count("/") == 1 for key in finding.keys
    ):  # a file where sessions' folders are
        place = "of no session"
    if finding.stream is not None:
        place += f", stream {finding.stream}"
    if finding.seqs:
        place += f", seqs {seqs_in_words(finding.seqs)}"
    lines = [f"{finding.state.value.upper()}: {finding.kind.meaning}", f"  {place}"]
    if finding.objects:
        more = ", ..." if finding.objects > len(finding.keys) else ""
        keys = ", ".join(json.dumps(key, ensure_ascii=False) for key in finding.keys)
        lines.append(f"  {finding.objects:,} objects, {finding.size:,} bytes: {keys}{more}")
    return "\n".join([*lines, f"  {_ADVICE[finding.state]}"])


def _summary_in_words(summary: Summary) -> str:
    lines = [f"{summary.objects:,} objects ({summary.size:,} bytes), {summary.sessions:,} sessions checked"]
    if summary.under_way:
        lines.append(f"{summary.under_way:,} objects are on their way: the next start goes on with them")
    lines += [f"{kind.value}, {state.value}: {count:,}" for (kind, state), count in _sorted(summary)]
    lines.append(f"{summary.problems:,} problems are left" if summary.problems else "nothing is wrong")
    return "\n".join(lines)


def _sorted(summary: Summary) -> list[tuple[tuple[Any, Any], int]]:
    return sorted(summary.findings.items(), key=lambda item: (item[0][0].value, item[0][1].value))


# -- for programs


def _in_json(say: Say) -> Callable[[Finding], None]:
    return lambda finding: say(json.dumps(_finding_to_json(finding)))


def _finding_to_json(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind.value,
        "state": finding.state.value,
        "session_id": finding.session_id,
        "stream": finding.stream,
        "seqs": [list(each) for each in finding.seqs],
        "objects": finding.objects,
        "size": finding.size,
        "keys": list(finding.keys),
    }


def _summary_to_json(summary: Summary) -> dict[str, Any]:
    return {
        "sessions": summary.sessions,
        "objects": summary.objects,
        "size": summary.size,
        "under_way": summary.under_way,
        "findings": [
            {"kind": kind.value, "state": state.value, "count": count}
            for (kind, state), count in _sorted(summary)
        ],
        "problems": summary.problems,
    }
