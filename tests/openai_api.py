"""For tests: a small real HTTP server in the place of OpenAI's Realtime API, which checks what it is sent."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import h11
import trio

KEY = "sk-operator-0123456789"
SECRET_PATH = "/v1/realtime/client_secrets"
CALLS_PATH = "/v1/realtime/calls"
ANSWER_SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n"


@attrs.define
class OpenAiApi:
    """`status` and `body` replace the answer; `asked` holds what came, as (path, headers, body)."""

    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = attrs.field(factory=dict)
    asked: list[tuple[str, Mapping[str, str], bytes]] = attrs.field(factory=list)
    gate: trio.Event = attrs.field(factory=trio.Event)
    faults: list[str] = attrs.field(factory=list)
    url: str = ""

    async def serve(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        with suppress(trio.BrokenResourceError, h11.RemoteProtocolError):
            async with stream:
                path, headers, body = await read_request(connection, stream)
                self.asked.append((path, headers, body))
                self._check(path, headers, body)
                await self.gate.wait()
                answer = self._answer(path, body) if self.body is None else self.body
                shown = {"content-length": str(len(answer)), "connection": "close"} | self.headers
                status = 201 if path == CALLS_PATH and self.status == 200 else self.status
                head = connection.send(h11.Response(status_code=status, headers=list(shown.items())))
                await stream.send_all((head or b"") + (connection.send(h11.Data(data=answer)) or b""))

    def _check(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """What the published API asks for."""
        self._expect(headers.get("authorization") == f"Bearer {KEY}", "the operator's key")
        self._expect(len(headers.get("openai-safety-identifier", "")) == 64, "a hashed user")
        if path == SECRET_PATH:
            data = json.loads(body)
            self._expect(headers["content-type"] == "application/json", "JSON")
            self._expect(set(data) == {"expires_after", "session"}, "the two fields")
            after = data["expires_after"]
            self._expect(after["anchor"] == "created_at" and 10 <= after["seconds"] <= 7200, "expires_after")
            session = data["session"]
            self._expect(session["type"] == "realtime", "session.type")
            self._expect(isinstance(session["audio"]["output"]["voice"], str), "the voice")
        elif path == CALLS_PATH:
            self._expect(headers["content-type"].startswith("multipart/form-data"), "multipart")
            self._expect(b'name="sdp"' in body and b"application/sdp" in body, "the offer")
            self._expect(b'name="session"' in body and b'"type":"realtime"' in body, "the session")
        else:
            self.faults.append(f"unknown path {path}")

    def _expect(self, holds: bool, what: str) -> None:
        if not holds:
            self.faults.append(what)

    def _answer(self, path: str, body: bytes) -> bytes:
        if path == CALLS_PATH:
            return ANSWER_SDP
        data = json.loads(body)
        session = {"object": "realtime.session", "id": "sess_1", **data["session"]}
        return json.dumps(
            {
                "value": f"ek_{len(self.asked):08d}",
                "expires_at": int(time.time()) + data["expires_after"]["seconds"],
                "session": session,
            }
        ).encode()

    @property
    def requests(self) -> list[Any]:
        """The JSON bodies that came."""
        return [json.loads(body) for path, _, body in self.asked if path == SECRET_PATH]


async def read_request(
    connection: h11.Connection, stream: trio.SocketStream
) -> tuple[str, Mapping[str, str], bytes]:
    path, headers, body = "", {}, bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(65536))
        elif isinstance(event, h11.Request):
            path = event.target.decode()
            headers = {name.decode(): value.decode() for name, value in event.headers}
        elif isinstance(event, h11.Data):
            body += event.data
        else:
            return path, headers, bytes(body)


@asynccontextmanager
async def open_openai_api() -> AsyncIterator[OpenAiApi]:
    """The server, on a free port; whatever it found wrong fails the test at the end."""
    api = OpenAiApi()
    api.gate.set()
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        api.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.start_soon(trio.serve_listeners, api.serve, [listener])
        yield api
        nursery.cancel_scope.cancel()
    assert api.faults == []
