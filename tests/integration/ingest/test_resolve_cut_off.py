"""A resolve whose client goes away at the commit: what was committed is what the next one builds upon, and
what listeners are told of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import trio

from interview_edge.app import Edge
from interview_edge.sessions.resolving import ResolveRequest, digest_body, resolve
from nodes import Gate, OpenNode, connect


class OneMoreCluster:
    """An inference API that hears a new voice each time."""

    provider = "fake"

    async def resolve(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        clusters = request["state"]["clusters"]
        new = {
            "cluster_id": f"c{len(clusters) + 1}",
            "centroid": [0.5],
            "sample_count": 1,
            "bound_name": None,
        }
        return {
            "session_id": request["session_id"],
            "cluster_id": new["cluster_id"],
            "speaker_name": None,
            "decision": "unknown",
            "evidence": {},
            "updated_state": request["state"] | {"clusters": [*clusters, new]},
        }


async def resolve_once(edge: Edge) -> None:
    audio = {"content_b64": "AAAA", "format": "wav"}
    async with edge.registry.use("s") as session:
        await resolve(session, ResolveRequest(audio, None, (), digest_body(b"")), edge.parts)


async def cut_off(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolve whose client goes away once it is committed."""
    async with trio.open_nursery() as nursery:
        with monkeypatch.context() as patched:
            commit = Gate(edge.parts.catalog, "append_events", patched)
            nursery.start_soon(resolve_once, edge)
            await commit.reached.wait()
        nursery.cancel_scope.cancel()


async def test_its_cluster_is_not_lost(open_node: OpenNode, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_node(inference=OneMoreCluster()) as edge:
        await resolve_once(edge)
        await cut_off(edge, monkeypatch)
        await resolve_once(edge)
        record = await edge.parts.catalog.load_session("s")
        assert record is not None
        assert [c.cluster_id for c in record.state.clusters] == ["c1", "c2", "c3"]
        assert record.event_count == 3


async def test_its_event_is_told(open_node: OpenNode, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_node(inference=OneMoreCluster()) as edge, connect(edge, "s") as client:
        await client.hello(events=True)
        await resolve_once(edge)
        await cut_off(edge, monkeypatch)
        await resolve_once(edge)
        events = [event.to_wire() for event in await edge.parts.catalog.events("s")]
        assert [frame["event"] for frame in await client.answers(3)] == events
