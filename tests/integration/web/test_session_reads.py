"""State, list, events, result: of sessions that are live, closed, journalled only, and gone."""

from __future__ import annotations

import pytest

from asgi_calls import call
from interview_edge.core.models import NewEvent
from interview_edge.web.cursors import encode_cursor
from nodes import OpenNode, connect, second

SHORT = second(9)[:3_200]
NOT_JSON = "request body must be valid JSON"


async def test_a_session_never_seen_has_an_empty_state(open_node: OpenNode) -> None:
    async with open_node() as edge:
        answer = await call(edge.asgi_app, "GET", "/v1/sessions/nobody/state")
        assert answer.json() == {
            "session_id": "nobody",
            "state": {"clusters": [], "bindings": {}, "config": {}},
            "event_count": 0,
            "updated_at": None,
            "ingest": None,
            "ingest_by_stream": {},
        }
        assert await edge.parts.catalog.load_session("nobody") is None
        for name in ("events", "result", "audio", "chunks/1"):
            answer = await call(edge.asgi_app, "GET", f"/v1/sessions/nobody/{name}")
            assert (answer.status, answer.json()["code"]) == (404, "session_not_found")


async def test_ingest_is_mixed_or_the_sum_over_streams(open_node: OpenNode) -> None:
    async with open_node() as edge:
        async with connect(edge, "s", "teacher") as teacher, connect(edge, "s", "students") as students:
            await teacher.send_chunk(1)
            await students.send_chunk(3)
            await teacher.answer()
            await students.answer()
            state = (await call(edge.asgi_app, "GET", "/v1/sessions/s/state")).json()
        assert set(state["ingest_by_stream"]) == {"teacher", "students"}
        assert state["ingest"]["received_chunks"] == 2
        assert state["ingest"]["missing_chunks"] == 2
        assert state["ingest_by_stream"]["students"]["missing"] == [[1, 2]]
        async with connect(edge, "s") as mixed:
            await mixed.send_chunk(1)
            await mixed.answer()
        state = (await call(edge.asgi_app, "GET", "/v1/sessions/s/state")).json()
        assert state["ingest"] == state["ingest_by_stream"]["mixed"]
        assert state["updated_at"].endswith("Z")


async def test_the_list_counts_every_stream(open_node: OpenNode) -> None:
    async with open_node() as edge:
        async with connect(edge, "s") as mixed, connect(edge, "s", "students") as students:
            await mixed.send_chunk(1)
            await mixed.answer()
            await students.send_chunk(3)
            await students.answer()
            live = (await call(edge.asgi_app, "GET", "/v1/sessions")).json()["items"][0]
        closed = (await call(edge.asgi_app, "GET", "/v1/sessions")).json()["items"][0]
        assert [(item["seconds"], item["missing"]) for item in (live, closed)] == [(2, 2)] * 2


async def test_reads_of_a_closed_session_open_nothing(open_node: OpenNode) -> None:
    """What was acked shows after a restart with the store away: from journal and catalog together."""
    async with open_node(upload_interval_ms=60_000) as edge, connect(edge, "s") as peer:
        for seq in (1, 2, 4):
            await peer.send_chunk(seq)
        await peer.send_chunk(4)
        await peer.answers(4)
        before = (await call(edge.asgi_app, "GET", "/v1/sessions/s/state")).json()
    async with open_node() as edge:
        record = await edge.parts.catalog.load_session("s")
        state = (await call(edge.asgi_app, "GET", "/v1/sessions/s/state")).json()
        # The time of a repeat is not kept: it is the last second's own again.
        assert state["ingest"] | {"updated_at": None} == before["ingest"] | {"updated_at": None}
        assert state["ingest"]["duplicate_chunks"] == 1
        await call(edge.asgi_app, "GET", "/v1/sessions/s/events")
        assert (await call(edge.asgi_app, "GET", "/v1/sessions/s/chunks/4")).body == second(4)
        again = await edge.parts.catalog.load_session("s")
        assert record is not None
        assert again is not None
        assert again.epoch == record.epoch
        assert len(edge.registry) == 0


async def test_what_is_only_journalled_counts_in_state_and_list(open_node: OpenNode) -> None:
    async with open_node(upload_interval_ms=60_000) as edge:
        async with connect(edge, "s") as peer:
            await peer.send_chunk(1)
            await peer.send_chunk(3, SHORT, final=True)
            await peer.answers(2)
            live = (await call(edge.asgi_app, "GET", "/v1/sessions")).json()["items"][0]
        closed = (await call(edge.asgi_app, "GET", "/v1/sessions")).json()["items"][0]
        assert live == closed | {"status": "live"}
        assert (closed["seconds"], closed["missing"], closed["finalized"]) == (1.1, 1, False)
        edge.registry.drain()
        await edge.registry.close_all()
        assert (await call(edge.asgi_app, "GET", "/v1/sessions")).json()["items"][0]["seconds"] == 1.1


async def test_the_list_is_paged_newest_first(open_node: OpenNode) -> None:
    async with open_node() as edge:
        for i in range(5):
            await edge.parts.catalog.open_session(f"s/{i}", 1_000 + i // 2)
        seen: list[str] = []
        cursor = ""
        while True:
            page = (await call(edge.asgi_app, "GET", f"/v1/sessions?limit=2{cursor}")).json()
            seen += [item["session_id"] for item in page["items"]]
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert seen == ["s/4", "s/3", "s/2", "s/1", "s/0"]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "limit=-1", "limit=1_0", "limit=%D9%A1", "limit=" + "9" * 5000,
     "limit=", "cursor=x", "cursor=%FF", "cursor=bnVsbA",
     f"cursor={encode_cursor((2**63, 's'))}", f"cursor={encode_cursor((-1, 's'))}"],
)  # fmt: skip
async def test_a_bad_query_is_named(open_node: OpenNode, query: str) -> None:
    async with open_node() as edge:
        answer = await call(edge.asgi_app, "GET", f"/v1/sessions?{query}")
        assert (answer.status, answer.json()["code"]) == (400, "invalid_query")
        assert answer.json()["field"] == query.partition("=")[0]


async def test_events_are_paged_in_order(open_node: OpenNode) -> None:
    async with open_node() as edge, edge.session("s"):
        await edge.parts.catalog.append_events(
            "s", [NewEvent(i, "note", {"i": i}) for i in range(1, 6)], at=5
        )
        first = (await call(edge.asgi_app, "GET", "/v1/sessions/s/events?limit=3")).json()
        assert [event["i"] for event in first["items"]] == [1, 2, 3]
        assert first["next"] == 3
        rest = (await call(edge.asgi_app, "GET", "/v1/sessions/s/events?limit=3&after=3")).json()
        assert [event["seq_no"] for event in rest["items"]] == [4, 5]
        assert rest["next"] is None
        assert rest["items"][0]["ts"] == "1970-01-01T00:00:00.004Z"


async def test_finalize_answers_and_the_result_can_be_read(open_node: OpenNode) -> None:
    async with open_node() as edge:
        async with connect(edge, "a/b") as peer:
            await peer.send_chunk(1)
            await peer.send_chunk(3)
            await peer.answers(2)
        early = await call(edge.asgi_app, "GET", "/v1/sessions/a%2Fb/result")
        assert (early.status, early.json()["code"]) == (404, "not_finalized")
        answer = await call(
            edge.asgi_app, "POST", "/v1/sessions/a%2Fb/finalize", body={"metadata": {"n": "你"}}
        )
        assert answer.status == 200
        assert answer.json()["missing"] == [[2, 2]]
        assert answer.json()["complete"] is False
        again = await call(edge.asgi_app, "POST", "/v1/sessions/a%2Fb/finalize")
        assert again.json() == answer.json()
        result = (await call(edge.asgi_app, "GET", "/v1/sessions/a%2Fb/result")).json()
        assert result["metadata"] == {"n": "你"}
        assert result["finalized_at"] == answer.json()["finalized_at"]
        listed = (await call(edge.asgi_app, "GET", "/v1/sessions")).json()["items"][0]
        assert listed["finalized_at"] == answer.json()["finalized_at"]


@pytest.mark.parametrize(
    ("body", "code", "detail"),
    [
        (b"{", "body_not_json", NOT_JSON),
        (b"\xff", "body_not_json", NOT_JSON),
        (b'{"metadata": {"a": "\\ud800"}}', "body_not_json", NOT_JSON),
        (b'{"metadata": NaN}', "body_not_json", NOT_JSON),
        (b'{"metadata": {"a": 1e999}}', "body_not_json", NOT_JSON),
        (b'{"metadata": ' + b"9" * 5_000 + b"}", "body_not_json", NOT_JSON),
        (b'{"metadata": ' + b'{"a":' * 50_000, "body_not_json", NOT_JSON),
        (b'{"metadata": ' + b'{"a":' * 200 + b"1" + b"}" * 201, "body_not_json", NOT_JSON),
        (b"[]", "invalid_body", "request body must be an object"),
        (b'{"metadata": []}', "invalid_body", "metadata must be an object"),
    ],
)  # fmt: skip
async def test_a_bad_finalize_body_changes_nothing(
    open_node: OpenNode, body: bytes, code: str, detail: str
) -> None:
    async with open_node() as edge:
        answer = await call(edge.asgi_app, "POST", "/v1/sessions/s/finalize", body=body)
        assert (answer.status, answer.json()["code"], answer.json()["detail"]) == (400, code, detail)
        assert await edge.parts.catalog.load_session("s") is None


async def test_metadata_as_deep_as_is_allowed_reaches_the_result(open_node: OpenNode) -> None:
    async with open_node() as edge:
        body = b'{"metadata": ' + b'{"a":' * 98 + b"1" + b"}" * 99
        assert (await call(edge.asgi_app, "POST", "/v1/sessions/s/finalize", body=body)).status == 200
        assert (await call(edge.asgi_app, "GET", "/v1/sessions/s/result")).status == 200


async def test_delete_is_refused_while_live_and_final_afterwards(open_node: OpenNode) -> None:
    async with open_node() as edge:
        app = edge.asgi_app
        async with connect(edge, "s") as peer:
            await peer.send_chunk(1)
            await peer.answer()
            refused = await call(app, "DELETE", "/v1/sessions/s")
            assert (refused.status, refused.json()["code"]) == (409, "session_live")
        await call(app, "POST", "/v1/sessions/s/finalize")
        for _ in range(2):
            deleted = await call(app, "DELETE", "/v1/sessions/s")
            assert (deleted.status, deleted.json()) == (200, {"session_id": "s", "deleted": True})
        assert [info async for info in edge.parts.backend.list("sessions/s/")] == []
        for method, name in (
            ("GET", "state"),
            ("GET", "events"),
            ("GET", "result"),
            ("GET", "audio"),
            ("GET", "chunks/1"),
            ("POST", "finalize"),
        ):
            answer = await call(app, method, f"/v1/sessions/s/{name}")
            assert (answer.status, answer.json()["code"]) == (410, "session_deleted"), name
        assert (await call(app, "GET", "/v1/sessions")).json()["items"] == []
        async with connect(edge, "s") as late:
            await late.send_json(type="hello")
            assert (await late.closed_with())[0] == 4410
        unknown = await call(app, "DELETE", "/v1/sessions/nobody")
        assert (unknown.status, unknown.json()["code"]) == (404, "session_not_found")
