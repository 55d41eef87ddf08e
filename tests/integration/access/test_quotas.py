"""Quotas: who has used up the day's is not let in, who is in goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from api_keys import bearer, give_key
from asgi_calls import Answer, call, refused_upgrade
from interview_edge.access.credentials import Bearer
from interview_edge.app import Edge
from interview_edge.client import open_ingest
from interview_edge.core.models import Caller
from interview_edge.core.times import next_utc_day_ms
from interview_edge.errors import EdgeError
from interview_edge.serving import open_server
from interview_edge.settings import Settings
from nodes import Gate, OpenNode, second
from recordings import caller_of, record

SECOND = 16_000  # samples


async def is_let_in(edge: Edge, session_id: str, key: str) -> bool:
    """Whether a socket of the session would open; by the check itself, since one that opens stays open."""
    principal = await edge.access.authenticator.recognise(Bearer(key))
    try:
        await edge.access.quotas.check_recording(principal, session_id)
    except EdgeError:
        answer = await refused_upgrade(edge.asgi_app, f"/v1/audio/ws/{session_id}", headers=bearer(key))
        assert isinstance(answer, Answer)
        assert answer.json()["code"] == "quota_exceeded"
        return False
    return True


async def test_who_used_up_a_quota_is_told_which_and_until_when(open_node: OpenNode) -> None:
    async with open_node() as edge:
        key = await give_key(edge, "ingest", quotas={"audio_samples": 2 * SECOND})
        await record(edge, "one", caller_of(key), range(1, 3))
        before = edge.parts.wall_ms()
        answer = await refused_upgrade(edge.asgi_app, "/v1/audio/ws/two", headers=bearer(key))
    assert isinstance(answer, Answer)
    assert answer.status == 429
    assert answer.json()["detail"] == "the day's quota of audio seconds is used up"
    assert answer.json()["what"] == "audio_samples"
    left = (next_utc_day_ms(before) - before) / 1000
    assert left - 60 < int(answer.headers["retry-after"]) <= left + 1


@pytest.mark.parametrize(
    ("quotas", "seconds", "goes_on"),
    [
        ({"audio_samples": 2 * SECOND}, 1, True),
        ({"audio_samples": 2 * SECOND}, 2, False),
        ({"stored_bytes": 64_001}, 2, True),
        ({"stored_bytes": 64_000}, 2, False),
        ({"chunks": 2}, 2, False),
        ({"audio_samples": 0}, 0, False),
        ({"realtime_tokens": 0}, 2, True),
        ({}, 2, True),
    ],
)
async def test_a_quota_ends_where_it_is_reached(
    open_node: OpenNode, quotas: dict[str, int], seconds: int, goes_on: bool
) -> None:
    async with open_node() as edge:
        key = await give_key(edge, "ingest", quotas=quotas)
        if seconds:
            await record(edge, "one", caller_of(key), range(1, seconds + 1))
        assert await is_let_in(edge, "one", key) is goes_on
        assert await is_let_in(edge, "new", key) is goes_on


async def test_a_key_s_own_quota_goes_before_the_setting_s(open_node: OpenNode) -> None:
    async with open_node(quota_audio_seconds=2, quota_stored_bytes=10**9) as edge:
        usual, generous = (
            await give_key(edge, "ingest"),
            await give_key(edge, "ingest", quotas={"audio_samples": 9 * SECOND}),
        )
        for name, key in (("one", usual), ("two", generous)):
            await record(edge, name, caller_of(key), range(1, 4))
        assert not await is_let_in(edge, "new", usual)
        assert await is_let_in(edge, "new", generous)


async def test_a_session_counts_for_the_key_that_opened_it_whoever_goes_on(open_node: OpenNode) -> None:
    async with open_node() as edge:
        spent = await give_key(edge, "ingest", quotas={"audio_samples": SECOND})
        other = await give_key(edge, "ingest", quotas={"audio_samples": SECOND})
        await record(edge, "one", caller_of(spent), range(1, 3))
        assert not await is_let_in(edge, "one", other)
        assert await is_let_in(edge, "two", other)


async def test_while_there_are_no_keys_the_setting_s_quota_is_everybody_s(open_node: OpenNode) -> None:
    async with open_node(quota_audio_seconds=2) as edge:
        await record(edge, "one", Caller(), range(1, 3))
        answer = await refused_upgrade(edge.asgi_app, "/v1/audio/ws/new")
        read = await call(edge.asgi_app, "GET", "/v1/sessions/one/state")
    assert isinstance(answer, Answer)
    assert answer.json()["code"] == "quota_exceeded"
    assert read.status == 200


async def test_who_was_let_in_goes_on(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, port=0, journal_min_free_bytes=0, drain_timeout=2.0)
    with trio.fail_after(30):
        async with open_server(settings) as server:
            key = await give_key(server.edge, "ingest", quotas={"audio_samples": SECOND})
            async with open_ingest(server.url, "one", api_key=key) as ingest:
                await ingest.send(second(1))
                await ingest.finalize()
                assert not await is_let_in(server.edge, "two", key)
                await ingest.send(second(2))
                await ingest.finalize()
            assert not await is_let_in(server.edge, "one", key)
            session = await server.edge.parts.catalog.load_session("one")
    assert session is not None
    assert session.streams["mixed"].ledger.held == ((1, 2),)


async def test_without_quotas_the_catalog_is_not_asked(open_node: OpenNode) -> None:
    async with open_node() as edge:
        key = await give_key(edge, "ingest")
        await edge.parts.catalog.aclose()
        assert await is_let_in(edge, "one", key)


async def test_a_catalog_that_hangs_keeps_nobody_waiting(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(quota_audio_seconds=2, storage_timeout=0.05) as edge:
        Gate(edge.access.records, "usage_of_payer", monkeypatch)
        answer = await refused_upgrade(edge.asgi_app, "/v1/audio/ws/one")
    assert isinstance(answer, Answer)
    assert (answer.status, answer.json()["code"]) == (503, "catalog_unavailable")
