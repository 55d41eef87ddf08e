"""The browser dialect over real connections: whatever cuts them, what was received is there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from interview_edge.app import Edge, open_edge
from interview_edge.core.pcm import CHUNK_BYTES
from interview_edge.serving import open_server
from interview_edge.settings import Settings
from interview_edge.wire import browser_dialect
from nodes import PATIENCE

AUDIO = bytes(n % 7 for n in range(2 * CHUNK_BYTES + 5_000))


def settings(folder: Path) -> Settings:
    return Settings(data_dir=folder, port=0, journal_min_free_bytes=0, drain_timeout=3.0)


@asynccontextmanager
async def recorded(folder: Path) -> AsyncIterator[tuple[Edge, trio.SocketStream, WebSocketConnection]]:
    """A server, and a connection over which a recording into `s` has begun and AUDIO came, in small pieces;
    the server has received all of it.
    """
    with trio.fail_after(30):
        async with open_server(settings(folder)) as server:
            host, _, port = server.url.removeprefix("http://").rpartition(":")
            async with await trio.open_tcp_stream(host, int(port)) as stream, trio.open_nursery() as nursery:
                socket = await wrap_client_stream(nursery, stream, f"{host}:{port}", "/api/ws")
                await socket.send_message('{"type":"auth"}')
                await socket.send_message('{"type":"audio_stream_start","session_id":"s"}')
                for at in range(0, len(AUDIO), 1_000):
                    await socket.send_message(browser_dialect.encode_audio(AUDIO[at : at + 1_000]).decode())
                await socket.send_message('{"type":"ping"}')
                told = [(await read(socket))["type"] for _ in range(3)]
                assert told == ["auth_success", "audio_stream_start_ack", "pong"]
                yield server.edge, stream, socket
                nursery.cancel_scope.cancel()


async def read(socket: WebSocketConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await socket.get_message())
    return found


async def recorded_seconds(edge: Edge) -> bytes:
    """All that is stored, once the session has no socket any more."""
    live = edge.registry.live("s")
    assert live is not None
    with trio.fail_after(PATIENCE):
        while live.sockets or not live.idle:
            await trio.sleep(0.001)
    return await stored(edge)


async def stored(edge: Edge) -> bytes:
    async with edge.session("s") as session:
        seconds = [await session.chunk(seq) for seq in range(1, session.next_seq())]
    return b"".join(second or b"" for second in seconds)


WHOLE = AUDIO + bytes(-len(AUDIO) % CHUNK_BYTES)


async def test_a_connection_that_breaks_off_loses_nothing(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (edge, stream, _):
        await trio.aclose_forcefully(stream)
        assert await recorded_seconds(edge) == WHOLE


async def test_a_connection_that_breaks_off_inside_a_frame_loses_nothing(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (edge, stream, _):
        await stream.send_all(b"\x81\xfe\x10\x00maskbegun")
        await trio.aclose_forcefully(stream)
        assert await recorded_seconds(edge) == WHOLE


async def test_a_client_that_closes_in_mid_second_loses_nothing(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (edge, _, socket):
        await socket.aclose()
        assert await recorded_seconds(edge) == WHOLE


async def test_a_frame_that_is_too_big_ends_the_connection_and_loses_nothing(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (edge, _, socket):
        await socket.send_message('{"type":"audio_chunk","data":"' + "A" * 300_000 + '"}')
        with pytest.raises(ConnectionClosed) as closed:
            await socket.get_message()
        assert closed.value.reason is not None
        assert closed.value.reason.code == 1009
        assert await recorded_seconds(edge) == WHOLE


async def test_a_server_that_stops_tells_the_client_and_loses_nothing(tmp_path: Path) -> None:
    async with recorded(tmp_path) as (edge, _, socket):
        await edge.drain(1)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.get_message()
        assert closed.value.reason is not None
        assert (closed.value.reason.code, closed.value.reason.reason) == (1012, "draining")
    async with open_edge(settings(tmp_path)) as edge:
        assert await stored(edge) == WHOLE
