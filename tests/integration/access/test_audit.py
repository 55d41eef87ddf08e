"""What leaves an audit row, when it is written, and how it is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio

from api_keys import bearer, give_key
from asgi_calls import call, refused_upgrade
from interview_edge.app import Edge
from interview_edge.catalog.access import AuditEntry
from interview_edge.client import open_ingest
from interview_edge.serving import open_server
from interview_edge.settings import Settings
from interview_edge.web import audit_resource
from nodes import Gate, OpenNode, second
from recordings import caller_of, record

OURS = ("session.delete", "admin.read", "admin.write", "audit.read", "audit.export")


async def rows(edge: Edge) -> list[tuple[str, str | None, str | None, str]]:
    """(action, who, target, outcome) of every row but those of keys."""
    found = await edge.parts.catalog.access.audit(limit=1_000)
    return [(e.action, e.owner, e.target, e.outcome) for _, e in found if e.action in OURS]


@contextmanager
def without_audit(folder: Path) -> Iterator[None]:
    """The catalog can't append to its audit."""
    connection = apsw.Connection(str(folder / "data" / "catalog.db"))
    connection.execute("ALTER TABLE audit RENAME TO elsewhere")
    yield
    connection.execute("ALTER TABLE elsewhere RENAME TO audit")
    connection.close()


# -- deletes


async def test_a_deletion_says_who_what_when_and_from_where(open_node: OpenNode) -> None:
    async with open_node(trusted_proxies=("127.0.0.0/8",)) as edge:
        key = await give_key(edge, "sessions")
        await record(edge, "one", caller_of(key), range(1, 2))
        before = edge.parts.wall_ms()
        headers = bearer(key) | {"x-forwarded-for": "203.0.113.9"}
        answer = await call(edge.asgi_app, "DELETE", "/v1/sessions/one", headers=headers)
        entry = (await edge.parts.catalog.access.audit(action="session.delete"))[0][1]
    assert answer.status == 200
    assert before <= entry.at <= before + 60_000
    assert (entry.action, entry.outcome, entry.target) == ("session.delete", "done", "one")
    assert (entry.owner, entry.key_id, entry.address) == ("alice", key.split("_")[1], "203.0.113.9")
    assert entry.detail == {"route": "DELETE /v1/sessions/{session_id}", "status": 200}


async def test_a_deletion_leaves_a_row_while_there_are_no_keys(open_node: OpenNode) -> None:
    async with open_node() as edge:
        assert (await call(edge.asgi_app, "DELETE", "/v1/sessions/none")).status == 404
        assert await rows(edge) == [("session.delete", "local", "none", "refused")]


async def test_who_is_refused_at_the_door_leaves_a_row_if_it_is_known_who(open_node: OpenNode) -> None:
    async with open_node() as edge:
        owner, other = await give_key(edge, "sessions"), await give_key(edge, "sessions", owner="bob")
        weak = await give_key(edge, "ingest", owner="carol")
        await record(edge, "one", caller_of(owner), range(1, 2))
        statuses = [
            (await call(edge.asgi_app, "DELETE", "/v1/sessions/one", headers=headers)).status
            for headers in (bearer(other), bearer(weak), {}, bearer("ie_wrong"))
        ]
        assert statuses == [404, 403, 401, 401]
        assert await rows(edge) == [
            ("session.delete", "bob", "one", "refused"),
            ("session.delete", "carol", "one", "refused"),
        ]


async def test_what_cant_be_written_down_is_not_answered_as_done(open_node: OpenNode, tmp_path: Path) -> None:
    async with open_node() as edge:
        key, weak = await give_key(edge, "sessions"), await give_key(edge, "ingest")
        await record(edge, "one", caller_of(key), range(1, 2))
        with without_audit(tmp_path):
            answers = [
                await call(edge.asgi_app, "DELETE", "/v1/sessions/one", headers=bearer(shown))
                for shown in (key, weak)
            ]
        assert [(a.status, a.json()["code"]) for a in answers] == [(503, "catalog_unavailable")] * 2
        again = await call(edge.asgi_app, "DELETE", "/v1/sessions/one", headers=bearer(key))
        assert again.status == 200
        assert await rows(edge) == [("session.delete", "alice", "one", "done")]


async def test_a_deletion_whose_client_went_leaves_a_row(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node() as edge:
        await record(edge, "one", caller_of("ie_k_s", "local"), range(1, 2))
        gate = Gate(edge.parts.catalog, "purge_session", monkeypatch)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, edge.asgi_app, "DELETE", "/v1/sessions/one")
            await gate.reached.wait()
            nursery.cancel_scope.cancel()
        assert await rows(edge) == [("session.delete", "local", "one", "unanswered")]


# -- admins


async def test_an_admin_s_use_of_another_s_session_leaves_a_row(open_node: OpenNode) -> None:
    async with open_node() as edge:
        root, alice = await give_key(edge, "admin", owner="root"), await give_key(edge, "sessions")
        await record(edge, "hers", caller_of(alice), range(1, 2))
        await record(edge, "own", caller_of(root, "root"), range(1, 2))
        for method, target, key in (
            ("GET", "/v1/sessions/hers/state", root),
            ("HEAD", "/v1/sessions/hers/audio", root),
            ("POST", "/v1/sessions/hers/finalize", root),
            ("DELETE", "/v1/sessions/hers", root),
            ("GET", "/v1/sessions/own/state", root),
            ("GET", "/v1/sessions/new/state", root),
            ("GET", "/v1/usage?owner=alice", root),
            ("GET", "/v1/usage", root),
            ("GET", "/v1/sessions/other/state", alice),
        ):
            assert (await call(edge.asgi_app, method, target, headers=bearer(key))).status == 200
        assert await rows(edge) == [
            ("admin.read", "root", "hers", "done"),
            ("admin.read", "root", "hers", "done"),
            ("admin.write", "root", "hers", "done"),
            ("session.delete", "root", "hers", "done"),
            ("admin.read", "root", "alice", "done"),
        ]
        (_, first), *_ = await edge.parts.catalog.access.audit(action="admin.read")
    assert first.detail["owner"] == "alice"
    assert first.detail["route"] == "GET /v1/sessions/{session_id}/state"


async def test_an_admin_s_socket_on_another_s_session_leaves_a_row_before_it_opens(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", port=0, journal_min_free_bytes=0, drain_timeout=2.0)
    with trio.fail_after(30):
        async with open_server(settings) as server:
            edge = server.edge
            root, alice = await give_key(edge, "admin", owner="root"), await give_key(edge, "ingest")
            await record(edge, "hers", caller_of(alice), range(1, 2))
            with without_audit(tmp_path):
                target = "/v1/audio/ws/hers"
                refused: Any = await refused_upgrade(edge.asgi_app, target, headers=bearer(root))
                assert refused.json()["code"] == "catalog_unavailable"
            async with open_ingest(server.url, "hers", api_key=root) as ingest:
                assert await rows(edge) == [("admin.write", "root", "hers", "done")]
                await ingest.send(second(2))
            assert len(await rows(edge)) == 1


# -- reading


async def fill(edge: Edge, count: int) -> None:
    for n in range(count):
        entry = AuditEntry(at=n, action="login", outcome="done", owner=("ann", "bob")[n % 2], target=f"{n}é")
        await edge.parts.catalog.access.append_audit(entry)


async def test_the_audit_is_read_in_pages(open_node: OpenNode) -> None:
    async with open_node() as edge:
        await fill(edge, 5)
        first = (await call(edge.asgi_app, "GET", "/auth/audit?limit=2&action=login")).json()
        second = (await call(edge.asgi_app, "GET", f"/auth/audit?limit=3&after={first['next']}")).json()
        of_bob = (await call(edge.asgi_app, "GET", "/auth/audit?owner=bob")).json()
        reads = await rows(edge)
    assert [row["number"] for row in first["items"]] == [1, 2]
    assert first["items"][1] == {
        "number": 2,
        "at": "1970-01-01T00:00:00.001Z",
        "owner": "bob",
        "key_id": None,
        "action": "login",
        "target": "1é",
        "address": None,
        "request_id": None,
        "outcome": "done",
        "detail": {},
    }
    assert ([row["number"] for row in second["items"]], second["next"]) == ([3, 4, 5], 5)
    assert ([row["number"] for row in of_bob["items"]], of_bob["next"]) == ([2, 4], None)
    assert reads == [("audit.read", "local", None, "done")] * 3


@pytest.mark.parametrize("asked", [{"query": "?format=jsonl"}, {"accept": "application/x-ndjson, */*;q=0.1"}])
async def test_the_export_is_all_rows_a_page_at_a_time(
    open_node: OpenNode, asked: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_resource, "EXPORT_PAGE", 2)
    async with open_node() as edge:
        await fill(edge, 5)
        target, headers = f"/auth/audit{asked.get('query', '')}", {"accept": asked.get("accept", "*/*")}
        answer = await call(edge.asgi_app, "GET", target, headers=headers)
        head = await call(edge.asgi_app, "HEAD", target, headers=headers)
        exports = await rows(edge)
    lines = [json.loads(line) for line in answer.body.decode().splitlines()]
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [line["target"] for line in lines[:5]] == [f"{n}é" for n in range(5)]
    assert [line["action"] for line in lines[5:]] == ["audit.export"]
    assert (head.status, head.body) == (200, b"")
    assert exports == [("audit.export", "local", None, "done")] * 2


async def test_the_audit_is_an_admin_s_to_read(open_node: OpenNode) -> None:
    async with open_node() as edge:
        key = await give_key(edge, "sessions")
        answer = await call(edge.asgi_app, "GET", "/auth/audit", headers=bearer(key))
        assert (answer.status, answer.json()["error"]["code"]) == (403, "insufficient_scope")
        assert await rows(edge) == [("audit.read", "alice", None, "refused")]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "after=-1", "after=x", "format=csv", "format="])
async def test_a_query_that_breaks_a_rule_is_refused(open_node: OpenNode, query: str) -> None:
    async with open_node() as edge:
        answer = await call(edge.asgi_app, "GET", f"/auth/audit?{query}")
    assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_query")


# -- append-only


async def test_rows_are_only_ever_appended(open_node: OpenNode, tmp_path: Path) -> None:
    async with open_node() as edge:
        await fill(edge, 3)
        connection = apsw.Connection(str(tmp_path / "data" / "catalog.db"))
        row = "(number, at, action, outcome, detail) VALUES ({}, 1, 'login', 'done', '{{}}')"
        for statement in (
            "UPDATE audit SET outcome = 'refused' WHERE number = 2",
            "DELETE FROM audit",
            "INSERT OR REPLACE INTO audit " + row.format(2),
            "INSERT INTO audit " + row.format(5),
        ):
            with pytest.raises(apsw.ConstraintError, match="audit rows"):
                connection.execute(statement)
        connection.close()
        assert [entry.target for _, entry in await edge.parts.catalog.access.audit()] == ["0é", "1é", "2é"]


async def test_numbers_have_no_holes_whatever_fails_beside_them(open_node: OpenNode) -> None:
    async with open_node() as edge:
        access = edge.parts.catalog.access

        async def append(n: int) -> None:
            with trio.CancelScope() as scope:
                if n % 3 == 0:
                    scope.cancel()
                await access.append_audit(AuditEntry(at=n, action="login", outcome="done"))

        async with trio.open_nursery() as nursery:
            for n in range(100):
                nursery.start_soon(append, n)
        numbers = [number for number, _ in await access.audit(limit=1_000)]
    assert len(numbers) >= 66
    assert numbers == [*range(1, len(numbers) + 1)]
