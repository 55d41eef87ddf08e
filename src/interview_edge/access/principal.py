"""Who is asking, once that is known, and what they may do."""

from __future__ import annotations

import enum

import attrs

from interview_edge.core.models import LOCAL_USER, Caller


class Scope(enum.StrEnum):
    """What a key or a JWT may be used for (contract gateway.md, Auth). `admin` includes all others."""

    INGEST = "ingest"
    SESSIONS = "sessions"
    RUNS = "runs"
    CHAT = "chat"
    RAG = "rag"
    MCP = "mcp"
    REALTIME = "realtime"
    ADMIN = "admin"


class Via(enum.Enum):
    """By what somebody was recognised."""

    KEY = "key"
    JWT = "jwt"
    LOGIN = "login"  # the session cookie of a page
    TICKET = "ticket"
    OPEN = "open"  # there are no keys yet, or the node is told not to ask
    NOTHING = "nothing"  # on a route for anybody


@attrs.frozen
class Principal:
    """Somebody who was let in. `expires_at` (epoch ms) ends what was let in before, open sockets too."""

    user: str
    scopes: frozenset[Scope]
    via: Via
    key_id: str | None = None
    expires_at: int | None = None

    def may(self, *scopes: Scope) -> bool:
        """Whether one of these scopes, or `admin`, was given."""
        return Scope.ADMIN in self.scopes or not self.scopes.isdisjoint(scopes)

    @property
    def caller(self) -> Caller:
        """The same, as far as sessions care."""
        return Caller(self.user, self.key_id, sees_all=Scope.ADMIN in self.scopes)

    @property
    def counted_as(self) -> str:
        """Under what limits count: the key, or the user of JWTs."""
        return f"user:{self.user}" if self.key_id is None else f"key:{self.key_id}"


EVERYBODY = Principal(LOCAL_USER, frozenset(Scope), Via.OPEN)
NOBODY = Principal("", frozenset(), Via.NOTHING)
