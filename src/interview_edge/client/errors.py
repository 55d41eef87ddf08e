"""What the client raises. Everything is a `ClientError`, so one `except` is enough."""

from __future__ import annotations


class ClientError(Exception):
    """Base of everything the client raises on purpose."""


class EdgeRequestError(ClientError):
    """The server answered an HTTP request, or a WebSocket handshake, with an error.

    `code` is of the table in `interview_edge.errors`, or "" where something between us answered (a proxy).
    `retry_after` in seconds, where the server named it.
    """

    def __init__(self, status: int, code: str, detail: str, *, retry_after: float | None = None) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after = retry_after
        super().__init__(f"{status} {code}: {detail}")


class EdgeUnreachable(ClientError):
    """No answer: the server can't be reached, or the connection broke or timed out on the way."""


class FrameRefused(ClientError):
    """The server refused a frame; the socket is good. `code` is of the table in `interview_edge.errors`."""

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        self.detail = detail
        super().__init__(f"{code}: {detail}")


class ChunkRefused(FrameRefused):
    """The server refused the chunk `seq` for good: sending it again would be refused again."""

    def __init__(self, code: str, detail: str, seq: int) -> None:
        super().__init__(code, detail)
        self.seq = seq

    def __str__(self) -> str:
        return f"chunk {self.seq}: {super().__str__()}"


class IngestClosed(ClientError):
    """The ingest is over: closed by us, or by the server with a code that no reconnect can mend."""

    def __init__(self, code: int, reason: str | None) -> None:
        self.code = code
        self.reason = reason
        super().__init__(f"closed with {code}" + (f": {reason}" if reason else ""))


class GaveUp(ClientError):
    """Nothing moved for `give_up_after` seconds; `__cause__` and the text say why, where that is known.
    `unacked` are the seqs at risk.
    """

    def __init__(self, seconds: float, unacked: tuple[int, ...], last: ClientError | None = None) -> None:
        self.unacked = unacked
        why = f"; last: {last}" if last else ""
        super().__init__(f"no progress for {seconds:g} s with {len(unacked)} chunks unacked{why}")
