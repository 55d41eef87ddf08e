"""`GET /v1/usage`: one's own, by day and key, and what is left of today's quotas."""

from __future__ import annotations

from typing import Any

import pytest

from api_keys import bearer, give_key
from asgi_calls import call
from interview_edge.core.models import Caller
from interview_edge.core.times import utc_day
from interview_edge.web import usage_resource
from nodes import OpenNode
from recordings import caller_of, record

NOTHING = {"chunks": 0, "audio_seconds": 0, "stored_bytes": 0, "realtime_tokens": 0}


def used(seconds: int) -> dict[str, Any]:
    return NOTHING | {"chunks": seconds, "audio_seconds": seconds, "stored_bytes": seconds * 32_000}


async def test_one_s_own_usage_is_shown_by_day_and_key(open_node: OpenNode) -> None:
    async with open_node() as edge:
        key, other = await give_key(edge, "ingest"), await give_key(edge, "ingest", owner="bob")
        await record(edge, "one", caller_of(key), range(1, 4))
        await record(edge, "two", Caller("alice"), range(1, 2))  # by a JWT
        await record(edge, "three", caller_of(other, "bob"), range(1, 2))
        day = utc_day(edge.parts.wall_ms())
        target = f"/v1/usage?from={day}&to={day}"
        answer = await call(edge.asgi_app, "GET", target, headers=bearer(key))
    shown = answer.json()
    assert (shown["from"], shown["to"], shown["user"]) == (day, day, "alice")
    assert shown["totals"] == used(4)
    assert shown["days"] == [
        {"day": day, "user": "alice", "key_id": None} | used(1),
        {"day": day, "user": "alice", "key_id": key.split("_")[1]} | used(3),
    ]
    assert shown["quotas"] == []


async def test_without_dates_it_is_this_month(open_node: OpenNode) -> None:
    async with open_node() as edge:
        await record(edge, "one", Caller(), range(1, 3))
        today = utc_day(edge.parts.wall_ms())
        shown = (await call(edge.asgi_app, "GET", "/v1/usage")).json()
        earlier = (await call(edge.asgi_app, "GET", "/v1/usage?to=2024-02-29")).json()
    assert (shown["from"], shown["to"]) == (today[:8] + "01", today)
    assert shown["totals"] == used(2)
    assert (earlier["from"], earlier["to"], earlier["days"]) == ("2024-02-01", "2024-02-29", [])
    assert earlier["totals"] == NOTHING


async def test_a_node_with_quotas_shows_what_is_used_of_them(open_node: OpenNode) -> None:
    async with open_node(quota_audio_seconds=100) as edge:
        key = await give_key(edge, "ingest", quotas={"stored_bytes": 64_000})
        await record(edge, "one", caller_of(key), range(1, 3))
        shown = (await call(edge.asgi_app, "GET", "/v1/usage", headers=bearer(key))).json()
        tomorrow = shown["quotas"][0].pop("resets_at"), shown["quotas"][1].pop("resets_at")
    key_id = key.split("_")[1]
    assert shown["quotas"] == [
        {"key_id": key_id, "what": "audio_seconds", "used": 2, "limit": 100},
        {"key_id": key_id, "what": "stored_bytes", "used": 64_000, "limit": 64_000},
    ]
    assert all(text.endswith("T00:00:00.000Z") for text in tomorrow)


async def test_another_s_usage_is_an_admin_s_to_see(open_node: OpenNode) -> None:
    async with open_node() as edge:
        key, root = await give_key(edge, "ingest"), await give_key(edge, "admin", owner="root")
        await record(edge, "one", caller_of(key), range(1, 2))
        await record(edge, "two", caller_of(root, "root"), range(1, 3))
        for query in ("owner=root", "all=true"):
            refused = await call(edge.asgi_app, "GET", f"/v1/usage?{query}", headers=bearer(key))
            assert (refused.status, refused.json()["error"]["code"]) == (403, "insufficient_scope")
        totals = {
            query: (await call(edge.asgi_app, "GET", f"/v1/usage?{query}", headers=bearer(root))).json()
            for query in ("", "owner=alice", "all=true")
        }
    assert [shown["totals"]["chunks"] for shown in totals.values()] == [2, 1, 3]
    assert [shown["user"] for shown in totals.values()] == ["root", "alice", None]
    assert [row["user"] for row in totals["all=true"]["days"]] == ["alice", "root"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=yesterday", "from"),
        ("to=2026-02-30", "to"),
        ("to=20260201", "to"),
        ("to=0000-01-01", "to"),
        ("from=2026-02-02&to=2026-02-01", "from"),
        ("from=2025-01-01&to=2026-01-02", "from"),
        ("from=", "from"),
        ("all=yes", "all"),
    ],
)
async def test_a_query_that_breaks_a_rule_is_told_which(open_node: OpenNode, query: str, field: str) -> None:
    async with open_node() as edge:
        answer = await call(edge.asgi_app, "GET", f"/v1/usage?{query}")
    assert answer.status == 400
    assert answer.json()["field"] == field
    assert answer.json()["error"]["message"].startswith(field)
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_more_rows_than_an_answer_holds_are_refused(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_resource, "MAX_ROWS", 1)
    async with open_node() as edge:
        await record(edge, "one", Caller(), range(1, 2))
        whole = await call(edge.asgi_app, "GET", "/v1/usage?all=true")
        await record(edge, "two", Caller("bob"), range(1, 2))
        refused = await call(edge.asgi_app, "GET", "/v1/usage?all=true")
    assert whole.status == 200
    assert refused.json()["error"]["message"] == "from gives over 1 rows; ask for fewer days"


async def test_the_longest_span_is_a_leap_year(open_node: OpenNode) -> None:
    async with open_node() as edge:
        answer = await call(edge.asgi_app, "GET", "/v1/usage?from=2024-01-01&to=2024-12-31")
    assert answer.status == 200
