"""The headers that no view has to think of: put on the start of every answer, whoever gives it (Quart, the
dispatcher, a refused handshake).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interview_edge.access.limits import Allowance, tighter
from interview_edge.web.client_address import client_of
from interview_edge.web.cors import Cors
from interview_edge.web.refusals import Send, encode_headers
from interview_edge.web.request_ids import HEADER, REQUEST_ID
from interview_edge.web.security_headers import security_headers

ANSWER = "interview_edge.answer"  # in the scope, set by the dispatcher

_STARTS = ("http.response.start", "websocket.http.response.start")


class AnswerHeaders:
    """One answer on its way out: `send` is the scope's."""

    def __init__(self, scope: Mapping[str, Any], cors: Cors, send: Send) -> None:
        self._scope = scope
        self._cors = cors
        self._send = send
        self._allowance: Allowance | None = None
        self.status: int | None = None  # once the answer has begun

    def allow(self, allowance: Allowance | None) -> None:
        """Tell the client what is left of this limit, or of the tighter one where several are told."""
        self._allowance = tighter(self._allowance, allowance)

    async def send(self, message: Any) -> None:
        """ASGI's `send`."""
        if message["type"] in _STARTS:
            self.status = message["status"]
            message = {**message, "headers": self._completed(message.get("headers", ()))}
        elif message["type"] == "websocket.accept":
            self.status = 101
            left = () if self._allowance is None else encode_headers(self._allowance.headers)
            message = {**message, "headers": [*message.get("headers", ()), *left]}
        await self._send(message)

    def _completed(self, headers: Any) -> list[tuple[bytes, bytes]]:
        """With ours, except where the answer has one of the name: none stands twice, but for the list that
        `Vary` is.
        """
        given = [(bytes(name).lower(), bytes(value)) for name, value in headers]
        names = {name for name, _ in given}
        media_type = next((value.decode("latin-1") for name, value in given if name == b"content-type"), "")
        ours = {
            HEADER: self._scope[REQUEST_ID],
            **security_headers(media_type, secure=client_of(self._scope).secure),
            **self._cors.headers(self._scope),
            **({} if self._allowance is None else self._allowance.headers),
        }
        return given + [pair for pair in encode_headers(ours) if pair[0] not in names - {b"vary"}]


def answer_of(scope: Mapping[str, Any]) -> AnswerHeaders:
    """The answer to a request, while it is being made."""
    found: AnswerHeaders = scope[ANSWER]
    return found
