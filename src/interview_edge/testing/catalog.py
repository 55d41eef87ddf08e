"""check_catalog: holds a catalog to the text of `interview_edge.catalog.protocol`. For plugin authors too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

import attrs
import trio

from interview_edge.catalog import (
    Catalog,
    CatalogUnavailable,
    FinalizedResult,
    IdempotentAnswer,
    SessionIsDeleted,
)
from interview_edge.core.models import (
    Cluster,
    LedgerSnapshot,
    NewEvent,
    Participant,
    SessionState,
    StreamKey,
    VadPosition,
)
from interview_edge.core.ranges import Ranges
from interview_edge.testing.access_records import ACCESS_CHECKS
from interview_edge.testing.catalog_steps import KEY, identity_of, must, stored_chunks
from interview_edge.testing.file_records import FILE_CHECKS
from interview_edge.testing.usage_records import USAGE_CHECKS
from interview_edge.testing.utterance_records import UTTERANCE_CHECKS

Check = Callable[[Catalog], Awaitable[None]]


async def check_catalog(open_catalog: Callable[[], AbstractAsyncContextManager[Catalog]]) -> None:
    """Check a catalog against its contract; takes about a second on SQLite.

    `open_catalog()` must open an EMPTY catalog each time it is called. From a test:

        async def test_my_catalog(tmp_path):
            files = itertools.count()
            await check_catalog(lambda: open_mine(tmp_path / f"{next(files)}.db"))

    Raises AssertionError with the sentence of the contract that doesn't hold.
    """
    for check in CHECKS:
        failure: AssertionError | None = None
        async with open_catalog() as catalog:
            try:
                await check(catalog)
            except AssertionError as error:
                # Raised outside the block: a catalog with a nursery would wrap it in an ExceptionGroup.
                failure = error
        if failure is not None:
            raise failure


async def _must_refuse(call: Awaitable[object], method: str) -> None:
    try:
        got = await call
    except SessionIsDeleted:
        return
    raise AssertionError(
        f"the catalog's contract: {method} raises SessionIsDeleted for a tombstone. Got: {got!r}"
    )


# -- sessions


async def _opens_sessions(catalog: Catalog) -> None:
    unknown = await catalog.load_session("session")
    must(unknown is None, "load_session answers None for a session never seen", unknown)
    first = await catalog.open_session("session", 10)
    must(first.epoch == 1, "open_session creates a new session with epoch 1", first)
    must(first.created_at == 10, "a new session's created_at is the `at` of open_session", first)
    must(first.state == SessionState(), "a new session has the empty state", first)
    second = await catalog.open_session("session", 20)
    must(second.epoch == 2, "open_session raises the epoch by one", second)
    must(second.created_at == 10, "open_session leaves created_at as it was", second)
    loaded = await catalog.load_session("session")
    must(loaded == second, "load_session answers the session as it stands", loaded)


async def _keeps_any_id(catalog: Catalog) -> None:
    ids = ["a/b", "a_b", "A_B", "会议 一", "'; DROP TABLE sessions; --", "é", "e\u0301", " ", "x" * 128]
    for session_id in ids:
        await catalog.open_session(session_id, 1)
    listed = {s.session_id for s in await catalog.list_sessions(limit=100)}
    must(listed == set(ids), "any Unicode id is kept as it is; two ids are never one session", listed)


async def _gives_each_opener_an_epoch(catalog: Catalog) -> None:
    epochs: list[int] = []

    async def open_one() -> None:
        epochs.append((await catalog.open_session("session", 1)).epoch)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(open_one)
    must(sorted(epochs) == [*range(1, 21)], "concurrent open_sessions get different epochs", sorted(epochs))


async def _lists_newest_first(catalog: Catalog) -> None:
    for session_id, at in (("b", 2), ("a", 2), ("c", 1), ("d", 3), ("gone", 2)):
        await catalog.open_session(session_id, at)
    await catalog.mark_deleted("gone", 9)
    await catalog.record_stored(stored_chunks(1, 2, key=StreamKey("a"), at=2))
    page = await catalog.list_sessions(limit=3)
    ids = [s.session_id for s in page]
    must(
        ids == ["d", "b", "a"], "list_sessions is by (created_at, session_id) descending, no tombstones", ids
    )
    must(
        page[2].streams["mixed"].held == ((1, 2),),
        "a summary shows the ledgers of its streams",
        page[2].streams,
    )
    rest = [s.session_id for s in await catalog.list_sessions(limit=3, before=(2, "a"))]
    must(rest == ["c"], "list_sessions gives those below `before` only", rest)


# -- the object table


async def _records_stored(catalog: Catalog) -> None:
    stored = stored_chunks(1, 100, duplicates=3, at=500)
    conflicts = await catalog.record_stored(stored)
    must(list(conflicts) == [], "record_stored answers no conflict where nothing was held", conflicts)
    await catalog.record_stored(stored_chunks(102, 103, at=400, final_length=320))
    record = await catalog.load_session("session")
    ledger = record.streams["mixed"].ledger if record is not None and "mixed" in record.streams else None
    must(ledger is not None, "record_stored creates session and stream where they are new", record)
    wanted = LedgerSnapshot(((1, 100), (102, 103)), 103, 320, 3, 400, 500)
    must(ledger == wanted, "record_stored merges the ledger in the same transaction", ledger)
    identities = await catalog.identities(KEY, [1, 64, 65, 100, 101, 102, 10_000])
    held = {seq: identity_of(seq) for seq in (1, 64, 65, 100, 102)}
    must(dict(identities) == held, "identities answers those of the seqs that are held", identities)
    keys = await catalog.held_objects("session")
    must(set(keys) == {"o/1-100", "o/102-103"}, "held_objects names every object of the session", keys)


async def _records_stored_once(catalog: Catalog) -> None:
    stored = stored_chunks(1, 10, duplicates=3)
    await catalog.record_stored(stored)
    before = await catalog.load_session("session"), await catalog.extents(KEY)
    again = await catalog.record_stored(stored)
    after = await catalog.load_session("session"), await catalog.extents(KEY)
    must(list(again) == [], "the same bytes again are no conflict", again)
    must(after == before, "record_stored is idempotent: an extent already there changes nothing", after)
    await catalog.record_stored(attrs.evolve(stored, extents=(), identities={}))
    record = await catalog.load_session("session")
    duplicates = None if record is None else record.streams["mixed"].ledger.duplicates
    must(duplicates == 6, "a step without extents adds its duplicates", duplicates)


async def _first_extent_stands(catalog: Catalog) -> None:
    await catalog.record_stored(stored_chunks(5, 5, object_key="early"))
    late = attrs.evolve(
        stored_chunks(1, 10, object_key="late"),
        identities={seq: identity_of(seq, 2 if seq in (5, 7) else 1) for seq in range(1, 11)},
    )
    conflicts = await catalog.record_stored(late)
    must(
        list(conflicts) == [5], "record_stored answers the seqs held before with another identity", conflicts
    )
    kept = await catalog.identities(KEY, [5])
    must(kept == {5: identity_of(5)}, "the identity of a held seq never changes", kept)
    extents = await catalog.extents(KEY, 5, 5)
    standing = min(extents, key=lambda e: e.recorded).key if extents else None
    must(standing == "early", "of two extents that hold a seq, the first has the lower `recorded`", extents)
    keys = await catalog.held_objects("session")
    must(set(keys) == {"early", "late"}, "an object that lost a seq is still in the object table", keys)


async def _finds_extents(catalog: Catalog) -> None:
    for first, last in ((61, 120), (1, 60), (200, 200)):
        await catalog.record_stored(stored_chunks(first, last))
    await catalog.record_stored(stored_chunks(1, 60, key=StreamKey("session", "other")))

    async def firsts(*bounds: int) -> Sequence[int]:
        return [e.first for e in await catalog.extents(KEY, *bounds)]

    for bounds, wanted in {
        (): [1, 61, 200],
        (60, 61): [1, 61],
        (60, 60): [1],
        (120, 200): [61, 200],
        (121, 199): [],
        (121,): [200],
        (201,): [],
    }.items():
        got = await firsts(*bounds)
        must(got == wanted, f"extents{bounds} answers those that overlap, in order of `first`", got)
    whole = await catalog.extents(KEY, 200)
    must(whole == list(stored_chunks(200, 200).extents), "an extent comes back as it was recorded", whole)


async def _merges_concurrent_steps(catalog: Catalog) -> None:
    async with trio.open_nursery() as nursery:
        for first in range(1, 200, 2):
            nursery.start_soon(catalog.record_stored, stored_chunks(first, first + 1, duplicates=1))
    record = await catalog.load_session("session")
    ledger = None if record is None else record.streams["mixed"].ledger
    wanted = LedgerSnapshot(((1, 200),), duplicates=100, started_at=1_000, updated_at=1_000)
    must(ledger == wanted, "concurrent record_storeds of one stream all count", ledger)


# -- events, state, idempotent answers


async def _numbers_events(catalog: Catalog) -> None:
    one, two = NewEvent(5, "resolve", {"x": [1, "é", None]}), NewEvent(6, "speech_started", {}, "teacher")
    appended = [*await catalog.append_events("session", [one], at=1)]
    appended += await catalog.append_events("session", [], at=2)
    appended += await catalog.append_events("session", [two, one], at=3)
    numbers = [e.seq_no for e in appended]
    must(numbers == [1, 2, 3], "append_events numbers from 1, without holes", numbers)
    listed = await catalog.events("session")
    must(list(listed) == appended, "events answers what was appended, ascending", listed)
    must(listed[1].stream == "teacher" and listed[0].body == one.body, "an event comes back whole", listed)
    after = [e.seq_no for e in await catalog.events("session", after=1, limit=1)]
    must(after == [2], "events answers those after `after`, at most `limit`", after)
    typed = [e.seq_no for e in await catalog.events("session", types=["resolve"])]
    must(typed == [1, 3], "events answers those of `types` only", typed)
    record = await catalog.load_session("session")
    must(record is not None and record.event_count == 3, "event_count counts the session's events", record)


async def _replaces_state(catalog: Catalog) -> None:
    state = SessionState(
        clusters=(Cluster("c1", (0.25, -1.0), 3, "Ann"),),
        bindings={"c1": "Ann"},
        roster=(Participant("Ann", "ann@example.org"), Participant("李")),
        config={"flag": True, "number": 2, "part": 0.5, "text": "x"},
        extra={"newer": {"deep": [1]}},
    )
    vad = {"mixed": VadPosition(16_000, {"voiced": [1, 2]})}
    await catalog.append_events("session", [], at=1, state=state, vad=vad)
    await catalog.append_events("session", [], at=2)
    record = await catalog.load_session("session")
    must(record is not None and record.state == state, "append_events replaces the state, whole", record)
    position = record.streams["mixed"].vad if record is not None and "mixed" in record.streams else None
    must(position == vad["mixed"], "append_events keeps the streams' VAD positions", record)


async def _keeps_answers(catalog: Catalog) -> None:
    answer = IdempotentAnswer("key", b"digest", b"\x00answer", 100)
    await catalog.append_events("session", [], at=1, answer=answer)
    kept = await catalog.idempotent_answer("session", "key", not_before=100)
    must(kept == answer, "idempotent_answer answers what was kept under the key", kept)
    for session_id, key, not_before in (
        ("session", "key", 101),
        ("session", "other", 0),
        ("other", "key", 0),
    ):
        kept = await catalog.idempotent_answer(session_id, key, not_before=not_before)
        must(kept is None, "an answer is its session's and key's, unless made before `not_before`", kept)
    newer = attrs.evolve(answer, answer=b"newer", created_at=200)
    await catalog.append_events("session", [], at=2, answer=newer)
    kept = await catalog.idempotent_answer("session", "key", not_before=0)
    must(kept == newer, "a newer answer takes the place of one under its key", kept)
    forgotten = await catalog.forget_idempotent_answers(200), await catalog.forget_idempotent_answers(201)
    must(forgotten == (0, 1), "forget_idempotent_answers deletes those made before, and counts", forgotten)


# -- finalize and delete


async def _keeps_results(catalog: Catalog) -> None:
    await catalog.open_session("session", 1)
    for result in (
        FinalizedResult(5, "sessions/session/result.json", "f1", {"complete": False, "missing": [[2, 3]]}),
        FinalizedResult(6, "sessions/session/result.json", "f2", {"complete": True, "missing": []}, 7),
    ):
        for _ in range(2):
            await catalog.record_finalized("session", result)
        record = await catalog.load_session("session")
        kept = None if record is None else record.finalized
        must(kept == result, "record_finalized keeps the last result, and is idempotent", kept)


async def _deletes(catalog: Catalog) -> None:
    await catalog.record_stored(stored_chunks(1, 5))
    await catalog.append_events("session", [NewEvent(1, "resolve", {})], at=1)
    await catalog.purge_session("session")
    kept = await catalog.held_objects("session")
    must(list(kept) == ["o/1-5"], "purge_session leaves a session without a tombstone alone", kept)
    for at in (50, 60):
        await catalog.mark_deleted("session", at)
    await catalog.mark_deleted("never seen", 70)
    record = await catalog.load_session("session")
    must(
        record is not None and record.deleted_at == 50, "mark_deleted is idempotent: the first stays", record
    )
    kept = await catalog.held_objects("session")
    must(list(kept) == ["o/1-5"], "a tombstone alone deletes nothing", kept)
    under_way = set(await catalog.deletions_under_way())
    must(under_way == {"session", "never seen"}, "deletions_under_way names tombstones not purged", under_way)
    for _ in range(2):
        await catalog.purge_session("session")
    left = await catalog.extents(KEY), await catalog.events("session"), await catalog.identities(KEY, [1])
    must(not any(left), "purge_session deletes everything", left)
    record = await catalog.load_session("session")
    must(record is not None and record.deleted_at == 50, "purge_session leaves the tombstone", record)
    under_way = set(await catalog.deletions_under_way())
    must(under_way == {"never seen"}, "a purged session is no longer under way", under_way)


async def _refuses_writes_to_the_deleted(catalog: Catalog) -> None:
    await catalog.mark_deleted("session", 1)
    result = FinalizedResult(5, "key", "f", {})
    for purged in (False, True):
        await _must_refuse(catalog.open_session("session", 2), "open_session")
        await _must_refuse(catalog.record_stored(stored_chunks(1, 1)), "record_stored")
        await _must_refuse(catalog.append_events("session", [], at=2), "append_events")
        await _must_refuse(catalog.record_finalized("session", result), "record_finalized")
        if not purged:
            await catalog.purge_session("session")


async def _cancels_whole(catalog: Catalog) -> None:
    """A call cancelled at any moment left all of its change or none."""
    for n in range(1, 20):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                step = partial(catalog.record_stored, stored_chunks(n, n))
                nursery.start_soon(step)
                for _ in range(n % 5):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
    await catalog.open_session("session", 1)  # what is under way comes before this
    record = await catalog.load_session("session")
    streams = {} if record is None else record.streams
    held = Ranges(streams["mixed"].ledger.held) if "mixed" in streams else Ranges()
    extents = Ranges((e.first, e.last) for e in await catalog.extents(KEY))
    identities = await catalog.identities(KEY, range(1, 20))
    must(
        held == extents and all((seq in held) == (seq in identities) for seq in range(1, 20)),
        "a cancelled call happened whole or not at all",
        (held, extents, sorted(identities)),
    )


async def _closes(catalog: Catalog) -> None:
    await catalog.aclose()
    await catalog.aclose()
    try:
        got: object = await catalog.load_session("session")
    except CatalogUnavailable:
        return
    must(False, "a closed catalog raises CatalogUnavailable", got)


CHECKS: tuple[Check, ...] = (
    _opens_sessions,
    _keeps_any_id,
    _gives_each_opener_an_epoch,
    _lists_newest_first,
    _records_stored,
    _records_stored_once,
    _first_extent_stands,
    _finds_extents,
    _merges_concurrent_steps,
    *USAGE_CHECKS,
    *FILE_CHECKS,
    *ACCESS_CHECKS,
    *UTTERANCE_CHECKS,
    _numbers_events,
    _replaces_state,
    _keeps_answers,
    _keeps_results,
    _deletes,
    _refuses_writes_to_the_deleted,
    _cancels_whole,
    _closes,
)
