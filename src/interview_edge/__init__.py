"""A self-hosted server for live interview audio that never loses an acknowledged second of it.

`open_edge` and `Settings` embed a node in your own trio program. `interview_edge.client` talks to a running
one. `interview_edge.backends`, `interview_edge.speech` and `interview_edge.testing` are for authors of
plugins. Their names, and `interview_edge.errors`, are public; everything else is ours to change.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interview_edge.app import Edge, SessionHandle, open_edge
    from interview_edge.errors import EdgeError
    from interview_edge.serving import Server, open_server
    from interview_edge.settings import Settings, SettingsError

__all__ = [
    "Edge",
    "EdgeError",
    "Server",
    "SessionHandle",
    "Settings",
    "SettingsError",
    "open_edge",
    "open_server",
]

# By name and on first use: a program that only wants the client would otherwise load the whole server.
_HOMES = {
    "Edge": "interview_edge.app",
    "EdgeError": "interview_edge.errors",
    "Server": "interview_edge.serving",
    "SessionHandle": "interview_edge.app",
    "Settings": "interview_edge.settings",
    "SettingsError": "interview_edge.settings",
    "open_edge": "interview_edge.app",
    "open_server": "interview_edge.serving",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
