"""For tests: API keys made straight in a node's catalog, as the command line would."""

from __future__ import annotations

from collections.abc import Mapping

from interview_edge.access.api_keys import digest, make_key
from interview_edge.app import Edge, wall_ms
from interview_edge.catalog.access import AuditEntry, KeyRecord

# The secret parts of the keys that tests made: conftest.py looks for them in everything that was logged.
MADE: set[str] = set()


async def give_key(
    edge: Edge,
    *scopes: str,
    owner: str = "alice",
    expires_at: int | None = None,
    quotas: Mapping[str, int] | None = None,
) -> str:
    """A new key of `owner`, known to the node at once; its text."""
    text, (key_id, secret) = make_key()
    MADE.add(secret)
    record = KeyRecord(
        key_id=key_id,
        digest=digest(secret),
        name=f"{owner}'s",
        owner=owner,
        scopes=frozenset(scopes),
        quotas=quotas or {},
        created_at=wall_ms(),
        expires_at=expires_at,
    )
    await edge.parts.catalog.access.add_key(record, _entry("key.create", key_id))
    await edge.access.ring.load()
    return text


async def revoke(edge: Edge, key: str) -> None:
    """Revoke a key, known to the node at once."""
    key_id = key.split("_")[1]
    await edge.parts.catalog.access.revoke_key(key_id, wall_ms(), _entry("key.revoke", key_id))
    await edge.access.ring.load()


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def _entry(action: str, key_id: str) -> AuditEntry:
    return AuditEntry(at=wall_ms(), action=action, outcome="done", target=key_id)
