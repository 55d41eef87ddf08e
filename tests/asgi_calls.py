"""For tests: calls of an ASGI application as a server makes them, raw path and all, without a network."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import trio

PATIENCE = 20.0  # seconds: a call that takes longer fails its test


@attrs.frozen
class Answer:
    """One HTTP answer; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


async def call(
    app: Any,
    method: str,
    target: str,
    *,
    body: bytes | Mapping[str, Any] = b"",
    headers: Mapping[str, str] | None = None,
    root_path: str = "",
    client: str = "127.0.0.1",
    scheme: str = "http",
    take: Callable[[bytes], object] | None = None,
) -> Answer:
    """One HTTP request. `target` is what the request line holds, percent-encoded, query and all.

    `take` gets the pieces of a body too large to be kept; the answer has none then.
    """
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    scope = _scope("http", target, {"content-length": str(len(sent))} | dict(headers or {}), root_path)
    scope |= {"client": (client, 1), "scheme": scheme}
    scope["method"] = method
    gone = trio.Event()
    asked = iter([{"type": "http.request", "body": sent, "more_body": False}])
    answered: list[Mapping[str, Any]] = []

    async def receive() -> Any:
        for message in asked:
            await trio.lowlevel.checkpoint()
            return message
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        if take is not None and message["type"] == "http.response.body":
            take(message.get("body", b""))
            message = {**message, "body": b""}
        answered.append(message)

    with trio.fail_after(PATIENCE):
        await app(scope, receive, send)
    gone.set()
    return _answer(answered, "http.response")


async def refused_upgrade(
    app: Any, target: str, *, headers: Mapping[str, str] | None = None, extension: bool = True
) -> Answer | int:
    """A WebSocket handshake that is not accepted: its HTTP answer, or the code of its close where the server
    has no `websocket.http.response`.
    """
    scope = _scope("websocket", target, headers or {}, "")
    scope["extensions"] = {"websocket.http.response": {}} if extension else {}
    answered: list[Mapping[str, Any]] = []

    async def receive() -> Any:
        await trio.lowlevel.checkpoint()
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        answered.append(message)

    with trio.fail_after(PATIENCE):
        await app(scope, receive, send)
    if answered[0]["type"] == "websocket.close":
        return int(answered[0]["code"])
    return _answer(answered, "websocket.http.response")


@attrs.frozen
class Talk:
    """What a WebSocket came to: its HTTP answer where it was refused, else what it said and how it closed.

    `closed` is None where the client hung up first.
    """

    refused: Answer | None = None
    subprotocol: str | None = None
    said: Sequence[Any] = ()
    closed: tuple[int, str] | None = None

    @property
    def status(self) -> int:
        return 101 if self.refused is None else self.refused.status


async def talk(
    app: Any,
    target: str,
    *frames: str | bytes | Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
    replies: int = 0,
) -> Talk:
    """A WebSocket: it sends `frames`, and hangs up once it was told `replies` messages, or closed."""
    scope = _scope("websocket", target, headers or {}, "")
    scope["extensions"] = {"websocket.http.response": {}}
    answered: list[Mapping[str, Any]] = []
    over = trio.Event()
    to_send = iter([{"type": "websocket.connect"}, *(_message(frame) for frame in frames)])

    async def receive() -> Any:
        await trio.lowlevel.checkpoint()
        for message in to_send:
            return message
        if replies:
            await over.wait()
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        answered.append(message)
        said = sum(each["type"] == "websocket.send" for each in answered)
        if said >= replies or message["type"] == "websocket.close":
            over.set()

    with trio.fail_after(PATIENCE):
        await app(scope, receive, send)
    if answered[0]["type"] != "websocket.accept":
        return Talk(refused=_answer(list(answered), "websocket.http.response"))
    closes = [(each["code"], each["reason"]) for each in answered if each["type"] == "websocket.close"]
    return Talk(
        subprotocol=answered[0].get("subprotocol"),
        said=[json.loads(each["text"]) for each in answered if each["type"] == "websocket.send"],
        closed=closes[0] if closes else None,
    )


def _message(frame: str | bytes | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(frame, bytes):
        return {"type": "websocket.receive", "bytes": frame, "text": None}
    text = frame if isinstance(frame, str) else json.dumps(frame)
    return {"type": "websocket.receive", "text": text, "bytes": None}


def _scope(kind: str, target: str, headers: Mapping[str, str], root_path: str) -> dict[str, Any]:
    path, _, query = target.partition("?")
    return {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "path": path,  # nothing of ours may read it where a raw path is given
        "raw_path": path.encode("latin-1"),
        "root_path": root_path,
        "query_string": query.encode("latin-1"),
        "headers": [
            (name.encode(), value.encode("latin-1"))
            for name, value in ({"host": "localhost"} | dict(headers)).items()
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
        "extensions": {},
    }


def _answer(messages: list[Mapping[str, Any]], kind: str) -> Answer:
    start, *parts = messages
    assert start["type"] == f"{kind}.start"
    assert all(part["type"] == f"{kind}.body" for part in parts)
    assert not parts[-1].get("more_body", False)
    names = [name.lower() for name, _ in start["headers"] if name.lower() != b"set-cookie"]
    assert len(names) == len(set(names)), f"a header stands twice: {names}"
    headers = {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]}
    return Answer(start["status"], headers, b"".join(part.get("body", b"") for part in parts))
