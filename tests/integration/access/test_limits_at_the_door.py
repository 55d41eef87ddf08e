"""How much a client may ask of a node: what it is told, and what comes of asking for more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionRejected, WebSocketConnection, wrap_client_stream

from api_keys import bearer, give_key
from asgi_calls import Answer, call, refused_upgrade
from interview_edge import Settings
from interview_edge.access import keyring
from interview_edge.core.models import Caller
from interview_edge.serving import Server, open_server
from nodes import PATIENCE, OpenNode

STATE = "/v1/sessions/interview/state"
SOCKET = "/v1/audio/ws/interview"
SLOW = 0.001  # a second: nothing comes back while a test runs


def shown(answer: Answer) -> tuple[str | None, ...]:
    return tuple(answer.headers.get(f"ratelimit-{name}") for name in ("limit", "remaining"))


async def test_every_answer_to_a_key_says_what_is_left(open_node: OpenNode) -> None:
    async with open_node(key_rate=SLOW, key_burst=9, ip_rate=SLOW, ip_burst=100) as edge:
        key = await give_key(edge, "ingest")
        right = await call(edge.asgi_app, "GET", STATE, headers=bearer(key))
        wrong_scope = await call(edge.asgi_app, "GET", "/v1/sessions", headers=bearer(key))
        invalid = await call(edge.asgi_app, "GET", "/v1/sessions/%/state", headers=bearer(key))
        async with edge.registry.use("his", Caller("bob")):
            pass
        refused = await refused_upgrade(edge.asgi_app, "/v1/audio/ws/his", headers=bearer(key))
    assert isinstance(refused, Answer)
    assert [right.status, wrong_scope.status, invalid.status, refused.status] == [200, 403, 400, 404]
    assert [shown(right), shown(wrong_scope), shown(refused)] == [("9", "8"), ("9", "7"), ("9", "6")]
    assert int(right.headers["ratelimit-reset"]) == 1000
    # Nothing of it was read far enough to look at the key.
    assert shown(invalid) == ("100", "97")


async def test_a_key_over_its_rate_is_refused_and_told_when_to_come_back(open_node: OpenNode) -> None:
    async with open_node(key_rate=SLOW, key_burst=2) as edge:
        key, other = await give_key(edge, "ingest"), await give_key(edge, "ingest", owner="bob")
        answers = [await call(edge.asgi_app, "GET", STATE, headers=bearer(key)) for _ in range(3)]
        upgrade = await refused_upgrade(edge.asgi_app, SOCKET, headers=bearer(key))
        assert (await call(edge.asgi_app, "GET", STATE, headers=bearer(other))).status == 200
    assert isinstance(upgrade, Answer)
    assert [answer.status for answer in answers] == [200, 200, 429]
    for refused in (answers[-1], upgrade):
        assert refused.status == 429
        assert refused.json()["code"] == "rate_limited"
        assert int(refused.headers["retry-after"]) in (999, 1000)
        assert shown(refused) == ("2", "0")


async def test_an_address_over_its_rate_is_refused_before_anything_is_read(open_node: OpenNode) -> None:
    async with open_node(ip_rate=SLOW, ip_burst=2) as edge:
        key = await give_key(edge, "ingest")
        unread = [await call(edge.asgi_app, "GET", "/%?\xff") for _ in range(2)]
        refused = await call(edge.asgi_app, "GET", STATE, headers=bearer(key))
        elsewhere = await call(edge.asgi_app, "GET", STATE, headers=bearer(key), client="192.0.2.9")
    assert [answer.status for answer in unread] == [400, 400]
    assert (refused.status, refused.json()["code"], shown(refused)) == (429, "rate_limited", ("2", "0"))
    assert elsewhere.status == 200


async def test_behind_a_trusted_proxy_each_client_has_its_own_bucket(open_node: OpenNode) -> None:
    async with open_node(ip_rate=SLOW, ip_burst=1, trusted_proxies=("127.0.0.1",)) as edge:
        key = await give_key(edge, "ingest")
        answers = [
            await call(edge.asgi_app, "GET", STATE, headers=bearer(key) | {"x-forwarded-for": client})
            for client in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "9.9.9.9, 192.0.2.1", "192.0.2.1")
        ]
    assert [answer.status for answer in answers] == [200, 429, 200, 200, 429]


async def test_while_there_are_no_keys_nothing_is_limited(open_node: OpenNode) -> None:
    async with open_node(ip_rate=SLOW, ip_burst=1, key_rate=SLOW, key_burst=1) as edge:
        answers = [await call(edge.asgi_app, "GET", STATE) for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    assert "ratelimit-limit" not in answers[0].headers


class Digests:
    """Counts what is hashed, of those secrets that keys are compared by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = 0
        self._digest = keyring.digest
        monkeypatch.setattr(keyring, "digest", self._count)

    def _count(self, secret: str) -> bytes:
        self.made += 1
        return self._digest(secret)


async def test_wrong_secrets_beyond_the_first_few_are_not_hashed(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(max_failed_auth=3) as edge:
        key = await give_key(edge, "ingest")
        wrong = key[:-10] + "x" * 10
        digests = Digests(monkeypatch)
        answers = [await call(edge.asgi_app, "GET", STATE, headers=bearer(wrong)) for _ in range(9)]
        assert digests.made == 3
        elsewhere = await call(edge.asgi_app, "GET", STATE, headers=bearer(key), client="192.0.2.9")
    assert [answer.status for answer in answers] == [401] * 3 + [429] * 6
    assert answers[-1].json()["code"] == "rate_limited"
    assert shown(answers[-1]) == ("3", "0")
    assert answers[-1].headers["retry-after"] == "20"
    assert elsewhere.status == 200


async def test_wrong_logins_are_wrong_keys(open_node: OpenNode, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_node(max_failed_auth=3) as edge:
        key, other = [await give_key(edge, "ingest") for _ in range(2)]
        digests = Digests(monkeypatch)
        wrong = {"key": key[:-10] + "x" * 10}
        answers = [await call(edge.asgi_app, "POST", "/auth/login", body=wrong) for _ in range(9)]
        assert digests.made == 3
        right = await call(edge.asgi_app, "POST", "/auth/login", body={"key": other})
        logins = await edge.parts.catalog.access.audit(limit=99, action="login")
    assert [answer.status for answer in answers] == [401] * 3 + [429] * 6
    assert answers[-1].headers["retry-after"] == "20"
    assert right.status == 200
    # What the limit turns away leaves no row, or it would be the rows that pile up.
    assert [entry.outcome for _, entry in logins] == ["invalid_key"] * 3 + ["done"]


# -- sockets


@asynccontextmanager
async def upgraded(server: Server, key: str, **more: str) -> AsyncIterator[WebSocketConnection]:
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream, trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE):
            headers = [("authorization", f"Bearer {key}"), *more.items()]
            socket = await wrap_client_stream(nursery, stream, host, SOCKET, extra_headers=headers)
        yield socket
        await socket.aclose()


@asynccontextmanager
async def served(tmp_path: Any, **changes: Any) -> AsyncIterator[Server]:
    settings = Settings(port=0, data_dir=tmp_path / "data", journal_min_free_bytes=0, **changes)
    async with open_server(settings) as server:
        yield server


async def test_no_list_of_origins_keeps_out_who_shows_a_key(tmp_path: Any) -> None:
    """Clients that are no browsers send no Origin; pages of anywhere may have a key of their own."""
    async with served(tmp_path, cors_origins=("https://console.example.com",)) as server:
        key = await give_key(server.edge, "ingest")
        for more in ({}, {"origin": "https://console.example.com"}, {"origin": "https://elsewhere.example"}):
            async with upgraded(server, key, **more) as socket:
                await socket.send_message('{"type":"hello"}')
                assert '"ready"' in await socket.get_message()


@pytest.mark.parametrize("setting", ["max_sockets_per_key", "max_sockets_per_ip"])
async def test_open_sockets_are_bounded_and_closed_ones_make_room(tmp_path: Any, setting: str) -> None:
    async with served(tmp_path, **{setting: 1}) as server:
        key = await give_key(server.edge, "ingest")
        async with upgraded(server, key) as socket:
            told = dict(socket.handshake_headers)
            assert told[b"ratelimit-limit"] == b"500"
            with pytest.RaisesGroup(ConnectionRejected) as refusal:
                async with upgraded(server, key):
                    pass
            (rejected,) = refusal.value.exceptions
            assert rejected.status_code == 429
            assert b"too_many_sockets" in rejected.body
            headers = dict(rejected.headers)
            assert headers[b"retry-after"] == b"5"
            assert b"ratelimit-remaining" in headers
        with trio.fail_after(PATIENCE):
            await server.edge.sockets.all_gone()
        async with upgraded(server, key):
            pass
