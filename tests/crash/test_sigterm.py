"""SIGTERM on a busy server process (invariant 9): clients are told, nothing acked is lost, exit 0 in time."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from crash.at_rest import check_everything
from crash.workload import Sender, Workload, audio
from interview_edge.client import EdgeHttp
from interview_edge.core.models import StreamKey
from interview_edge.wire import chunk_dialect
from interview_edge.wire.frames import Ack, ChunkFrame, GoingAway, Hello, Ready
from server_process import ServerProcess, serving

GRACE = 4.0  # seconds: EDGE_DRAIN_TIMEOUT of these servers
SLACK = 6.0  # for closing databases and the interpreter on a machine whose cores are all busy
SETTINGS: dict[str, object] = {
    "EDGE_DRAIN_TIMEOUT": GRACE,
    "EDGE_SEND_TIMEOUT": 60,
    "EDGE_JOURNAL_MIN_FREE_BYTES": 0,
    "AUDIO_STORAGE_UPLOAD_INTERVAL_MS": 200,
}
UNREACHABLE = "s3://bucket?endpoint=http://127.0.0.1:9"  # the discard port: nobody listens
KEY = StreamKey("call")


@asynccontextmanager
async def socket_to(server: ServerProcess, key: StreamKey = KEY) -> AsyncIterator[WebSocketConnection]:
    host, port = server.address
    async with await trio.open_tcp_stream(host, port) as stream, trio.open_nursery() as nursery:
        yield await wrap_client_stream(nursery, stream, host, f"/v1/audio/ws/{key.session_id}/{key.stream}")
        nursery.cancel_scope.cancel()


async def send(socket: WebSocketConnection, seq: int) -> None:
    await socket.send_message(chunk_dialect.encode_chunk_binary(ChunkFrame(seq, 1, False, audio(KEY, seq))))


async def end_within(server: ServerProcess, seconds: float) -> int:
    with trio.fail_after(seconds):
        return await server.wait()


async def test_clients_are_told_and_every_acked_chunk_is_there(tmp_path: Path) -> None:
    load = Workload.of(7)
    async with serving(tmp_path, SETTINGS) as server, trio.open_nursery() as nursery:
        busy = trio.Event()
        nursery.start_soon(load.run_until_cut, server.url, busy)
        await busy.wait()
        async with socket_to(server) as socket:
            await socket.send_message(chunk_dialect.encode_client(Hello()))
            for seq in (1, 2, 4):
                await send(socket, seq)
            frames = [chunk_dialect.decode_server(await socket.get_message()) for _ in range(4)]
            assert isinstance(frames[0], Ready)
            assert all(isinstance(frame, Ack) for frame in frames[1:])
            server.process.send_signal(signal.SIGTERM)
            away = chunk_dialect.decode_server(await socket.get_message())
            assert isinstance(away, GoingAway)
            assert away.next_seq == 3
            assert 0 < away.time_left_ms <= GRACE * 1000
            with pytest.raises(ConnectionClosed) as closed:
                await socket.get_message()
            assert closed.value.reason is not None
            assert closed.value.reason.code == 1012
        assert await end_within(server, GRACE + SLACK) == 0
    told = Sender(KEY, load.senders[0].random, sent={1, 2, 4}, acked={1, 2, 4})
    await check_everything(tmp_path, SETTINGS, [*load.senders, told])


async def test_neither_a_client_that_never_reads_nor_a_dead_store_holds_up_the_exit(tmp_path: Path) -> None:
    async with serving(tmp_path, {**SETTINGS, "EDGE_STORAGE": UNREACHABLE}) as server:
        host, port = server.address
        async with await trio.open_tcp_stream(host, port) as stream, trio.open_nursery() as nursery:
            socket = await wrap_client_stream(
                nursery, stream, host, "/v1/audio/ws/call", message_queue_size=1, receive_buffer_size=1
            )
            for seq in (1, 2, 3):
                await send(socket, seq)
            with trio.move_on_after(1.0):  # until the pushing back is felt: no answer is ever read
                while True:
                    await socket.send_message('{"type": "status"}')
            server.process.send_signal(signal.SIGTERM)
            assert await end_within(server, GRACE + SLACK) == 0
            nursery.cancel_scope.cancel()
    async with serving(tmp_path, SETTINGS) as server, EdgeHttp(server.url) as edge:
        for seq in (1, 2, 3):
            assert await edge.chunk("call", seq) == audio(KEY, seq)


@pytest.mark.parametrize("second", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
async def test_a_second_signal_ends_it_at_once(tmp_path: Path, second: signal.Signals) -> None:
    settings = {**SETTINGS, "EDGE_DRAIN_TIMEOUT": 60, "EDGE_STORAGE": UNREACHABLE}
    async with serving(tmp_path, settings) as server:
        async with socket_to(server) as socket:
            await send(socket, 1)
            assert isinstance(chunk_dialect.decode_server(await socket.get_message()), Ack)
            server.process.send_signal(signal.SIGTERM)
            assert isinstance(chunk_dialect.decode_server(await socket.get_message()), GoingAway)
        server.process.send_signal(second)
        assert await end_within(server, SLACK) in (-second, 128 + second)
    await check_everything(
        tmp_path, {**SETTINGS}, [Sender(KEY, Workload.of(1).senders[0].random, sent={1}, acked={1})]
    )
