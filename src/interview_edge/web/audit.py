"""Audit rows of requests: who did what, from where, and how it ended (contract gateway.md, Auth)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from interview_edge.access.principal import Principal
from interview_edge.catalog.access import AuditEntry
from interview_edge.web.client_address import client_of
from interview_edge.web.request_ids import REQUEST_ID


def about_request(
    scope: Mapping[str, Any],
    action: str,
    outcome: str,
    *,
    at: int,
    principal: Principal | None,
    target: str | None = None,
) -> AuditEntry:
    """The row of something done by a request. `principal` is None where nobody was recognised."""
    return AuditEntry(
        at=at,
        action=action,
        outcome=outcome,
        owner=None if principal is None else principal.user,
        key_id=None if principal is None else principal.key_id,
        target=target,
        address=str(client_of(scope)),
        request_id=scope.get(REQUEST_ID),
    )
