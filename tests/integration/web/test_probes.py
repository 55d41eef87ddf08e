"""/health, /readyz and /metrics of a node, and what they say when parts of it fail."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from asgi_calls import PATIENCE, call
from interview_edge.app import Edge
from interview_edge.catalog.protocol import Catalog, CatalogUnavailable
from nodes import OpenNode, connect


async def health(edge: Edge) -> dict[str, dict[str, object]]:
    answer = await call(edge.asgi_app, "GET", "/health")
    assert answer.status == 200
    shown: dict[str, dict[str, object]] = answer.json()
    return shown


async def test_health_of_a_sound_node(open_node: OpenNode) -> None:
    async with open_node(memory_budget_mb=100_000) as edge, connect(edge, "s") as peer:
        await peer.send_chunk(1)
        await peer.answer()
        await edge.parts.archive.flush("s")
        shown = await health(edge)
        assert (shown["status"], shown["app"]) == ("ok", "interview-edge")
        assert {check["status"] for check in shown["checks"].values()} == {"ok"}
        assert set(shown["checks"]) >= {
            "memory",
            "upload_success",
            "upload_latency",
            "backlog_age",
            "sessions",
            "journal",
            "vad",
        }
        assert shown["sessions"] == {"live": 1, "sockets": 1, "max": 2000}
        assert shown["memory"]["window_bytes"] == 32_000
        assert shown["memory"]["budget_bytes"] == 100_000 * 10**6
        assert shown["uploads"]["ok"] == 1
        assert shown["uploads"]["backlog_chunks"] == 0


async def test_health_tells_of_memory_over_its_budget(open_node: OpenNode) -> None:
    async with open_node(memory_budget_mb=1) as edge:
        shown = await health(edge)
        assert shown["status"] == "error"
        assert shown["checks"]["memory"]["status"] == "error"


async def test_health_tells_of_a_store_that_is_away_(open_node: OpenNode) -> None:
    async with open_node() as edge:
        await edge.parts.backend.aclose()
        async with connect(edge, "s") as peer:
            await peer.send_chunk(1)
            assert (await peer.answer())["status"] == "stored"
            edge.parts.archive.hurry("s")
            with trio.fail_after(PATIENCE):
                while not edge.parts.archive.health().retrying:
                    await trio.sleep(0.001)
            shown = await health(edge)
        assert shown["status"] in ("degraded", "error")
        assert shown["checks"]["upload_success"]["status"] != "ok"
        assert shown["uploads"]["backlog_chunks"] == 1


async def test_a_node_whose_catalog_is_away_is_not_ready(open_node: OpenNode) -> None:
    async with open_node() as edge:
        catalog: Catalog = edge.parts.catalog
        await catalog.aclose()
        with pytest.raises(CatalogUnavailable):
            await catalog.list_sessions(limit=1)
        ready = await call(edge.asgi_app, "GET", "/readyz")
        assert (ready.status, ready.json()["check"], ready.json()["code"]) == (503, "catalog", "not_ready")
        shown = await health(edge)
        assert (shown["status"], shown["checks"]["catalog"]["status"]) == ("error", "error")
        for path in ("/v1/sessions", "/v1/sessions/s/state"):
            answer = await call(edge.asgi_app, "GET", path)
            assert (answer.status, answer.json()["code"]) == (503, "catalog_unavailable")
            assert "retry-after" in answer.headers


async def test_metrics_are_read_when_asked_for(open_node: OpenNode) -> None:
    async with open_node() as edge, connect(edge, "s") as peer:
        for seq in (1, 1, 3):
            await peer.send_chunk(seq)
        await peer.answers(3)
        await call(edge.asgi_app, "GET", "/v1/sessions/some-id/state")
        await call(edge.asgi_app, "GET", "/v1/sessions/other%2Fid/state")
        await call(edge.asgi_app, "BREW", "/v1/sessions/other%2Fid/state")
        await call(edge.asgi_app, "GET", "/nothing")
        answer = await call(edge.asgi_app, "GET", "/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        found = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(answer.body.decode())
            for sample in family.samples
        }
        state = "/v1/sessions/<segment:session_id>/state"
        counted = "interview_edge_http_requests_total"
        assert found[counted, ("method", "GET"), ("route", state), ("status", "200")] == 2
        assert found[counted, ("method", "OTHER"), ("route", "unmatched"), ("status", "405")] == 1
        assert found[counted, ("method", "GET"), ("route", "unmatched"), ("status", "404")] == 1
        assert found["interview_edge_sockets",] == 1
        assert found["interview_edge_journal_rows",] == 2
        assert found["interview_edge_window_bytes",] == 64_000
        for status, many in (("stored", 2), ("duplicate", 1), ("missing", 1)):
            assert found["interview_edge_open_session_chunks", ("status", status)] == many


async def test_two_nodes_in_one_process_keep_their_own_metrics(open_node: OpenNode, tmp_path: Path) -> None:
    async with open_node() as one, open_node(data_dir=tmp_path / "two") as two:
        await call(one.asgi_app, "GET", "/livez")
        metrics = (await call(two.asgi_app, "GET", "/metrics")).body
        assert b'route="/livez"' not in metrics
