"""How the archive calls a backend: each call has a deadline, and whatever goes wrong is a `BackendError`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from interview_edge.backends.protocol import BackendError, BackendUnavailable


@contextmanager
def asking(timeout: float) -> Iterator[None]:
    """One call of the backend within `timeout` seconds.

    Raises `BackendUnavailable` for one that took longer, and for what a plugin raises that isn't a
    `BackendError`.
    """
    try:
        with trio.move_on_after(timeout) as scope:
            yield
    except BackendError:
        raise
    except Exception as error:  # a plugin may raise anything, and its text may hold a secret
        raise BackendUnavailable(f"the backend raised {type(error).__name__}") from error
    if scope.cancelled_caught:
        raise BackendUnavailable(f"the store took over {timeout:g} s")
