"""Checks of a catalog's utterances that wait for their transcripts: none is lost, none is written twice."""

from __future__ import annotations

import attrs

from interview_edge.catalog import Catalog, FinalizedResult
from interview_edge.core.models import NewEvent, Utterance
from interview_edge.testing.catalog_steps import must

ONE, TWO = Utterance("mixed", 1, 0, 16_000), Utterance("mixed", 2, 20_000, 30_000)
OTHER = Utterance("teacher", 1, 5, 10, resolve=True)
HEARD, WRITTEN = NewEvent(1, "speech_ended", {}), NewEvent(2, "transcript", {"text": "x"})


async def _keeps_what_was_heard(catalog: Catalog) -> None:
    for _ in range(2):
        await catalog.append_events("b", [HEARD], at=1, heard=[ONE, TWO])
    await catalog.append_events("a", [HEARD], at=1, heard=[OTHER])
    waiting = await catalog.untranscribed(limit=10)
    wanted = [("a", OTHER), ("b", ONE), ("b", TWO)]
    must(list(waiting) == wanted, "what is heard waits, in order, once", waiting)
    marked = [utterance.resolve for _, utterance in waiting]
    must(marked == [True, False, False], "it is kept whether who speaks is wanted", marked)
    counts = [await catalog.count_untranscribed(session_id) for session_id in ("a", "b", "none")]
    must(counts == [1, 2, 0], "count_untranscribed counts a session's", counts)
    counts = [await catalog.count_untranscribed("b", stream=name) for name in ("mixed", "teacher")]
    must(counts == [2, 0], "count_untranscribed counts a stream's where one is named", counts)
    page = await catalog.untranscribed(limit=1, after=("a", OTHER))
    must(list(page) == [("b", ONE)], "untranscribed gives those after `after`, at most `limit`", page)


async def _writes_each_once(catalog: Catalog) -> None:
    await catalog.append_events("session", [HEARD], at=1, heard=[ONE, TWO])
    first = await catalog.append_events("session", [WRITTEN], at=2, written=[ONE])
    must([e.type for e in first] == ["transcript"], "a transcript of what waits is appended", first)
    again = await catalog.append_events("session", [WRITTEN], at=3, written=[ONE])
    must(list(again) == [], "a second transcript of an utterance is not", again)
    types = [e.type for e in await catalog.events("session")]
    must(types == ["speech_ended", "transcript"], "nothing of it is there", types)
    waiting = await catalog.untranscribed(limit=10)
    must(list(waiting) == [("session", TWO)], "what is written waits no longer", waiting)


async def _forgets_the_deleted(catalog: Catalog) -> None:
    await catalog.append_events("session", [HEARD], at=1, heard=[ONE])
    await catalog.mark_deleted("session", 2)
    must(not await catalog.untranscribed(limit=10), "tombstoned sessions wait for nothing", "")
    await catalog.purge_session("session")


async def _renews_results_once_nothing_waits(catalog: Catalog) -> None:
    lacking = FinalizedResult(5, "sessions/a/result.json", "f", {}, lines_missing=2)
    for session_id in ("a", "b", "c", "d"):
        await catalog.append_events(session_id, [HEARD], at=1, heard=[ONE])
    for session_id in ("a", "b", "d"):
        await catalog.record_finalized(session_id, lacking)
    must(not await catalog.results_to_renew(limit=10), "a result isn't renewed while a line waits", "")
    for session_id in ("a", "b", "c", "d"):
        await catalog.append_events(session_id, [WRITTEN], at=2, written=[ONE])
    await catalog.mark_deleted("d", 3)
    found = await catalog.results_to_renew(limit=10)
    must(list(found) == ["a", "b"], "results that went without lines are to be renewed, by id", found)
    page = await catalog.results_to_renew(limit=1, after="a")
    must(list(page) == ["b"], "results_to_renew gives those after `after`, at most `limit`", page)
    await catalog.record_finalized("a", attrs.evolve(lacking, lines_missing=0))
    found = await catalog.results_to_renew(limit=10)
    must(list(found) == ["b"], "a whole result isn't renewed", found)


UTTERANCE_CHECKS = (
    _keeps_what_was_heard,
    _writes_each_once,
    _forgets_the_deleted,
    _renews_results_once_nothing_waits,
)
