"""Answers that are files: streamed in pieces, with Range where the bytes can be had from the middle (RFC
9110, sections 13.1.5 and 14).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote

import attrs
from quart import Response, request

from interview_edge.errors import DOWNLOADS_BUSY, RANGE_NOT_SATISFIABLE, EdgeError
from interview_edge.web.byte_range import UnsatisfiableRangeError, parse_range
from interview_edge.web.messages import held_by_request
from interview_edge.web.pieces import Pieces

# Each holds a minute of audio, twice while a segment is decoded: 32 of them some 130 MB.
MAX_DOWNLOADS = 32

# What bytes `start..stop` (exclusive) of a file are.
ReadRange = Callable[[int, int], AsyncGenerator[bytes, None]]


class Downloads:
    """How many files are on their way."""

    def __init__(self, limit: int = MAX_DOWNLOADS) -> None:
        self._free = limit

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take a place for the block. Raises EdgeError(downloads_busy) where there is none."""
        if self._free == 0:
            raise EdgeError(DOWNLOADS_BUSY, retry_after=5)
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


@attrs.frozen
class RangedFile:
    """A file of known size: its strong ETag (quoted), its own headers, and how its bytes are read."""

    size: int
    etag: str
    headers: Mapping[str, str]
    read: ReadRange

    async def answer(self, timeout: float) -> Response:
        """All of it, or the range that the request asks for; `timeout` (seconds) bounds each piece.

        Raises EdgeError(range_not_satisfiable), and what reading the first piece raises.
        """
        headers = {**self.headers, "accept-ranges": "bytes", "etag": self.etag}
        status, start, stop = 200, 0, self.size
        # Range is of GET alone; under If-Range only where the ETag still is the same.
        if request.method == "GET" and request.headers.get("if-range", self.etag) == self.etag:
            try:
                wanted = parse_range(request.headers.get("range"), self.size)
            except UnsatisfiableRangeError:
                raise EdgeError(RANGE_NOT_SATISFIABLE, fields={"size": self.size}) from None
            if wanted is not None:
                status, (start, stop) = 206, wanted
                headers["content-range"] = f"bytes {start}-{stop - 1}/{self.size}"
        headers["content-length"] = str(stop - start)
        if request.method == "HEAD":
            return head_answer(headers)
        return await streamed(self.read(start, stop), headers, timeout, status)


async def streamed(
    pieces: AsyncGenerator[bytes, None], headers: Mapping[str, str], timeout: float, status: int = 200
) -> Response:
    """An answer in pieces, each read within `timeout` seconds; the first before the status goes out."""
    held_by_request().push_async_callback(pieces.aclose)
    body = Pieces(pieces, timeout)
    await body.start()
    response = Response(body, status, dict(headers))
    # As long as the listener reads; the server's send_timeout ends one that doesn't.
    response.timeout = None
    return response


def head_answer(headers: Mapping[str, str]) -> Response:
    """The answer to HEAD: `headers` alone, without the Content-Length that Quart gives an empty body."""
    response = Response(b"")
    response.headers.pop("content-length")
    response.headers.update(headers)
    return response


def attachment(filename: str) -> str:
    """A Content-Disposition that saves under `filename` (RFC 6266): once for every client, in ASCII, and once
    exactly.
    """
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
