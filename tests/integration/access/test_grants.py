"""Tickets and logins on a real catalog."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest
import trio

from interview_edge.access.grants import Grants
from interview_edge.access.principal import EVERYBODY, Principal, Scope, Via
from interview_edge.catalog import open_sqlite_catalog
from interview_edge.catalog.access import GrantKind

ALICE = Principal("alice", frozenset({Scope.INGEST}), Via.KEY, "k1")


@attrs.define
class Clock:
    now: int = 1_000_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def grants(tmp_path: Path, clock: Clock) -> AsyncIterator[Grants]:
    async with open_sqlite_catalog(tmp_path / "catalog.db") as catalog:
        yield Grants(catalog.access, key_stands=lambda key: key == "k1", now_ms=lambda: clock.now)


async def test_a_ticket_stands_for_who_asked_for_it(grants: Grants) -> None:
    given = await grants.give(GrantKind.TICKET, ALICE, 60)
    assert await grants.redeem_ticket(given.text) == attrs.evolve(ALICE, via=Via.TICKET)


async def test_of_many_takers_at_once_one_gets_the_ticket(grants: Grants) -> None:
    given = await grants.give(GrantKind.TICKET, ALICE, 60)
    found: list[Principal | None] = []

    async def take() -> None:
        found.append(await grants.redeem_ticket(given.text))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(take)
    assert len([one for one in found if one is not None]) == 1


async def test_a_ticket_expires(grants: Grants, clock: Clock) -> None:
    given = await grants.give(GrantKind.TICKET, ALICE, 60)
    clock.now += 60_000
    assert await grants.redeem_ticket(given.text) is None


async def test_a_grant_ends_with_what_it_stands_for(grants: Grants, clock: Clock) -> None:
    ending = attrs.evolve(ALICE, expires_at=clock.now + 5_000)
    given = await grants.give(GrantKind.LOGIN, ending, 3600)
    assert given.expires_at == clock.now + 5_000
    revoked = await grants.give(GrantKind.TICKET, attrs.evolve(ALICE, key_id="k2"), 60)
    assert await grants.redeem_ticket(revoked.text) is None


async def test_a_login_is_used_often_until_it_ends(grants: Grants, clock: Clock) -> None:
    given = await grants.give(GrantKind.LOGIN, ALICE, 60)
    for _ in range(2):
        found = await grants.find_login(given.text)
        assert found is not None
        assert (found.user, found.expires_at) == ("alice", given.expires_at)
    assert await grants.redeem_ticket(given.text) is None
    await grants.end_login(given.text)
    assert await grants.find_login(given.text) is None


async def test_what_expired_is_forgotten(grants: Grants, clock: Clock, tmp_path: Path) -> None:
    given = await grants.give(GrantKind.LOGIN, ALICE, 60)
    clock.now += 61_000
    await grants.give(GrantKind.TICKET, ALICE, 60)
    clock.now -= 61_000
    assert await grants.find_login(given.text) is None


@pytest.mark.parametrize("text", ["", "x", "é" * 50])
async def test_made_up_text_is_nobody_s(grants: Grants, text: str) -> None:
    assert await grants.redeem_ticket(text) is None
    assert await grants.find_login(text) is None


async def test_a_ticket_s_socket_does_not_outlive_the_credential(grants: Grants, clock: Clock) -> None:
    jwt = Principal("alice", frozenset({Scope.INGEST}), Via.JWT, expires_at=clock.now + 300_000)
    found = await grants.redeem_ticket((await grants.give(GrantKind.TICKET, jwt, 60)).text)
    assert found is not None
    assert found.expires_at == clock.now + 300_000


async def test_a_ticket_of_the_time_before_keys_opens_nothing_after(grants: Grants) -> None:
    found = await grants.redeem_ticket((await grants.give(GrantKind.TICKET, EVERYBODY, 60)).text)
    assert found is not None
    assert found.scopes == frozenset()
