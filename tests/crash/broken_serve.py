"""`interview-edge serve` with the order of commits broken on purpose: what the crash tests must find.

    python broken_serve.py ack-first serve ...

Each fault says "done" a little before it is, at one of the three places where the design forbids that. A
server that isn't killed never shows it.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from interview_edge.backends.local import LocalBackend
from interview_edge.catalog.sqlite import SqliteCatalog
from interview_edge.cli import main
from interview_edge.journal.journal import Journal

TOO_EARLY = 0.02  # seconds


def ack_first() -> None:
    """The committer tells that a batch is durable before its transaction."""
    insert, settle = Journal._insert, Journal._settle

    async def settle_and_insert(self: Journal, batch: list[Any]) -> frozenset[int] | None:
        settle(self, batch, frozenset())
        await trio.sleep(TOO_EARLY)
        return await insert(self, batch)

    Journal._insert = settle_and_insert  # type: ignore[method-assign]
    Journal._settle = lambda *_: None  # type: ignore[method-assign]


def put_later() -> None:
    """The backend confirms chunks before they are there."""
    LocalBackend.put_group = _answer_first(  # type: ignore[method-assign]
        LocalBackend.put_group, lambda _, puts: [True] * len(puts)
    )


def catalog_later() -> None:
    """The catalog confirms an upload before its transaction, so that the journal is trimmed first."""
    SqliteCatalog.record_stored = _answer_first(  # type: ignore[method-assign]
        SqliteCatalog.record_stored, lambda *_: ()
    )


def _answer_first(
    work: Callable[..., Awaitable[Any]], answer: Callable[..., Any]
) -> Callable[..., Awaitable[Any]]:
    async def answered(*args: Any, **kwargs: Any) -> Any:
        async def do_later() -> None:
            await trio.sleep(TOO_EARLY)
            await work(*args, **kwargs)

        trio.lowlevel.spawn_system_task(do_later)
        await trio.lowlevel.checkpoint()
        return answer(*args, **kwargs)

    return answered


FAULTS = {"ack-first": ack_first, "put-later": put_later, "catalog-later": catalog_later}

if __name__ == "__main__":
    FAULTS[sys.argv[1]]()
    main(sys.argv[2:])
