"""Checks of a catalog's usage: counted in the transaction of what it counts, and once."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import trio

from interview_edge.catalog import Catalog
from interview_edge.catalog.access import UsageKind
from interview_edge.core.models import Caller, Extent, StreamKey
from interview_edge.core.pcm import CHUNK_BYTES, CHUNK_SAMPLES
from interview_edge.testing.catalog_steps import KEY, must, stored_chunks

DAY_MS = 86_400_000
ANN = Caller("ann", "key-1")


def _amounts(chunks: int, samples: int, stored: int) -> dict[str, int]:
    found = {
        UsageKind.CHUNKS.value: chunks,
        UsageKind.AUDIO_SAMPLES.value: samples,
        UsageKind.STORED_BYTES.value: stored,
    }
    return {what: amount for what, amount in found.items() if amount}


async def _used(catalog: Catalog) -> dict[tuple[str, str, str], Mapping[str, int]]:
    rows = await catalog.access.usage("0000-01-01", "9999-12-31")
    return {(row.day, row.owner, row.key_id): row.amounts for row in rows}


async def _counts_what_was_stored(catalog: Catalog) -> None:
    await catalog.open_session("session", 1, ANN)
    await catalog.record_stored(stored_chunks(1, 60, at=DAY_MS - 1))
    await catalog.record_stored(stored_chunks(61, 62, at=DAY_MS, final_length=320))
    await catalog.record_stored(stored_chunks(1, 1, key=StreamKey("nobody's"), at=DAY_MS))
    wanted = {
        ("1970-01-01", "ann", "key-1"): _amounts(60, 60 * CHUNK_SAMPLES, 60 * CHUNK_BYTES),
        ("1970-01-02", "ann", "key-1"): _amounts(2, CHUNK_SAMPLES + 160, CHUNK_BYTES + 320),
        ("1970-01-02", "local", ""): _amounts(1, CHUNK_SAMPLES, CHUNK_BYTES),
    }
    used = await _used(catalog)
    must(used == wanted, "record_stored counts usage of owner and key on the day of stored_at", used)
    first = await catalog.access.usage("1970-01-01", "1970-01-01", owner="ann", key_id="key-1")
    must([r.day for r in first] == ["1970-01-01"], "usage answers the days asked for", first)
    others = await catalog.access.usage("1970-01-01", "1970-01-02", owner="bob")
    must(not others, "usage answers those of `owner` only", others)


async def _counts_once(catalog: Catalog) -> None:
    await catalog.open_session("session", 1, ANN)
    stored = stored_chunks(1, 10, duplicates=3)
    await catalog.record_stored(stored)
    once = await _used(catalog)
    await catalog.record_stored(attrs.evolve(stored, stored_at=stored.stored_at + DAY_MS))
    await catalog.record_stored(attrs.evolve(stored, extents=(), identities={}))
    await catalog.open_session("session", 2, Caller("root", "key-2", sees_all=True))
    await catalog.record_stored(stored)
    again = await _used(catalog)
    must(again == once, "a step that is repeated counts nothing more", again)
    await catalog.record_stored(stored_chunks(5, 5, object_key="other", mark=2))
    amounts = (await _used(catalog))["1970-01-01", "ann", "key-1"]
    wanted = _amounts(10, 10 * CHUNK_SAMPLES, 11 * CHUNK_BYTES)
    must(amounts == wanted, "a conflict counts as no chunk, its object as bytes", amounts)
    await catalog.mark_deleted("session", 5)
    await catalog.purge_session("session")
    must(bool(await _used(catalog)), "usage outlives the session", await _used(catalog))


async def _counts_an_object_once(catalog: Catalog) -> None:
    """One object in which several extents lie: another node had stored some of its seqs."""
    await catalog.record_stored(stored_chunks(3, 3, object_key="three"))
    whole = stored_chunks(1, 5, object_key="segment")
    for first, last in ((1, 2), (4, 5)):
        length = (last - first + 1) * CHUNK_BYTES
        extent = Extent(
            first, last, "segment", length, bytes(32), "flac", (first - 1) * CHUNK_BYTES, object_size=777
        )
        step = attrs.evolve(stored_chunks(first, last), extents=[extent])
        await catalog.record_stored(step)
    await catalog.record_stored(
        attrs.evolve(whole, extents=[attrs.evolve(whole.extents[0], object_size=777)])
    )
    amounts = (await _used(catalog))["1970-01-01", "local", ""]
    wanted = _amounts(5, 5 * CHUNK_SAMPLES, CHUNK_BYTES + 777)
    must(amounts == wanted, "an object counts once however many extents lie in it", amounts)


async def _counts_concurrent_steps(catalog: Catalog) -> None:
    async with trio.open_nursery() as nursery:
        for first in range(1, 100, 2):
            for _ in range(2):
                nursery.start_soon(catalog.record_stored, stored_chunks(first, first + 1))
    amounts = (await _used(catalog))["1970-01-01", "local", ""]
    wanted = _amounts(100, 100 * CHUNK_SAMPLES, 100 * CHUNK_BYTES)
    must(amounts == wanted, "concurrent steps, and their repeats, count each once", amounts)
    held = await catalog.identities(KEY, range(1, 101))
    must(len(held) == 100, "what is counted is held", held)


async def _cuts_a_long_answer(catalog: Catalog) -> None:
    for n, caller in enumerate((ANN, Caller("bob"), Caller("carol", "key-3"))):
        await catalog.open_session(f"s{n}", 1, caller)
        await catalog.record_stored(stored_chunks(1, 1, key=StreamKey(f"s{n}")))
    whole = await catalog.access.usage("1970-01-01", "1970-01-01")
    for limit in (1, 2, 3, 4):
        part = await catalog.access.usage("1970-01-01", "1970-01-01", limit=limit)
        must(list(part) == list(whole)[:limit], "usage answers the first `limit` rows, each whole", part)


async def _finds_the_payer(catalog: Catalog) -> None:
    await catalog.open_session("session", 1, ANN)
    await catalog.record_stored(stored_chunks(1, 2))
    payer = catalog.access.usage_of_payer
    found = await payer("session", "1970-01-01", owner="bob", key_id="key-2")
    must(
        (found.owner, found.key_id, found.amounts) == ("ann", "key-1", _amounts(2, 32_000, 2 * CHUNK_BYTES)),
        "usage_of_payer answers for owner and key of the session",
        found,
    )
    for session_id, day in (("session", "1970-01-02"), ("new", "1970-01-01")):
        found = await payer(session_id, day, owner="bob", key_id="key-2")
        who = ("ann", "key-1") if session_id == "session" else ("bob", "key-2")
        must(
            (found.owner, found.key_id, found.day, dict(found.amounts)) == (*who, day, {}),
            "usage_of_payer answers for these where there is no session, and nothing for a day without",
            found,
        )


USAGE_CHECKS = (
    _counts_what_was_stored,
    _counts_once,
    _counts_an_object_once,
    _counts_concurrent_steps,
    _cuts_a_long_answer,
    _finds_the_payer,
)
