"""Answers in pieces: a body that is never in memory whole."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType

import trio
from quart.wrappers.response import ResponseBody


class Pieces(ResponseBody):
    """A response body out of an async generator that the request owns; each step of it has a deadline."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], timeout: float) -> None:
        self._pieces = pieces
        self._timeout = timeout
        self._first: bytes | None = None

    async def start(self) -> None:
        """Read the first piece, while a failure can still be answered with its status."""
        self._first = await self._next()

    async def _next(self) -> bytes | None:
        with trio.fail_after(self._timeout):
            return await anext(self._pieces, None)

    async def __aenter__(self) -> AsyncIterator[bytes]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The request closes the generator, also where nothing of it was sent."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece, self._first = self._first, None
        if piece is None:
            piece = await self._next()
        if piece is None:
            raise StopAsyncIteration
        return piece
