from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager

import pytest
import trio

from interview_edge.cli.smoke import smoke
from interview_edge.client import open_ingest

Server = AbstractAsyncContextManager[str]


async def test_a_good_server_passes(server: Server) -> None:
    lines: list[str] = []
    async with server as url:
        assert await smoke(url, url.replace("http:", "ws:"), "a/b ü", 3, lines.append) == 0
    assert [line.split()[0] for line in lines[:-1]] == ["connected", "ack", "ack", "ack", "status"]
    assert json.loads(lines[-1]) == {
        "ok": True,
        "session_id": "a/b ü",
        "received_chunks": 3,
        "last_seq": 3,
        "bytes_stored": 96_000,
    }


async def test_it_may_be_repeated_on_the_same_session(server: Server) -> None:
    lines: list[str] = []
    async with server as url:
        for _ in range(2):
            assert await smoke(url, url, "s1", 2, lines.append) == 0
    assert json.loads(lines[-1])["last_seq"] == 4


async def test_a_refused_chunk_fails_with_the_reason(server: Server) -> None:
    lines: list[str] = []
    async with server as url:
        async with open_ingest(url, "s1") as ended:
            await ended.send(bytes(2), final=True)
        assert await smoke(url, url, "s1", 1, lines.append) == 1
    report = json.loads(lines[-1])
    assert report["ok"] is False
    assert "stream_ended" in report["error"]


@pytest.mark.parametrize(
    ("url", "reason"), [("nonsense", "missing an 'http://'"), ("http://127.0.0.1:1", "connect")]
)
async def test_a_url_without_a_server_fails_at_once_with_the_reason(url: str, reason: str) -> None:
    lines: list[str] = []
    with trio.fail_after(5):
        assert await smoke(url, url, "s1", 1, lines.append) == 1
    assert reason in json.loads(lines[-1])["error"]
