"""One HTTP exchange of a provider, which may be cancelled at any point of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx


@asynccontextmanager
async def exchange(client: httpx.AsyncClient, request: httpx.Request) -> AsyncIterator[httpx.Response]:
    """Send the request; its response is closed at the end of the block. Raises httpx.HTTPError."""
    request.stream = _Body(request.read())
    response = await client.send(request, stream=True)
    try:
        yield response
    finally:
        await response.aclose()


class _Body(httpx.AsyncByteStream):
    """A body in one piece. httpx's own are async generators, and httpcore leaves one behind unfinished, for
    the garbage collector to complain about, where a call is cancelled in the middle of its upload.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Once(self._content)


class _Once:
    def __init__(self, content: bytes) -> None:
        self._left: bytes | None = content

    def __aiter__(self) -> _Once:
        return self

    async def __anext__(self) -> bytes:
        content, self._left = self._left, None
        if content is None:
            raise StopAsyncIteration
        return content
