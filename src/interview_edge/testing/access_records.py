"""Checks of a catalog's access records, and of whose its sessions are."""

from __future__ import annotations

from functools import partial

import attrs
import trio

from interview_edge.catalog import Catalog, SessionIsDeleted, SessionOfAnother
from interview_edge.catalog.access import (
    AuditEntry,
    Grant,
    GrantKind,
    KeyRecord,
    Reservation,
    UsageKind,
)
from interview_edge.core.models import Caller
from interview_edge.testing.catalog_steps import must

_ENTRY = AuditEntry(at=5, action="key.create", outcome="done", owner="root", detail={"why": ["a", 1]})
_KEY = KeyRecord(
    key_id="k1",
    digest=b"d" * 32,
    name="laptop",
    owner="ann",
    scopes=frozenset({"ingest", "sessions"}),
    created_at=10,
    quotas={"chunks": 7},
    expires_at=99,
)
_GRANT = Grant(
    kind=GrantKind.TICKET,
    digest=b"t" * 32,
    owner="ann",
    scopes=frozenset({"ingest"}),
    created_at=10,
    expires_at=20,
    key_id="k1",
    until=25,
)
_MINT = Reservation(
    reservation_id="r1",
    day="2026-01-01",
    owner="ann",
    key_id="k1",
    what=UsageKind.REALTIME_TOKENS,
    amount=1,
    expires_at=100,
)


async def _keeps_keys(catalog: Catalog) -> None:
    records = catalog.access
    later = attrs.evolve(_KEY, key_id="k0", created_at=11, expires_at=None)
    await records.add_key(later, _ENTRY)
    await records.add_key(_KEY, _ENTRY)
    found = await records.keys()
    must(list(found) == [_KEY, later], "keys answers every key, by created_at", found)
    rows = await records.audit()
    must([row for _, row in rows] == [_ENTRY, _ENTRY], "add_key keeps its audit row as it was given", rows)
    await records.note_key_uses({"k1": 50, "unknown": 1})
    await records.note_key_uses({"k1": 40})
    used = (await records.keys())[0].last_used_at
    must(used == 50, "note_key_uses raises last_used_at; it never falls", used)


async def _revokes_keys(catalog: Catalog) -> None:
    records = catalog.access
    await records.add_key(_KEY, _ENTRY)
    first = await records.revoke_key("k1", 30, attrs.evolve(_ENTRY, action="key.revoke"))
    again = await records.revoke_key("k1", 31, attrs.evolve(_ENTRY, action="key.revoke"))
    must(first == attrs.evolve(_KEY, revoked_at=30), "revoke_key answers the key as it is then", first)
    must(again == first, "the first revocation's time stays", again)
    nobody = await records.revoke_key("unknown", 32, _ENTRY)
    must(nobody is None, "revoke_key answers None where there is no key", nobody)
    rows = await records.audit(action="key.revoke")
    must([n for n, _ in rows] == [2, 3], "a revocation leaves an audit row, one of no key none", rows)


async def _one_taker_gets_a_grant(catalog: Catalog) -> None:
    records = catalog.access
    await records.add_grant(_GRANT)
    must(await records.grant(GrantKind.LOGIN, _GRANT.digest) is None, "grants are by kind", None)
    left = await records.grant(GrantKind.TICKET, _GRANT.digest)
    must(left == _GRANT, "grant answers it and leaves it where it is", left)
    taken: list[Grant] = []

    async def take() -> None:
        found = await records.take_grant(GrantKind.TICKET, _GRANT.digest)
        if found is not None:
            taken.append(found)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(take)
    must(taken == [_GRANT], "of any number of takers at once, one gets the grant", taken)


async def _forgets_expired_grants(catalog: Catalog) -> None:
    records = catalog.access
    await records.add_grant(_GRANT)
    await records.add_grant(attrs.evolve(_GRANT, digest=b"u" * 32, created_at=21, expires_at=30))
    must(await records.grant(GrantKind.TICKET, _GRANT.digest) is None, "add_grant forgets expired ones", None)


async def _numbers_audit_rows(catalog: Catalog) -> None:
    records = catalog.access
    full = attrs.evolve(
        _ENTRY, key_id="k1", target="session/ü", address="::1", request_id="r", outcome="refused"
    )
    async with trio.open_nursery() as nursery:
        for number in range(10):
            entry = attrs.evolve(full, owner="ann" if number % 2 else None, action=f"act-{number % 3}")
            nursery.start_soon(records.append_audit, entry)
    rows = await records.audit()
    must([n for n, _ in rows] == [*range(1, 11)], "audit rows are numbered on from 1 without holes", rows)
    page = await records.audit(after=3, limit=2)
    must([n for n, _ in page] == [4, 5], "audit answers rows above `after`, `limit` at most", page)
    own = await records.audit(owner="ann")
    must(len(own) == 5 and all(row.owner == "ann" for _, row in own), "audit filters by owner", own)
    acts = await records.audit(action="act-0")
    must(len(acts) == 4 and {row.action for _, row in acts} == {"act-0"}, "audit filters by action", acts)


async def _reserves_up_to_the_limit(catalog: Catalog) -> None:
    records = catalog.access
    granted: list[bool] = []

    async def reserve(name: str) -> None:
        granted.append(await records.reserve(attrs.evolve(_MINT, reservation_id=name), 3, 10))

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(reserve, f"r{number}")
    must(sorted(granted) == [False] * 5 + [True] * 3, "reservations at once don't pass the limit", granted)
    other = await records.reserve(attrs.evolve(_MINT, reservation_id="bob's", owner="bob"), 3, 10)
    must(other, "the limit is an owner's", other)
    after = await records.reserve(attrs.evolve(_MINT, reservation_id="late"), 3, 101)
    must(after, "reservations that expired don't count any more", after)


async def _settles_once(catalog: Catalog) -> None:
    records = catalog.access
    for name in ("r1", "r2"):
        await records.reserve(attrs.evolve(_MINT, reservation_id=name), 2, 10)
    for _ in range(2):
        await records.settle("r1")
        await records.cancel("r2")
    rows = await records.usage("2026-01-01", "2026-01-01")
    used = [(row.owner, row.key_id, dict(row.amounts)) for row in rows]
    must(used == [("ann", "k1", {"realtime_tokens": 1})], "settle counts once, cancel doesn't count", used)
    must(not await records.reserve(attrs.evolve(_MINT, amount=2), 2, 10), "what is used counts", None)
    must(await records.reserve(_MINT, 2, 10), "what was cancelled is free again", None)


async def _sessions_have_owners(catalog: Catalog) -> None:
    ann, bob, root = Caller("ann", "k1"), Caller("bob"), Caller("root", sees_all=True)
    must(await catalog.owner_of("s") is None, "owner_of answers None for a session never seen", None)
    made = await catalog.open_session("s", 1, ann)
    must(made.owner == "ann", "open_session makes a new session the caller's", made)
    try:
        got: object = await catalog.open_session("s", 2, bob)
    except SessionOfAnother:
        got = None
    must(got is None, "open_session raises SessionOfAnother for one that the caller may not see", got)
    record = await catalog.load_session("s")
    must(record == made, "a refused open_session changes nothing", record)
    opened = await catalog.open_session("s", 3, root)
    must(
        (opened.owner, opened.epoch) == ("ann", 2), "who sees all opens it, and it stays its owner's", opened
    )
    await catalog.mark_deleted("s", 4)
    must(await catalog.owner_of("s") == "ann", "owner_of knows a tombstoned session's owner", None)
    for caller, error in ((bob, SessionOfAnother), (ann, SessionIsDeleted)):
        try:
            await catalog.open_session("s", 5, caller)
        except (SessionOfAnother, SessionIsDeleted) as refused:
            got = type(refused)
        must(got is error, "a tombstone is told to those only who may see the session", got)


async def _lists_by_owner(catalog: Catalog) -> None:
    for number, name in enumerate(["ann", "bob", "ann"]):
        await catalog.open_session(f"s{number}", number, Caller(name))
    list_own = partial(catalog.list_sessions, owner="ann")
    found = [(summary.session_id, summary.owner) for summary in await list_own(limit=10)]
    must(found == [("s2", "ann"), ("s0", "ann")], "list_sessions answers one owner's only", found)
    page = [summary.session_id for summary in await list_own(limit=10, before=(2, "s2"))]
    must(page == ["s0"], "list_sessions pages within an owner's", page)


ACCESS_CHECKS = (
    _keeps_keys,
    _revokes_keys,
    _one_taker_gets_a_grant,
    _forgets_expired_grants,
    _numbers_audit_rows,
    _reserves_up_to_the_limit,
    _settles_once,
    _sessions_have_owners,
    _lists_by_owner,
)
