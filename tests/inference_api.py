"""For tests: a small real HTTP server in the place of the inference API, which checks what it is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import h11
import trio

Reply = tuple[int, bytes]


def answer_of(cluster: str = "c1", *, clusters: int = 1, **changes: Any) -> dict[str, Any]:
    """An answer as the contract has it."""
    return {
        "session_id": "s",
        "cluster_id": cluster,
        "speaker_name": None,
        "decision": "unknown",
        "evidence": {
            "sv_score": 0.1,
            "threshold_low": 0.3,
            "threshold_high": 0.45,
            "segment_count": 1,
            "name_hit": None,
            "roster_hit": None,
        },
        "updated_state": {
            "clusters": [
                {"cluster_id": f"c{i}", "centroid": [0.5, 0.25], "sample_count": 1, "bound_name": None}
                for i in range(1, clusters + 1)
            ],
            "bindings": {},
            "config": {},
        },
    } | changes


def one_more_cluster(request: Mapping[str, Any]) -> Reply:
    """What a real one does: the state that came in, with a cluster more."""
    known = len(request["state"]["clusters"])
    return 200, json.dumps(answer_of(f"c{known + 1}", clusters=known + 1)).encode()


class InferenceApi:
    """Set `reply` to what it shall answer; `asked` holds the requests' bodies, `headers`, `targets` the rest.

    While `gate` is not set, it answers nothing.
    """

    def __init__(self) -> None:
        self.reply: Callable[[Mapping[str, Any]], Reply] = one_more_cluster
        self.asked: list[Mapping[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.targets: list[str] = []
        self.gate = trio.Event()
        self.gate.set()
        self.at_once = 0
        self.most_at_once = 0
        self.url = ""

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        task_status.started()
        await trio.serve_listeners(self._handle, listeners)

    async def _handle(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                self.targets.append(f"{event.method.decode()} {event.target.decode()}")
                self.headers.append({name.decode(): value.decode() for name, value in event.headers})
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return
        request = json.loads(body)
        self.asked.append(request)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.gate.wait()
        self.at_once -= 1
        status, answer = self.reply(request)
        head = h11.Response(
            status_code=status, headers=[("content-length", str(len(answer))), ("connection", "close")]
        )
        with suppress(trio.BrokenResourceError):  # who asked has gone
            for part in (head, h11.Data(data=answer), h11.EndOfMessage()):
                await stream.send_all(connection.send(part) or b"")
        await stream.aclose()
