"""Checks of a catalog's files: listed in pages, given up in two steps, swept by age."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from interview_edge.catalog import Catalog
from interview_edge.catalog.files import FileTotals, StoredFile
from interview_edge.core.keys import segment_key, session_component
from interview_edge.core.models import Caller, Extent, SegmentFormat, StreamKey
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.testing.catalog_steps import KEY, must, stored_chunks

ANN, BOB = Caller("ann", "key-1"), Caller("bob", "key-2")
PAGE = 3


def _chunk(seq: int, key: StreamKey) -> str:
    return f"o/{key.session_id}/{key.stream}/{seq}"


async def _store(catalog: Catalog, key: StreamKey, seqs: Sequence[int], at: int) -> None:
    for seq in seqs:
        await catalog.record_stored(stored_chunks(seq, seq, key=key, object_key=_chunk(seq, key), at=at))


async def _all(catalog: Catalog, **wanted: object) -> list[StoredFile]:
    """Page by page, as a visitor would."""
    found: list[StoredFile] = []
    while True:
        after = found[-1].cursor if found else None
        page = await catalog.files.listing(limit=PAGE, after=after, **wanted)  # type: ignore[arg-type]
        found += page
        if len(page) < PAGE:
            return found


async def _pages_through_files(catalog: Catalog) -> None:
    for session_id, at, caller in (("old", 1, ANN), ("new", 3, ANN), ("a tie", 3, ANN), ("bob's", 2, BOB)):
        await catalog.open_session(session_id, at, caller)
        await _store(catalog, StreamKey(session_id, "teacher"), [1, 2], at + 10)
        await _store(catalog, StreamKey(session_id), [2, 1, 4, 3, 5], at + 10)
    in_session = [("mixed", seq) for seq in range(1, 6)] + [("teacher", 1), ("teacher", 2)]
    wanted = [(session_id, *each) for session_id in ("new", "a tie", "old") for each in in_session]
    found = [(f.session_id, f.stream, f.first) for f in await _all(catalog, owner="ann")]
    must(found == wanted, "listing pages through an owner's files, those of the newest session first", found)
    everybody = await _all(catalog)
    must(len(everybody) == 28, "without an owner, listing shows everybody's files", len(everybody))
    must({f.owner for f in everybody} == {"ann", "bob"}, "a file names its session's owner", everybody)
    one = [(f.stream, f.first) for f in await _all(catalog, session_id="old")]
    must(one == in_session, "listing shows one session's files, where asked", one)
    early = {f.session_id for f in await _all(catalog, stored_before=13)}
    must(early == {"old", "bob's"}, "listing shows what was stored before a time, where asked", early)
    nobody = await catalog.files.listing(limit=PAGE, owner="nobody")
    must(list(nobody) == [], "a user without files has an empty listing", nobody)


async def _goes_on_where_a_file_was_given_up(catalog: Catalog) -> None:
    await _store(catalog, KEY, [*range(1, 8)], 5)
    page = await catalog.files.listing(limit=PAGE)
    await catalog.files.expire(KEY.session_id, [page[-1].key, page[0].key])
    await _store(catalog, KEY, [8], 6)
    rest = [f.first for f in await catalog.files.listing(limit=10, after=page[-1].cursor)]
    must(rest == [4, 5, 6, 7, 8], "a cursor stays good when its file is given up", rest)


async def _knows_a_file(catalog: Catalog) -> None:
    await catalog.open_session("session", 7, ANN)
    await catalog.record_stored(stored_chunks(3, 3, object_key="o/3", mark=5, at=9, final_length=320))
    found = await catalog.files.find("session", "o/3")
    wanted = StoredFile(
        session_id="session",
        owner="ann",
        session_created_at=7,
        stream="mixed",
        key="o/3",
        format="pcm",
        size=320,
        pcm_bytes=320,
        first=3,
        last=3,
        sha256=bytes([5]) * 32,
        stored_at=9,
    )
    must(found == wanted, "find answers what the object table knows of a file", found)
    must(await catalog.files.find("session", "o/4") is None, "find answers None for another key", "o/4")
    must(await catalog.files.find("other", "o/3") is None, "find looks in its session only", "other")


async def _shows_a_shared_object_once(catalog: Catalog) -> None:
    """Two nodes stored parts of one segment; its object is one file."""
    key = segment_key(KEY, 1, 60, SegmentFormat.FLAC)
    parts = [
        Extent(first, last, key, CHUNK_BYTES * 20, bytes([first]) * 32, "flac", offset, 7_000, 5)
        for first, last, offset in ((1, 20, 0), (41, 60, 40 * CHUNK_BYTES))
    ]
    for part in parts:
        step = stored_chunks(part.first, part.last, at=5)
        await catalog.record_stored(attrs.evolve(step, extents=[part]))
    await _store(catalog, KEY, [30], 6)
    files = await _all(catalog)
    shown = [(f.first, f.last, f.size, f.pcm_bytes, f.sha256 is None) for f in files]
    wanted = [(1, 60, 7_000, 40 * CHUNK_BYTES, True), (30, 30, CHUNK_BYTES, CHUNK_BYTES, False)]
    must(shown == wanted, "an object that several extents name is one file, of all their audio", shown)
    totals = await catalog.files.totals()
    must(totals == FileTotals(2, 7_000 + CHUNK_BYTES, 1), "totals count such an object once", totals)
    must(await catalog.files.find("session", key) == files[0], "find answers it likewise", key)
    given_up = await catalog.files.expire("session", [key])
    must([f.key for f in given_up] == [key], "expire answers such an object once", given_up)
    extents = {e.key: e.expired for e in await catalog.extents(KEY)}
    must(extents == {key: True, files[1].key: False}, "expire marks every extent in the object", extents)


async def _totals(catalog: Catalog) -> None:
    must(await catalog.files.totals() == FileTotals(), "an empty catalog has no files", "")
    await catalog.open_session("ann's", 1, ANN)
    await catalog.open_session("bob's", 1, BOB)
    await catalog.open_session("empty", 1, ANN)
    await _store(catalog, StreamKey("ann's"), [1, 2, 3], 5)
    await _store(catalog, StreamKey("bob's"), [1], 5)
    await catalog.record_stored(stored_chunks(1, 1, key=StreamKey("bob's"), object_key="o/bob's/mixed/1"))
    everybody = await catalog.files.totals()
    must(everybody == FileTotals(4, 4 * CHUNK_BYTES, 2), "totals count files, bytes, sessions", everybody)
    await catalog.files.expire("ann's", ["o/ann's/mixed/2", "o/ann's/mixed/2", "o/unknown"])
    await catalog.files.expire("ann's", ["o/ann's/mixed/2"])
    of_ann = await catalog.files.totals("ann")
    must(of_ann == FileTotals(2, 2 * CHUNK_BYTES, 1), "an expired file counts no more, once", of_ann)
    one = [await catalog.files.totals(session_id=each) for each in ("bob's", "empty", "unknown")]
    wanted = [FileTotals(1, CHUNK_BYTES, 1), FileTotals(), FileTotals()]
    must(one == wanted, "totals of one session count its files", one)
    await catalog.mark_deleted("ann's", 9)
    left = await catalog.files.totals()
    must(left == FileTotals(1, CHUNK_BYTES, 1), "files of tombstoned sessions don't count", left)
    must(not await _all(catalog, owner="ann"), "tombstoned sessions have no files", "ann")


async def _gives_up_in_two_steps(catalog: Catalog) -> None:
    await _store(catalog, KEY, [1, 2, 3], 5)
    keys = [_chunk(seq, KEY) for seq in (1, 2)]
    given_up = await catalog.files.expire(KEY.session_id, keys)
    must([f.key for f in given_up] == keys, "expire answers the files it marked", given_up)
    must(all(f.expired for f in given_up), "a file that expire answers is expired", given_up)
    again = await catalog.files.expire(KEY.session_id, keys)
    must(again == given_up, "expire is idempotent, and answers them until they are gone", again)
    waiting = await catalog.files.undeleted(limit=10)
    must([f.key for f in waiting] == keys, "undeleted answers what expired and isn't gone", waiting)
    one = await catalog.files.undeleted(limit=1)
    must(len(one) == 1, "undeleted answers at most `limit`", one)
    rest = await catalog.files.undeleted(limit=10, after=(KEY.session_id, one[0].key))
    must([f.key for f in rest] == keys[1:], "undeleted answers those after `after`", rest)
    expired = [e.expired for e in await catalog.extents(KEY)]
    must(expired == [True, True, False], "extents of an expired file say so", expired)
    held = await catalog.identities(KEY, [1, 2, 3])
    must(set(held) == {1, 2, 3}, "expire leaves the identities", held)
    record = await catalog.load_session(KEY.session_id)
    ledger = record.streams["mixed"].ledger.held if record else None
    must(ledger == ((1, 3),), "expire leaves the ledger", ledger)
    for wanted in (keys, []):
        noted = await catalog.files.record_gone(KEY.session_id, [*keys, _chunk(3, KEY)])
        must(list(noted) == wanted, "record_gone answers what wasn't recorded as gone before", noted)
    must(not await catalog.files.undeleted(limit=10), "record_gone ends it; repeated, all the same", "")
    must(not await catalog.files.expire(KEY.session_id, keys), "expire answers no file that is gone", keys)
    found = await catalog.files.find(KEY.session_id, keys[0])
    must(found is not None and found.expired, "find answers a file that is gone as expired", found)
    left = await catalog.files.find(KEY.session_id, _chunk(3, KEY))
    must(left is not None and not left.expired, "record_gone leaves what hasn't expired alone", left)


async def _says_what_expired(catalog: Catalog) -> None:
    must(await catalog.files.expired_seqs(KEY) == (), "nothing of an unknown stream has expired", "")
    for first, last in ((1, 3), (2, 5), (7, 8)):  # two nodes' objects share 2 and 3: the first stands
        await catalog.record_stored(stored_chunks(first, last))
    must(await catalog.files.expired_seqs(KEY) == (), "nothing has expired yet", "")
    await catalog.files.expire(KEY.session_id, ["o/2-5", "o/7-8"])
    found = await catalog.files.expired_seqs(KEY)
    must(found == ((4, 5), (7, 8)), "expired_seqs: a seq that another extent holds hasn't expired", found)
    await catalog.files.expire(KEY.session_id, ["o/1-3"])
    await catalog.files.record_gone(KEY.session_id, ["o/7-8"])
    found = await catalog.files.expired_seqs(KEY)
    must(found == ((1, 5), (7, 8)), "expired_seqs: gone or not", found)


async def _resizes(catalog: Catalog) -> None:
    await _store(catalog, KEY, [1, 2], 5)
    for _ in range(2):
        await catalog.files.resize(KEY.session_id, _chunk(1, KEY), 7)
    await catalog.files.resize(KEY.session_id, _chunk(9, KEY), 7)
    sizes = [f.size for f in await catalog.files.listing(limit=10)]
    must(sizes == [7, CHUNK_BYTES], "resize corrects one file's size", sizes)
    totals = await catalog.files.totals()
    must(totals == FileTotals(2, 7 + CHUNK_BYTES, 1), "totals follow", totals)
    await catalog.files.expire(KEY.session_id, [_chunk(1, KEY)])
    await catalog.files.resize(KEY.session_id, _chunk(1, KEY), 9)
    totals = await catalog.files.totals()
    must(totals == FileTotals(1, CHUNK_BYTES, 1), "an expired file counts no more, whatever its size", totals)


async def _sweeps(catalog: Catalog) -> None:
    for session_id, at in (("a", 1), ("b", 5), ("c", 50), ("gone", 1)):
        await catalog.open_session(session_id, at)
        await _store(catalog, StreamKey(session_id), [1], at)
    await catalog.mark_deleted("gone", 60)
    due = await catalog.files.sessions_to_sweep(10, limit=10)
    must(list(due) == ["a", "b"], "sessions_to_sweep: created before the time, without tombstone", due)
    paged = await catalog.files.sessions_to_sweep(10, limit=1, after="a")
    must(list(paged) == ["b"], "sessions_to_sweep gives those after `after`, at most `limit`", paged)
    await catalog.files.record_swept("a", 10)
    due = await catalog.files.sessions_to_sweep(20, limit=10)
    must(list(due) == ["b"], "a session that was swept since its last change isn't due", due)
    await _store(catalog, StreamKey("a"), [2], 12)
    due = await catalog.files.sessions_to_sweep(20, limit=10)
    must(list(due) == ["a", "b"], "one that changed since is", due)


async def _finds_the_session_of_a_key(catalog: Catalog) -> None:
    ids = ["plain", "a/b", "会议 一", "会" * 100, "会" * 99 + "x", "a%2Fb", "é" * 128]
    for session_id in ids:
        await catalog.open_session(session_id, 1)
    for session_id in ids:
        found = await catalog.files.session_of(session_component(session_id))
        must(found == session_id, "session_of finds the session by its part of a key", (session_id, found))
    for component in ("unknown", "a/b", "%2", "%61", "x~", session_component("é" * 127 + "y")):
        found = await catalog.files.session_of(component)
        must(found is None, "session_of answers None where no session has that part", (component, found))


FILE_CHECKS = (
    _pages_through_files,
    _goes_on_where_a_file_was_given_up,
    _knows_a_file,
    _shows_a_shared_object_once,
    _totals,
    _gives_up_in_two_steps,
    _says_what_expired,
    _resizes,
    _sweeps,
    _finds_the_session_of_a_key,
)
