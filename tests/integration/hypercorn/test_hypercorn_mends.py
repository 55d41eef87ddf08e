"""One test or more a mend, against a real server on a free port.

Red with HYPERCORN_STOCK=1, except where the docstring says why it isn't.
"""

from __future__ import annotations

import contextlib
import logging
import struct
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from interview_edge.errors import EdgeError
from interview_edge.web.hypercorn import EXTENSION, BodyBudget, BodyLimit, PeerGoneError

HTTP_OK = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}


def websocket_app(handler: Any) -> Any:
    """ASGI around `handler(receive, send)`, which gets an accepted socket; plain `ok` over HTTP."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send(HTTP_OK)
            await send({"type": "http.response.body", "body": b"ok"})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await handler(receive, send)
        else:
            raise NotImplementedError  # no lifespan

    return app


def recorder(seen: list[Any], ended: trio.Event) -> Any:
    """A handler that notes every message until the disconnect."""

    async def handler(receive: Any, _send: Any) -> None:
        while True:
            message = await receive()
            seen.append(message)
            if message["type"] == "websocket.disconnect":
                ended.set()
                return

    return websocket_app(handler)


# -- receive


async def test_a_stalled_handler_stops_the_peer_and_then_gets_all_of_it_in_order(start: Any) -> None:
    go_on, ended, got = trio.Event(), trio.Event(), []

    async def stalls(receive: Any, _send: Any) -> None:
        await go_on.wait()
        while (message := await receive())["type"] == "websocket.receive":
            got.append(message["bytes"][:4])
        got.append(message)
        ended.set()

    sent = 0
    async with (
        start(websocket_app(stalls), inbox_bytes=100_000, receive_buffer=16_384) as server,
        server.client(send_buffer=16_384) as client,
    ):
        await client.upgrade()
        with trio.move_on_after(0.3):
            while sent < 30:
                frame = client.connection.send(BytesMessage(data=struct.pack("!I", sent) + bytes(100_000)))
                sent += 1
                await client.send(frame)
        assert sent < 6  # the limit, one message over it, what the kernels hold; stock takes ten messages
        go_on.set()
        await client.stream.aclose()
        await ended.wait()
    assert got[-1] == {"type": "websocket.disconnect", "code": 1006}
    assert len(got) - 1 >= sent - 2  # the frame cut off by the timeout is no message
    assert got[:-1] == [struct.pack("!I", number) for number in range(len(got) - 1)]


async def test_a_send_that_fails_doesnt_wait_behind_a_full_inbox(start: Any) -> None:
    ended, go_on = trio.Event(), trio.Event()

    async def sends_only(_receive: Any, send: Any) -> None:
        await go_on.wait()
        for _ in range(20):
            await send({"type": "websocket.send", "bytes": b"x" * 1000})
            await trio.sleep(0.01)
        ended.set()

    async with start(websocket_app(sends_only), inbox_bytes=1000) as server:
        async with server.client() as client:
            await client.upgrade()
            with trio.move_on_after(0.2):
                while True:
                    await client.send_event(BytesMessage(data=bytes(100_000)))
            client.stream.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER: close resets
        go_on.set()
        with trio.fail_after(10):
            await ended.wait()


async def test_an_answer_before_the_body_was_read_arrives_whole_and_ends_the_connection(start: Any) -> None:
    async def answers_late(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await trio.sleep(0.1)  # the upload fills the inbox meanwhile
        await websocket_app(None)(scope, receive, send)

    async with start(answers_late, linger=1.0) as server, server.client() as client:
        async with trio.open_nursery() as nursery:

            async def upload() -> None:
                head = b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 2000000\r\n\r\n"
                with contextlib.suppress(trio.BrokenResourceError):
                    await client.send(head + bytes(2_000_000))

            nursery.start_soon(upload)
            with trio.fail_after(10):
                answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"\r\n\r\nok")


async def test_an_empty_message_is_empty_bytes(start: Any) -> None:
    seen: list[Any] = []
    async with start(recorder(seen, ended := trio.Event())) as server, server.client() as client:
        await client.upgrade()
        await client.send_event(BytesMessage(data=b""))
        await client.send_event(CloseConnection(code=4321))
        await ended.wait()
    assert seen == [
        {"type": "websocket.receive", "bytes": b"", "text": None},
        {"type": "websocket.disconnect", "code": 4321},
    ]


# -- frames


async def test_an_oversize_frame_is_closed_1009_from_its_header_and_dropped(start: Any) -> None:
    seen: list[Any] = []
    async with (
        start(recorder(seen, ended := trio.Event()), max_frame_bytes=1000) as server,
        server.client() as client,
    ):
        await client.upgrade()
        await client.send(b"\x82\xfe" + struct.pack("!H", 1001) + b"mask")
        with trio.fail_after(10):
            assert await client.close_code() == 1009
            await ended.wait()
        with trio.fail_after(10), contextlib.suppress(trio.BrokenResourceError):
            while True:
                await client.send(bytes(100_000))
    assert seen == [{"type": "websocket.disconnect", "code": 1009}]


async def test_fragments_over_the_limit_are_closed_1009_and_dropped(start: Any) -> None:
    seen: list[Any] = []
    async with (
        start(recorder(seen, ended := trio.Event()), max_frame_bytes=1000) as server,
        server.client() as client,
    ):
        await client.upgrade()
        await client.send_event(BytesMessage(data=bytes(600), message_finished=False))
        await client.send_event(BytesMessage(data=bytes(600), message_finished=False))
        with trio.fail_after(10):
            assert await client.close_code() == 1009
            await ended.wait()
    assert [message["type"] for message in seen] == ["websocket.disconnect"]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        pytest.param(b"\x81\x01a", 1002, id="unmasked"),
        pytest.param(b"\xc1\x81\0\0\0\0a", 1002, id="reserved bit"),
        pytest.param(b"\x09\x80\0\0\0\0", 1002, id="fragmented ping"),
        pytest.param(b"\x89\xfe\x00\x7e\0\0\0\0" + bytes(126), 1002, id="long ping"),
        pytest.param(b"\x81\x82\0\0\0\0\xff\xfe", 1007, id="text not UTF-8"),
        pytest.param(b"\x01\x81\0\0\0\0\xc3\x80\x81\0\0\0\0a", 1007, id="fragmented text not UTF-8"),
    ],
)
async def test_a_broken_frame_is_answered_with_its_close_code(start: Any, frame: bytes, code: int) -> None:
    seen: list[Any] = []
    async with start(recorder(seen, ended := trio.Event())) as server, server.client() as client:
        await client.upgrade()
        await client.send(frame)
        with trio.fail_after(10):
            assert await client.close_code() == code
            await ended.wait()
            await client.rest()
    assert seen == [{"type": "websocket.disconnect", "code": code}]


async def test_pings_are_answered_between_fragments_and_the_close_handshake_ends_well(start: Any) -> None:
    """Green with stock Hypercorn but for its pings: what the fast path must not lose."""
    seen: list[Any] = []
    async with start(recorder(seen, trio.Event())) as server, server.client() as client:
        await client.upgrade()
        await client.send_event(TextMessage(data="é", message_finished=False))
        await client.send_event(Ping(payload=b"here"))
        await client.send_event(TextMessage(data="!"))
        assert await client.event() == Pong(payload=b"here")
        await client.send_event(CloseConnection(code=1000))
        assert await client.close_code() == 1000
        assert await client.rest() == b""
    assert seen[0] == {"type": "websocket.receive", "bytes": None, "text": "é!"}


async def test_deflate_is_not_accepted(start: Any) -> None:
    async with start(recorder([], trio.Event())) as server, server.client() as client:
        head = await client.upgrade(headers=b"sec-websocket-extensions: permessage-deflate\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        assert b"extensions" not in head.lower()


async def test_a_client_that_talks_before_it_is_accepted_is_refused(start: Any) -> None:
    seen: list[Any] = []
    gone = trio.Event()

    async def never_accepts(scope: Any, receive: Any, _send: Any) -> None:
        if scope["type"] != "websocket":
            raise NotImplementedError
        seen.extend([await receive(), await receive()])
        gone.set()

    async with start(never_accepts) as server, server.client() as client:
        await client.send(b"GET / HTTP/1.1\r\nhost: test\r\nupgrade: websocket\r\nconnection: upgrade\r\n")
        await client.send(b"sec-websocket-version: 13\r\nsec-websocket-key: eA==\r\n\r\n\x81\x80\0\0\0\0")
        with trio.fail_after(10):
            assert (await client.head()).startswith(b"HTTP/1.1 400")
            await gone.wait()
    assert [message["type"] for message in seen] == ["websocket.connect", "websocket.disconnect"]


# -- the private extension


async def test_frames_come_as_utf8_in_batches_and_answers_leave_in_one_write(start: Any) -> None:
    batches: list[Any] = []
    go_on, ended = trio.Event(), trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            raise NotImplementedError
        frames = scope["extensions"][EXTENSION]
        await receive()
        await send({"type": "websocket.accept"})
        await go_on.wait()
        try:
            while True:
                batches.append(batch := await frames.receive_frames())
                await frames.send_text([frame.data for frame in batch if frame.text])
        except PeerGoneError as gone:
            batches.append(gone.code)
            ended.set()

    async with start(app) as server, server.client() as client:
        await client.upgrade()
        for message in (TextMessage(data="é"), BytesMessage(data=b"\xff"), TextMessage(data="b")):
            await client.send_event(message)
        await client.send_event(Ping())
        await client.event()  # the pong: the server has read all of it
        go_on.set()
        assert [await client.event(), await client.event()] == [TextMessage(data="é"), TextMessage(data="b")]
        await client.send_event(CloseConnection(code=4000))
        await ended.wait()
    assert batches == [[(True, "é".encode()), (False, b"\xff"), (True, b"b")], 4000]


# -- sends


async def test_a_peer_that_never_reads_is_dropped_after_the_send_timeout(start: Any) -> None:
    ended: list[Any] = []
    done = trio.Event()

    async def floods(receive: Any, send: Any) -> None:
        for _ in range(500):
            await send({"type": "websocket.send", "bytes": bytes(100_000)})
        ended.append(await receive())
        done.set()

    async with start(websocket_app(floods), send_timeout=0.1) as server, server.client() as client:
        await client.upgrade()
        with trio.fail_after(10):
            await done.wait()
    assert ended == [{"type": "websocket.disconnect", "code": 1006}]


async def test_a_peer_that_never_reads_doesnt_hold_up_the_exit(start: Any) -> None:
    async def floods(_receive: Any, send: Any) -> None:
        while True:
            await send({"type": "websocket.send", "bytes": bytes(100_000)})

    app = websocket_app(floods)
    async with start(app, send_timeout=60, graceful_timeout=0.1) as server, server.client() as client:
        await client.upgrade()
        await trio.sleep(0.1)
        server.shutdown.set()
        with trio.fail_after(10):
            await server.done.wait()


async def test_a_long_answer_to_a_slow_reader_has_the_timeout_for_each_piece(
    start: Any, mock_clock: MockClock
) -> None:
    """Green with stock Hypercorn, which has no timeout: the bound must not cut who still reads."""

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(12_000_000)})

    async with start(app, send_timeout=15) as server, server.client() as client:
        await client.send(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
        taken = 0
        while data := await client.stream.receive_some(300_000):
            taken += len(data)
            await wait_all_tasks_blocked()
            mock_clock.jump(1)
    assert taken > 12_000_000
    assert trio.current_time() > 30


# -- silence


async def test_a_half_open_peer_is_pinged_then_dropped_and_the_handler_told(start: Any) -> None:
    seen: list[Any] = []
    async with (
        start(recorder(seen, ended := trio.Event()), ping_interval=0.05, silent_peer_timeout=0.18) as server,
        server.client() as client,
    ):
        await client.upgrade()
        assert isinstance(await client.event(), Ping)
        with trio.fail_after(10):
            assert await client.close_code() == 1001
            await ended.wait()
    assert seen == [{"type": "websocket.disconnect", "code": 1001}]


async def test_a_peer_that_answers_pings_stays(start: Any, mock_clock: MockClock) -> None:
    """Green with stock Hypercorn, which never drops: the other half of the test above."""
    seen: list[Any] = []
    async with (
        start(recorder(seen, trio.Event()), ping_interval=5, silent_peer_timeout=20) as server,
        server.client() as client,
    ):
        await client.upgrade()
        for _ in range(8):
            await wait_all_tasks_blocked(0.002)
            mock_clock.jump(5)
            ping = await client.event()
            assert isinstance(ping, Ping)
            await client.send_event(ping.response())
        assert seen == []


async def test_bytes_of_a_frame_that_never_ends_are_no_life(start: Any) -> None:
    seen: list[Any] = []
    async with (
        start(recorder(seen, ended := trio.Event()), ping_interval=0.05, silent_peer_timeout=0.2) as server,
        server.client() as client,
    ):
        await client.upgrade()
        await client.send(b"\x82\xfe\x03\xe8mask")
        with trio.fail_after(10), contextlib.suppress(trio.BrokenResourceError):
            while not ended.is_set():  # the sleep is the peer's trickle
                await client.send(b"x")
                await trio.sleep(0.02)
    assert seen == [{"type": "websocket.disconnect", "code": 1001}]


async def test_a_client_that_never_finishes_its_headers_is_closed(start: Any) -> None:
    async with (
        start(websocket_app(None), header_timeout=0.1, keep_alive=60) as server,
        server.client() as client,
    ):
        await client.send(b"GET / HTTP/1.1\r\nhost: te")
        with trio.fail_after(10):
            assert await client.rest() == b""


# -- faults


async def test_a_handler_that_raises_is_closed_1011_and_logged(
    start: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Stock Hypercorn closes 1011 as well on this path (Quart closes 1000) but tells the log less."""

    async def fails(_receive: Any, _send: Any) -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("broken on purpose")

    async with start(websocket_app(fails)) as server, server.client() as client:
        await client.upgrade(b"/v1/thing")
        assert await client.close_code() == 1011
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "/v1/thing" in record.getMessage()
    assert record.exc_info is not None
    assert "broken on purpose" in str(record.exc_info[1])


async def test_a_handler_cancelled_by_the_drain_is_closed_1012(start: Any) -> None:
    async def stays(_receive: Any, _send: Any) -> None:
        with trio.move_on_after(0.2, shield=True):
            await trio.sleep_forever()

    async with (
        start(websocket_app(stays), graceful_timeout=2.0) as server,
        server.client() as client,
    ):
        await client.upgrade()
        server.shutdown.set()
        assert await client.close_code() == 1012


async def test_a_fault_in_one_connection_leaves_the_others(
    start: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path") == "/bad":
            # h11 refuses this, and then Hypercorn's own 500: in stock that takes the server down
            await send({"type": "http.response.start", "status": 101, "headers": []})
        await websocket_app(None)(scope, receive, send)

    async with start(app) as server:
        async with server.client() as client:
            await client.send(b"GET /bad HTTP/1.1\r\nhost: test\r\n\r\n")
            await client.rest()
        async with server.client() as client:
            await client.send(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
            assert (await client.rest()).endswith(b"ok")
    assert any(record.levelno == logging.ERROR for record in caplog.records)


# -- request bodies


async def test_an_endless_upload_is_refused_while_the_application_reads_it(start: Any) -> None:
    """Green with stock Hypercorn, which BodyLimit runs on as well; red without BodyLimit."""
    reached: list[Any] = []

    async def reads(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        while (message := await receive())["type"] == "http.request":
            reached.append(len(message["body"]))

    async def refuse(error: EdgeError, _scope: Any, send: Any) -> None:
        body = error.kind.code.encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": error.kind.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    app = BodyLimit(app=reads, limit_for=lambda _s: 100_000, budget=BodyBudget(1_000_000), refuse=refuse)
    async with start(app.__call__, linger=1.0) as server, server.client() as client:
        await client.send(b"POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n")
        async with trio.open_nursery() as nursery:

            async def upload() -> None:
                with contextlib.suppress(trio.BrokenResourceError):
                    while True:
                        await client.send(b"2710\r\n" + bytes(10_000) + b"\r\n")

            nursery.start_soon(upload)
            with trio.fail_after(10):
                head = await client.head()
            nursery.cancel_scope.cancel()
    assert head.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in head.lower()
    assert sum(reached) <= 100_000


# -- drain, capacity


async def test_the_drain_lets_handlers_flush_and_closes_idle_connections(start: Any) -> None:
    draining = trio.Event()

    async def flushes(_receive: Any, send: Any) -> None:
        await draining.wait()
        await send({"type": "websocket.send", "text": "going_away"})
        await send({"type": "websocket.close", "code": 1012})

    async with (
        start(websocket_app(flushes), graceful_timeout=60, keep_alive=60) as server,
        server.client() as live,
        server.client() as idle,
    ):
        await live.upgrade()
        await idle.send(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
        await idle.head()
        server.shutdown.set()
        draining.set()
        assert await live.event() == TextMessage(data="going_away")
        assert await live.close_code() == 1012
        await live.stream.aclose()
        with trio.fail_after(10):
            await idle.rest()
            await server.done.wait()
        with pytest.raises(OSError, match="refused"):
            async with server.client():
                pass


async def test_a_handshake_can_be_answered_503(start: Any) -> None:
    """Green with stock Hypercorn: what the application's refusal while draining rests on."""

    async def refuses(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            raise NotImplementedError
        await receive()
        headers = [(b"content-length", b"8")]
        await send({"type": "websocket.http.response.start", "status": 503, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"draining"})

    async with start(refuses) as server, server.client() as client:
        await client.send(
            b"GET / HTTP/1.1\r\nhost: t\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: eA==\r\n\r\n"
        )
        answer = await client.rest()
    assert answer.startswith(b"HTTP/1.1 503")
    assert answer.endswith(b"\r\n\r\ndraining")


async def test_over_the_connection_limit_the_answer_is_503_until_one_leaves(start: Any) -> None:
    request = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
    async with start(recorder([], trio.Event()), max_connections=1) as server:
        async with server.client() as first:
            await first.upgrade()
            async with server.client() as second:
                await second.send(request)
                assert (await second.rest()).startswith(b"HTTP/1.1 503")
        with trio.fail_after(10):
            answer = b"HTTP/1.1 503"
            while answer.startswith(b"HTTP/1.1 503"):
                async with server.client() as third:
                    await third.send(request)
                    answer = await third.rest()
        assert answer.endswith(b"ok")


async def test_one_client_s_connections_leave_room_for_others(start: Any) -> None:
    """Clients of two addresses of this machine; that of a third may have all connections."""
    request = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
    limits = {"max_connections_of_client": 1, "client_of": {"127.0.0.1": "a", "127.0.0.2": "b"}.get}

    async def ask(server: Any, address: str) -> bytes:
        async with server.client(address=address) as client:
            await client.send(request)
            return bytes(await client.rest())

    async with start(recorder([], trio.Event()), **limits) as server:
        async with server.client() as first, server.client(address="127.0.0.3") as unbounded:
            await first.upgrade()
            await unbounded.upgrade()
            assert (await ask(server, "127.0.0.1")).startswith(b"HTTP/1.1 503")
            for other in ("127.0.0.2", "127.0.0.3", "127.0.0.3"):
                assert (await ask(server, other)).endswith(b"ok")
        with trio.fail_after(10):
            for left in ("127.0.0.1", "127.0.0.2"):
                while (await ask(server, left)).startswith(b"HTTP/1.1 503"):
                    pass


async def test_http2_is_not_spoken(start: Any) -> None:
    async with start(websocket_app(None)) as server, server.client() as client:
        await client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert (await client.rest()).startswith(b"HTTP/1.1 505")


async def test_connects_and_drops_leave_no_task(start: Any) -> None:
    async with start(recorder([], trio.Event()), keep_alive=60, header_timeout=60) as server:
        await wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        for number in range(30):
            async with server.client() as client:
                if number % 3 == 0:
                    await client.upgrade()
                elif number % 3 == 1:
                    await client.send(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
                    await client.head()
                else:
                    await client.send(b"GET / HT")
        for _ in range(200):
            if trio.lowlevel.current_statistics().tasks_living <= before:
                break
            await trio.sleep(0.01)
        assert trio.lowlevel.current_statistics().tasks_living <= before
