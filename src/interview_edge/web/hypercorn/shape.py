"""The versions of Hypercorn and wsproto that this package was written against.

It overrides methods that Hypercorn doesn't promise to keep, so that an unknown version is refused at the
start rather than found out under load. To go on to a new one: read its diff of the modules named here, run
this package's tests, then widen the range.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from importlib.metadata import version

from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer

HYPERCORN = "0.18."
OVERRIDDEN: dict[type, tuple[str, ...]] = {
    TCPServer: ("run", "protocol_send", "_read_data", "_idle_timeout"),
    H11Protocol: ("handle", "stream_send", "_create_stream", "_check_protocol", "_send_error_response"),
    WSStream: (
        "handle",
        "app_send",
        "_handle_events",
        "_accept",
        "_send_wsproto_event",
        "_send_error_response",
    ),
    TaskGroup: ("spawn_app", "spawn"),
}


class UnsupportedHypercornError(RuntimeError):
    """The installed Hypercorn isn't one that this package knows how to mend."""


def check_shape(
    installed: str | None = None, overridden: Iterable[tuple[type, tuple[str, ...]]] | None = None
) -> None:
    """Raise UnsupportedHypercornError unless the installed version is known and has what we override."""
    installed = version("hypercorn") if installed is None else installed
    if not installed.startswith(HYPERCORN):
        raise UnsupportedHypercornError(
            f"hypercorn {installed} is installed; this server knows {HYPERCORN}x: "
            f"pip install 'hypercorn~={HYPERCORN}0'"
        )
    for owner, names in OVERRIDDEN.items() if overridden is None else overridden:
        for name in names:
            if not inspect.isfunction(inspect.getattr_static(owner, name, None)):
                raise UnsupportedHypercornError(
                    f"hypercorn {installed} has no {owner.__module__}.{owner.__qualname__}.{name}, "
                    "which this server overrides"
                )
