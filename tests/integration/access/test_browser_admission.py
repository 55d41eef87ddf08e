"""Who gets onto the browser socket: tickets in the first frame or the handshake, origins, sessions of others,
quotas and limits (contract stream.md, Ticket and Connect).
"""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from api_keys import bearer, give_key, revoke
from asgi_calls import PATIENCE, Talk, call, talk
from interview_edge.access.credentials import LOGIN_COOKIE
from interview_edge.access.principal import Principal, Scope, Via
from interview_edge.app import Edge
from interview_edge.catalog.access import GrantKind
from interview_edge.catalog.protocol import CatalogUnavailable
from interview_edge.core.models import Caller
from interview_edge.sessions.recording import Recording
from nodes import OpenNode

SOCKET = "/api/ws"
START = {"type": "audio_stream_start", "session_id": "interview"}


def auth(ticket: str | None = None) -> dict[str, Any]:
    return {"type": "auth"} if ticket is None else {"type": "auth", "ticket": ticket}


async def ticket_of(edge: Edge, key: str) -> str:
    """As a page gets one."""
    answer = await call(edge.asgi_app, "POST", "/api/ws/ticket", headers=bearer(key))
    assert answer.status == 200
    ticket: str = answer.json()["ticket"]
    return ticket


async def granted(edge: Edge, *scopes: Scope, owner: str = "alice") -> str:
    """A ticket of somebody with these scopes, whether or not they let one ask for it."""
    principal = Principal(owner, frozenset(scopes), Via.KEY)
    return (await edge.access.grants.give(GrantKind.TICKET, principal, 60)).text


def refused(outcome: Talk) -> tuple[str, int, str]:
    """The text of the `auth_error`, and the close after it."""
    (frame,) = outcome.said
    assert set(frame) == {"type", "error", "timestamp"}
    assert frame["type"] == "auth_error"
    assert outcome.closed is not None
    return frame["error"], *outcome.closed


# -- tickets


async def test_a_ticket_is_as_the_contract_shows_it(open_node: OpenNode) -> None:
    async with open_node(ticket_seconds=30) as edge:
        key = await give_key(edge, "ingest")
        given = await call(edge.asgi_app, "POST", "/api/ws/ticket", headers=bearer(key))
        assert given.status == 200
        assert set(given.json()) == {"ticket", "expires_in"}
        assert 29 <= given.json()["expires_in"] <= 30
        without = await call(edge.asgi_app, "POST", "/api/ws/ticket")
        assert without.status == 401
        assert without.json()["error"] == "Authentication required"


async def test_a_ticket_in_the_first_frame_opens_the_socket_once(open_node: OpenNode) -> None:
    async with open_node() as edge:
        ticket = await ticket_of(edge, await give_key(edge, "ingest"))
        outcome = await talk(edge.asgi_app, SOCKET, auth(ticket), START, replies=2)
        assert [frame["type"] for frame in outcome.said] == ["auth_success", "audio_stream_start_ack"]
        assert {frame["userId"] for frame in outcome.said} == {"alice"}
        assert await edge.parts.catalog.owner_of("interview") == "alice"
        again = await talk(edge.asgi_app, SOCKET, auth(ticket), START, replies=2)
        assert refused(again) == (
            "the ticket is unknown, used or expired; ask for a new one", 1008, "invalid_ticket",
        )  # fmt: skip


@pytest.mark.parametrize("offered", ["ie.v1, ", ""])
async def test_a_ticket_among_the_subprotocols_is_taken_too(open_node: OpenNode, offered: str) -> None:
    async with open_node() as edge:
        ticket = await ticket_of(edge, await give_key(edge, "ingest"))
        offer = {"sec-websocket-protocol": f"{offered}ie.ticket.{ticket}"}
        outcome = await talk(edge.asgi_app, SOCKET, START, headers=offer, replies=2)
        assert outcome.subprotocol == ("ie.v1" if offered else None)
        assert [frame["type"] for frame in outcome.said] == ["auth_success", "audio_stream_start_ack"]
        again = await talk(edge.asgi_app, SOCKET, headers=offer)
        assert again.refused is not None
        assert (again.status, again.refused.json()["code"]) == (401, "invalid_ticket")


async def test_of_many_sockets_with_one_ticket_one_is_admitted(open_node: OpenNode) -> None:
    async with open_node() as edge:
        ticket = await ticket_of(edge, await give_key(edge, "ingest"))
        admitted: list[bool] = []

        async def try_it() -> None:
            outcome = await talk(edge.asgi_app, SOCKET, auth(ticket), replies=1)
            admitted.append(outcome.said[0]["type"] == "auth_success")

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(try_it)
        assert sorted(admitted) == [False] * 9 + [True]


async def test_a_key_in_the_handshake_is_taken(open_node: OpenNode) -> None:
    async with open_node() as edge:
        key = await give_key(edge, "ingest")
        outcome = await talk(edge.asgi_app, SOCKET, START, headers=bearer(key), replies=2)
        assert outcome.said[0]["userId"] == "alice"
        wrong = await talk(edge.asgi_app, SOCKET, headers=bearer(key + "x"))
        assert wrong.status == 401
        no_scope = await talk(edge.asgi_app, SOCKET, headers=bearer(await give_key(edge, "sessions")))
        assert no_scope.status == 403


async def test_a_page_s_cookie_counts_where_no_ticket_is_shown(open_node: OpenNode) -> None:
    async with open_node() as edge:
        body = {"key": await give_key(edge, "ingest")}
        login = await call(edge.asgi_app, "POST", "/auth/login", body=body)
        assert login.status == 200
        cookie = await edge.access.grants.give(
            GrantKind.LOGIN, Principal("alice", frozenset({Scope.INGEST}), Via.KEY), 60
        )
        own = {"cookie": f"{LOGIN_COOKIE}={cookie.text}", "origin": "http://localhost"}
        outcome = await talk(edge.asgi_app, SOCKET, auth(), headers=own, replies=1)
        assert outcome.said[0]["userId"] == "alice"
        foreign = own | {"origin": "https://evil.example"}
        assert refused(await talk(edge.asgi_app, SOCKET, auth(), headers=foreign, replies=1))[1:] == (
            1008, "origin_refused",
        )  # fmt: skip
        # An old cookie, which the browser sends unasked, doesn't stand in a ticket's way.
        ticket = await ticket_of(edge, body["key"])
        old = {"cookie": f"{LOGIN_COOKIE}=over"}
        outcome = await talk(edge.asgi_app, SOCKET, auth(ticket), headers=old, replies=1)
        assert outcome.said[0]["type"] == "auth_success"


# -- refused


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (auth(), "missing_auth"),
        (auth("nobody's"), "invalid_ticket"),
        (START, "missing_auth"),
        ("{", "missing_auth"),
        (b"IE\x01\x00", "missing_auth"),
        ({"type": "auth", "ticket": 7}, "missing_auth"),
        (auth("t" * 20_000), "missing_auth"),
    ],
)
async def test_any_other_first_frame_closes_1008_with_nothing_opened(
    open_node: OpenNode, first: Any, code: str
) -> None:
    async with open_node() as edge:
        await give_key(edge, "ingest")
        assert refused(await talk(edge.asgi_app, SOCKET, first, START, replies=2))[1:] == (1008, code)
        assert await edge.parts.catalog.owner_of("interview") is None
        assert len(edge.sockets) == 0


async def test_a_ticket_of_somebody_without_the_scope_closes_1008(open_node: OpenNode) -> None:
    async with open_node() as edge:
        await give_key(edge, "ingest")
        ticket = await granted(edge, Scope.SESSIONS)
        assert refused(await talk(edge.asgi_app, SOCKET, auth(ticket), replies=1)) == (
            "this needs the scope ingest", 1008, "insufficient_scope",
        )  # fmt: skip


async def test_who_says_nothing_is_closed_1008_in_time(open_node: OpenNode) -> None:
    async with open_node(auth_timeout=0.01) as edge:
        await give_key(edge, "ingest")
        assert refused(await talk(edge.asgi_app, SOCKET, replies=1))[1:] == (1008, "auth_timeout")


async def test_who_has_said_nothing_yet_is_told_of_a_drain(open_node: OpenNode) -> None:
    async with open_node(auth_timeout=60) as edge, trio.open_nursery() as nursery:
        outcomes: list[Talk] = []

        async def wait() -> None:
            outcomes.append(await talk(edge.asgi_app, SOCKET, replies=1))

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await edge.drain(1)
        with trio.fail_after(PATIENCE):
            while not outcomes:
                await trio.lowlevel.checkpoint()
        assert refused(outcomes[0])[1:] == (1012, "draining")
        assert (await talk(edge.asgi_app, SOCKET)).status == 503


async def test_a_catalog_that_is_away_is_no_reason_to_give_up(
    open_node: OpenNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node() as edge:
        ticket = await ticket_of(edge, await give_key(edge, "ingest"))

        async def down(*_: object) -> None:
            raise CatalogUnavailable("down")

        monkeypatch.setattr(edge.access.grants, "redeem_ticket", down)
        outcome = await talk(edge.asgi_app, SOCKET, auth(ticket), replies=1)
        assert refused(outcome)[1:] == (1013, "catalog_unavailable")


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://page.example", 101),
        ("http://localhost", 101),  # our own page
        ("https://page.example:8443", 403),
        ("http://page.example", 403),
        ("https://page.example.evil", 403),
        ("null", 403),
        (None, 101),  # no browser
    ],
)
async def test_where_origins_are_listed_others_are_refused(
    open_node: OpenNode, origin: str | None, status: int
) -> None:
    async with open_node(cors_origins=("https://page.example",)) as edge:
        ticket = await ticket_of(edge, await give_key(edge, "ingest"))
        headers = {} if origin is None else {"origin": origin}
        outcome = await talk(edge.asgi_app, SOCKET, auth(ticket), headers=headers, replies=1)
        assert outcome.status == status
        if outcome.refused is not None:
            assert outcome.refused.json()["code"] == "origin_refused"


async def test_without_keys_this_machine_s_pages_need_no_ticket(open_node: OpenNode) -> None:
    async with open_node() as edge:
        for first in (auth(), auth("any")):
            outcome = await talk(edge.asgi_app, SOCKET, first, START, replies=2)
            assert [frame["userId"] for frame in outcome.said] == ["local", "local"]
        elsewhere = await talk(edge.asgi_app, SOCKET, headers={"host": "rebound.example.com"})
        assert elsewhere.status == 403
        foreign = await talk(edge.asgi_app, SOCKET, headers={"origin": "https://evil.example"})
        assert foreign.status == 403


# -- sessions


async def begin(edge: Edge, key: str) -> Talk:
    """A socket that starts a recording into `interview`."""
    return await talk(edge.asgi_app, SOCKET, auth(await ticket_of(edge, key)), START, replies=2)


async def test_another_s_session_looks_as_if_it_weren_t_there(open_node: OpenNode) -> None:
    async with open_node() as edge:
        async with edge.registry.use("interview", Caller("alice")):
            pass
        outcome = await begin(edge, await give_key(edge, "ingest", owner="bob"))
        assert outcome.said[1]["code"] == "session_not_found"
        assert outcome.closed == (1008, "session_not_found")


async def test_an_admin_s_recording_into_another_s_session_is_audited(open_node: OpenNode) -> None:
    async with open_node() as edge:
        async with edge.registry.use("interview", Caller("alice")):
            pass
        admin = await give_key(edge, "admin", owner="root")
        assert (await begin(edge, admin)).said[1]["type"] == "audio_stream_start_ack"
        rows = (await call(edge.asgi_app, "GET", "/auth/audit", headers=bearer(admin))).json()["items"]
        (row,) = (row for row in rows if row["action"] == "admin.write")
        assert (row["target"], row["detail"]) == ("interview", {"owner": "alice", "route": "GET /api/ws"})


async def test_a_quota_that_is_used_up_ends_the_socket(open_node: OpenNode) -> None:
    async with open_node() as edge:
        outcome = await begin(edge, await give_key(edge, "ingest", quotas={"chunks": 0}))
        assert outcome.said[1]["code"] == "quota_exceeded"
        assert outcome.closed == (1013, "quota_exceeded")
        assert edge.registry.live("interview") is None


async def test_sockets_of_a_key_are_limited_and_given_back(open_node: OpenNode) -> None:
    async with open_node(max_sockets_per_key=1) as edge, trio.open_nursery() as nursery:
        key = await give_key(edge, "ingest")
        nursery.start_soon(
            lambda: talk(edge.asgi_app, SOCKET, {"type": "ping"}, headers=bearer(key), replies=9)
        )
        await trio.testing.wait_all_tasks_blocked()
        outcome = await talk(edge.asgi_app, SOCKET, auth(await ticket_of(edge, key)), replies=1)
        assert refused(outcome) == ("too many open sockets of this client", 1013, "too_many_sockets")
        nursery.cancel_scope.cancel()


def received(edge: Edge) -> bool:
    """Whether audio has come."""
    session = edge.registry.live("interview")
    recording = session.streams["mixed"].recording if session and session.streams else None
    return isinstance(recording, Recording) and recording.clock > 0


async def test_a_revoked_key_ends_its_sockets_and_keeps_what_they_sent(open_node: OpenNode) -> None:
    async with open_node() as edge, trio.open_nursery() as nursery:
        key = await give_key(edge, "ingest")
        outcomes: list[Talk] = []

        async def record() -> None:
            audio = {"type": "audio_chunk", "data": "AAECAw=="}
            outcomes.append(await talk(edge.asgi_app, SOCKET, START, audio, headers=bearer(key), replies=9))

        nursery.start_soon(record)
        with trio.fail_after(PATIENCE):
            while not received(edge):
                await trio.lowlevel.checkpoint()
            await revoke(edge, key)
            while not outcomes:
                await trio.lowlevel.checkpoint()
        assert outcomes[0].said[-1]["code"] == "invalid_key"
        assert outcomes[0].closed == (4401, "invalid_key")
        live = edge.registry.live("interview")
        assert live is not None
        await live.settle()
        async with edge.session("interview") as session:
            assert await session.chunk(1) == b"\0\1\2\3" + bytes(31_996)


# -- how it is counted


async def test_it_counts_as_a_route_of_its_own(open_node: OpenNode) -> None:
    async with open_node() as edge:
        await talk(edge.asgi_app, SOCKET, auth(), replies=1)
        metrics = (await call(edge.asgi_app, "GET", "/metrics")).body.decode()
        line = 'interview_edge_http_requests_total{method="GET",route="/api/ws",status="101"} 1.0'
        assert line in metrics.splitlines()


async def test_a_request_without_an_upgrade_is_told_so(open_node: OpenNode) -> None:
    async with open_node() as edge:
        answer = await call(edge.asgi_app, "GET", SOCKET)
        assert answer.status == 426
        assert answer.json() == {
            "success": False,
            "error": "websocket upgrade required",
            "code": "upgrade_required",
        }
        assert (await call(edge.asgi_app, "POST", SOCKET)).status == 405
