"""The keys in memory, beside a catalog that works only in part."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import trio

from api_keys import bearer, give_key
from asgi_calls import call
from interview_edge.app import Edge, wall_ms
from interview_edge.catalog.access import AuditEntry
from interview_edge.catalog.protocol import CatalogUnavailable
from nodes import OpenNode


async def used_and_revoked_elsewhere(edge: Edge) -> str:
    """A key's id, used here, and revoked as another process would: the node isn't told."""
    key = await give_key(edge, "sessions")
    await call(edge.asgi_app, "GET", "/auth/me", headers=bearer(key))
    key_id = key.split("_")[1]
    entry = AuditEntry(at=wall_ms(), action="key.revoke", outcome="done")
    await edge.parts.catalog.access.revoke_key(key_id, wall_ms(), entry)
    return key_id


async def test_a_catalog_that_takes_no_writes_hides_no_revocation(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_: Mapping[str, int]) -> None:
        raise CatalogUnavailable("the disk is full")

    async with open_node(key_poll_interval=0.01) as edge:
        monkeypatch.setattr(edge.parts.catalog.access, "note_key_uses", fails)
        busy = bearer(await give_key(edge, "sessions"))  # so that each look has a use to note
        key_id = await used_and_revoked_elsewhere(edge)
        with trio.fail_after(5):
            while edge.access.ring.is_valid(key_id):
                await call(edge.asgi_app, "GET", "/auth/me", headers=busy)


async def test_when_a_key_was_used_is_written_once_it_can_be(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(key_poll_interval=0.01) as edge:
        records = edge.parts.catalog.access
        write, tried = records.note_key_uses, trio.Event()

        async def fails_once(used: Mapping[str, int]) -> None:
            if not tried.is_set():
                tried.set()
                raise CatalogUnavailable("not now")
            await write(used)

        monkeypatch.setattr(records, "note_key_uses", fails_once)
        await used_and_revoked_elsewhere(edge)
        with trio.fail_after(5):
            await tried.wait()
            while (await records.keys())[0].last_used_at is None:
                await trio.sleep(0.01)
