"""Making and revoking keys: what the HTTP routes and the command line share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from interview_edge.access.api_keys import digest, make_key
from interview_edge.access.principal import Scope
from interview_edge.catalog.access import AccessRecords, AuditEntry, KeyRecord
from interview_edge.core.times import iso_from_ms
from interview_edge.errors import KEY_NOT_FOUND, EdgeError

_DAY_MS = 86_400_000
MAX_DAYS = 3650


@attrs.frozen
class NewKey:
    """What is asked for. `expires_in_days` None: never; `quotas` are amounts a day by `UsageKind`."""

    name: str
    owner: str
    scopes: frozenset[Scope]
    expires_in_days: float | None = None
    quotas: Mapping[str, int] = attrs.field(factory=dict)


async def create_key(
    records: AccessRecords, wanted: NewKey, audit: AuditEntry, now: int
) -> tuple[str, KeyRecord]:
    """Make a key; its text, which nobody can have a second time, and its record. The audit row (its target
    filled in here) is kept with it. Raises CatalogUnavailable.
    """
    text, (key_id, secret) = make_key()
    days = wanted.expires_in_days
    record = KeyRecord(
        key_id=key_id,
        digest=digest(secret),
        name=wanted.name,
        owner=wanted.owner,
        scopes=frozenset(scope.value for scope in wanted.scopes),
        quotas=dict(wanted.quotas),
        created_at=now,
        expires_at=None if days is None else now + int(days * _DAY_MS),
    )
    detail = {**audit.detail, "owner": record.owner, "scopes": sorted(record.scopes)}
    await records.add_key(record, attrs.evolve(audit, target=key_id, detail=detail))
    return text, record


async def revoke_key(records: AccessRecords, key_id: str, audit: AuditEntry, now: int) -> KeyRecord:
    """Revoke a key, for good. Idempotent. Raises EdgeError(key_not_found), CatalogUnavailable."""
    record = await records.revoke_key(key_id, now, attrs.evolve(audit, target=key_id))
    if record is None:
        raise EdgeError(KEY_NOT_FOUND)
    return record


def show_key(key: KeyRecord) -> dict[str, Any]:
    """A key as answers and the command line show it: without its digest, times as ISO 8601."""
    return {
        "key_id": key.key_id,
        "name": key.name,
        "owner": key.owner,
        "scopes": sorted(key.scopes),
        "quotas": dict(key.quotas),
        "created_at": iso_from_ms(key.created_at),
        "expires_at": _iso(key.expires_at),
        "revoked_at": _iso(key.revoked_at),
        "last_used_at": _iso(key.last_used_at),
    }


def _iso(at: int | None) -> str | None:
    return None if at is None else iso_from_ms(at)
